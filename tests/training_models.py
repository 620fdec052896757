"""Small networks to train, as ONNX files with seeded random weights, and batches for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.networks import light_network, trained_network

Array = np.ndarray[Any, Any]
make = helper.make_node


@dataclass(frozen=True)
class Task:
    """A network, and how many examples of which classes it is trained on at a time."""

    model: Callable[[Path], Path]
    input: str
    shape: tuple[int, ...]
    classes: int
    label: tuple[int, ...] = ()
    """What follows the examples in the shape of the labels."""
    tokens: int = 0
    """Inputs are ids below this; 0: they are numbers."""

    def batch(self, step: int) -> tuple[Array, Array]:
        """The inputs and labels of a step."""
        rng = np.random.default_rng([1, step])
        labels = rng.integers(0, self.classes, (self.shape[0], *self.label))
        if self.tokens:
            return rng.integers(0, self.tokens, self.shape), labels
        return rng.standard_normal(self.shape).astype(np.float32), labels


def small_cnn(folder: Path) -> Path:
    """Convolutions, plain, depthwise and strided, with batch normalisation and pooling."""
    rng = np.random.default_rng(0)
    nodes = [
        make("Conv", ["x", "conv1.w", "conv1.b"], ["c1"], pads=[1, 1, 1, 1]),
        _batch_norm("c1", "n1", "norm1"),
        make("Relu", ["n1"], ["r1"]),
        make("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        make("Conv", ["p1", "conv2.w"], ["c2"], pads=[1, 1, 0, 0], strides=[2, 2], group=8),
        make("Conv", ["c2", "conv3.w", "conv3.b"], ["c3"]),
        _batch_norm("c3", "n3", "norm3"),
        make("Relu", ["n3"], ["r3"]),
        make("Conv", ["r3", "conv4.w"], ["c4"], pads=[1, 1, 1, 1], group=2),
        make("Add", ["c4", "n3"], ["a4"]),
        make("AveragePool", ["a4"], ["p4"], kernel_shape=[2, 2], strides=[1, 1]),
        make("Conv", ["p4", "conv5.w", "conv5.b"], ["c5"], strides=[2, 2]),
        make("Relu", ["c5"], ["r5"]),
        make("GlobalAveragePool", ["r5"], ["p5"]),
        make("Flatten", ["p5"], ["f5"]),
        make("Dropout", ["f5"], ["d5"]),
        make("Gemm", ["d5", "dense.w", "dense.b"], ["scores"], transB=1),
        make("Softmax", ["scores"], ["probabilities"]),
    ]
    shapes = {
        "conv1.w": (8, 3, 3, 3),
        "conv1.b": (8,),
        "conv2.w": (8, 1, 3, 3),
        "conv3.w": (12, 8, 1, 1),
        "conv3.b": (12,),
        "conv4.w": (12, 6, 3, 3),
        "conv5.w": (16, 12, 2, 2),
        "conv5.b": (16,),
        "dense.w": (5, 16),
        "dense.b": (5,),
    }
    weights = {name: _scaled(rng, shape) for name, shape in shapes.items()}
    for name, channels in (("norm1", 8), ("norm3", 12)):
        weights[f"{name}.scale"] = rng.uniform(0.5, 1.5, channels)
        weights[f"{name}.shift"] = rng.standard_normal(channels) * 0.1
        weights[f"{name}.mean"] = rng.standard_normal(channels) * 0.1
        weights[f"{name}.var"] = rng.uniform(0.5, 1.5, channels)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 3, 16, 16])
    return _save(folder / "small_cnn.onnx", nodes, x, "probabilities", weights)


def _batch_norm(value: str, result: str, name: str) -> onnx.NodeProto:
    names = [f"{name}.{part}" for part in ("scale", "shift", "mean", "var")]
    return make("BatchNormalization", [value, *names], [result], epsilon=1e-5, momentum=0.8)


def transformer(folder: Path, width: int = 16, length: int = 6, batch: int = 4) -> Path:
    """Two layers of an encoder over embedded tokens."""
    rng = np.random.default_rng(0)
    heads, tokens = 2, 20
    weights = {
        "embedding": rng.standard_normal((tokens, width)) * 0.5,
        "positions": rng.standard_normal((length, width)) * 0.5,
        "half": np.array(0.5),
        "one": np.array(1.0),
        "root": np.array(np.sqrt(0.5)),
        "scale": np.array((width // heads) ** -0.5),
    }
    constants = {
        "split": np.array([batch, length, 3, heads, width // heads]),
        "join": np.array([batch, length, width]),
        "one_axis": np.array([1]),
        "first_axis": np.array([0]),
    }
    nodes = [
        make("Gather", ["embedding", "x"], ["embedded"]),
        make("Add", ["embedded", "positions"], ["h0"]),
    ]

    def weight(name: str, *shape: int) -> str:
        weights[name] = _scaled(rng, shape[::-1] if len(shape) == 2 else shape).reshape(shape)
        return name

    def norm(value: str, result: str) -> None:
        weights[f"{result}.scale"] = rng.uniform(0.5, 1.5, width)
        names = [value, f"{result}.scale", weight(f"{result}.shift", width)]
        nodes.append(make("LayerNormalization", names, [result], epsilon=1e-5))

    def dense(value: str, result: str, inputs: int, outputs: int) -> None:
        nodes.append(
            make("MatMul", [value, weight(f"{result}.w", inputs, outputs)], [f"{result}.p"])
        )
        nodes.append(make("Add", [f"{result}.p", weight(f"{result}.b", outputs)], [result]))

    for i in range(2):
        norm(f"h{i}", f"l{i}")
        dense(f"l{i}", f"qkv{i}", width, 3 * width)
        nodes.append(make("Reshape", [f"qkv{i}", "split"], [f"s{i}"]))
        nodes.append(make("Transpose", [f"s{i}"], [f"t{i}"], perm=[2, 0, 3, 1, 4]))
        nodes.append(make("Split", [f"t{i}"], [f"{n}{i}." for n in "qkv"], axis=0, num_outputs=3))
        for n in "qkv":
            nodes.append(make("Squeeze", [f"{n}{i}.", "first_axis"], [f"{n}{i}"]))
        nodes += [
            make("Transpose", [f"k{i}"], [f"kt{i}"], perm=[0, 1, 3, 2]),
            make("MatMul", [f"q{i}", f"kt{i}"], [f"qk{i}"]),
            make("Mul", [f"qk{i}", "scale"], [f"scaled{i}"]),
            make("Softmax", [f"scaled{i}"], [f"attention{i}"], axis=-1),
            make("MatMul", [f"attention{i}", f"v{i}"], [f"av{i}"]),
            make("Transpose", [f"av{i}"], [f"avt{i}"], perm=[0, 2, 1, 3]),
            make("Reshape", [f"avt{i}", "join"], [f"heads{i}"]),
        ]
        dense(f"heads{i}", f"out{i}", width, width)
        nodes.append(make("Add", [f"h{i}", f"out{i}"], [f"m{i}"]))
        norm(f"m{i}", f"ml{i}")
        dense(f"ml{i}", f"up{i}", width, 2 * width)
        nodes += [
            make("Mul", [f"up{i}", "root"], [f"e{i}"]),
            make("Erf", [f"e{i}"], [f"erf{i}"]),
            make("Add", [f"erf{i}", "one"], [f"g{i}"]),
            make("Mul", [f"up{i}", f"g{i}"], [f"gg{i}"]),
            make("Mul", [f"gg{i}", "half"], [f"gelu{i}"]),
        ]
        dense(f"gelu{i}", f"down{i}", 2 * width, width)
        nodes.append(make("Add", [f"m{i}", f"down{i}"], [f"h{i + 1}"]))
    norm("h2", "last")
    nodes.append(make("ReduceMean", ["last", "one_axis"], ["pooled"], keepdims=0))
    nodes.append(
        make("Gemm", ["pooled", weight("head.w", width, 3), weight("head.b", 3)], ["scores"])
    )
    x = helper.make_tensor_value_info("x", TensorProto.INT64, [batch, length])
    return _save(folder / "transformer.onnx", nodes, x, "scores", {**weights, **constants})


def _scaled(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    size = np.prod(shape[1:]) if len(shape) > 1 else 100
    return np.asarray(rng.standard_normal(shape) / np.sqrt(size))


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    x: onnx.ValueInfoProto,
    output: str,
    weights: Mapping[str, Array],
) -> Path:
    tensors = [
        numpy_helper.from_array(a.astype(np.float32) if a.dtype.kind == "f" else a, name)
        for name, a in weights.items()
    ]
    y = onnx.ValueInfoProto(name=output)
    graph = helper.make_graph(nodes, path.stem, [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


TASKS = {
    "small_cnn": Task(small_cnn, "x", (8, 3, 16, 16), 5),
    "transformer": Task(transformer, "x", (4, 6), 3, tokens=20),
    "ppocr_cls": Task(lambda _: trained_network("ppocr_cls"), "x", (4, 3, 48, 192), 2),
    "squeezenet": Task(
        lambda f: light_network("squeezenet", f), "data_0", (1, 3, 224, 224), 1000, (1, 1)
    ),
    "bvlc_alexnet": Task(
        lambda f: light_network("bvlc_alexnet", f), "data_0", (1, 3, 224, 224), 1000
    ),
}


def small_mlp(folder: Path, x: str = "x", w: str = "first.w") -> Path:
    """Two dense layers with a dropout between; the hidden layer is an output too."""
    rng = np.random.default_rng(0)
    nodes = [
        make("MatMul", [x, w], ["m"]),
        make("Add", ["m", "first.b"], ["a"]),
        make("Tanh", ["a"], ["hidden"]),
        make("Dropout", ["hidden", "ratio"], ["kept"]),
        make("Gemm", ["kept", "second.w", "second.b"], ["scores"], transB=1),
    ]
    shapes = {w: (6, 8), "first.b": (8,), "second.w": (3, 8), "second.b": (3,)}
    weights = {name: _scaled(rng, shape) for name, shape in shapes.items()}
    weights["ratio"] = np.array(0.25)
    given = helper.make_tensor_value_info(x, TensorProto.FLOAT, [4, 6])
    path = _save(folder / "small_mlp.onnx", nodes, given, "scores", weights)
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name="hidden"))
    onnx.save(model, path)
    return path


def two_products(folder: Path) -> Path:
    """Two products without biases, and between them what gives 0 for 0."""
    rng = np.random.default_rng(0)
    nodes = [
        make("MatMul", ["x", "first.w"], ["m"]),
        make("Tanh", ["m"], ["hidden"]),
        make("MatMul", ["hidden", "second.w"], ["y"]),
    ]
    weights = {
        "first.w": rng.standard_normal((6, 16)) / 3,
        "second.w": rng.standard_normal((16, 3)) / 4,
    }
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 6])
    return _save(folder / "two_products.onnx", nodes, x, "y", weights)


def open_mlp(folder: Path) -> Path:
    """`small_mlp` for batches of any size."""
    path = small_mlp(folder)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, path)
    return path
