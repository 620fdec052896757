"""Training steps of known networks, and batches for them, for several benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from known_networks import ROOT, network_file

from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.trainable import load_trainable

SHAPES = {
    "small_cnn": (64, 3, 64, 64),
    "squeezenet": (1, 3, 224, 224),
    "bvlc_alexnet": (1, 3, 224, 224),
    "ppocr_cls": (16, 3, 48, 192),
    "transformer": (32, 64),
}
"""Of the input; others have that of their file."""

_TOKENS = 20


def step_of(name: str, folder: Path) -> TrainingStep:
    """All weights trained by momentum, batch normalisation by its running statistics."""
    network = load_trainable(_network(name, folder))
    return training_step(network, CrossEntropy(), Sgd(momentum=0.9))


def write_batch(step: TrainingStep, path: Path) -> None:
    """Write seeded noise and labels, ``label`` by name, to an ``.npz`` file."""
    rng = np.random.default_rng(0)
    (given,), label = step.inputs, step.label
    assert label is not None
    if given.dtype.startswith("int"):
        x = rng.integers(0, _TOKENS, given.shape).astype(given.dtype)
    else:
        x = rng.standard_normal(given.shape).astype(given.dtype)
    labels = rng.integers(0, label.classes or 2, label.shape).astype(label.dtype)
    np.savez(path, **{given.name: x, "label": labels})


def _network(name: str, folder: Path) -> Path:
    """The file of a network, with an input of the shape that it has here."""
    sys.path.insert(0, str(ROOT))
    from tests import training_models

    makers: dict[str, Callable[[], Path]] = {
        "small_mlp": lambda: training_models.small_mlp(folder),
        "small_cnn": lambda: training_models.small_cnn(folder),
        "transformer": lambda: training_models.transformer(folder, 256, *SHAPES[name][::-1]),
    }
    model = onnx.load(makers.get(name, lambda: network_file(name, folder))())
    weights = {tensor.name for tensor in model.graph.initializer}
    (given,) = (value for value in model.graph.input if value.name not in weights)
    dims = given.type.tensor_type.shape.dim
    for dim, extent in zip(dims, SHAPES.get(name, [d.dim_value for d in dims]), strict=True):
        dim.dim_value = extent
    for output in model.graph.output:
        output.ClearField("type")
    path = folder / f"{name}-trained.onnx"
    onnx.save(model, path)
    return path
