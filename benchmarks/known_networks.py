"""The networks of the tests, for scripts that start in this folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).parents[1]
_NOT_IMPORTABLE = "ddddocr_old"  # it holds ConvInteger


def _networks() -> Any:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("tests.networks")


def network_names() -> list[str]:
    """The architectures with seeded random weights, then the trained networks."""
    networks = _networks()
    return [*networks.LIGHT, *(name for name in networks.TRAINED if name != _NOT_IMPORTABLE)]


def network_file(name: str, folder: Path) -> Path:
    """Writes a network to `folder`, with a number for every dimension of its inputs."""
    networks = _networks()
    if name in networks.LIGHT:
        return Path(networks.light_network(name, folder))
    path = folder / f"{name}.onnx"
    if not path.exists():
        model = onnx.load(networks.trained_network(name))
        shapes = networks.SHAPES.get(name, {})
        weights = {tensor.name for tensor in model.graph.initializer}
        for value in model.graph.input:
            if value.name not in weights:
                _fill_in(value, shapes.get(value.name, ()))
        onnx.save(model, path)
    return path


def _fill_in(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    for i, dim in enumerate(value.type.tensor_type.shape.dim):
        if shape or dim.dim_value <= 0:  # an open first dimension is the batch
            dim.dim_value = shape[i] if shape else 1
