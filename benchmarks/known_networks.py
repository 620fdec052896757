"""The networks of the tests, for scripts that start in this folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from jointdnn_tvm.demo.text_line import find_page
from jointdnn_tvm.network import TensorSpec

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).parents[1]
_NOT_IMPORTABLE = "ddddocr_old"  # it holds ConvInteger
_READS_PAGES = "ppocr_det"


def _networks() -> Any:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("tests.networks")


def network_names() -> list[str]:
    """The architectures with seeded random weights, then the trained networks."""
    networks = _networks()
    return [*networks.LIGHT, *(name for name in networks.TRAINED if name != _NOT_IMPORTABLE)]


def light_network_names() -> list[str]:
    """The architectures with seeded random weights."""
    return [*_networks().LIGHT]


def network_file(
    name: str, folder: Path, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Path:
    """Writes a network to `folder`, with a number for every dimension of its inputs.

    A trained network's inputs have the tests' shapes, which are small, unless others are given.
    """
    networks = _networks()
    if name in networks.LIGHT:
        return Path(networks.light_network(name, folder))
    path = folder / f"{name}.onnx"
    if not path.exists():
        model = onnx.load(networks.trained_network(name))
        shapes = shapes or networks.SHAPES.get(name, {})
        weights = {tensor.name for tensor in model.graph.initializer}
        for value in model.graph.input:
            if value.name not in weights:
                _fill_in(value, shapes.get(value.name, ()))
        onnx.save(model, path)
    return path


def network_file_of_shape(name: str, folder: Path, shape: tuple[int, ...]) -> Path:
    """Writes a trained network of one input to `folder`, for inputs of that shape."""
    path = folder / f"{name}-{'x'.join(map(str, shape))}.onnx"
    if not path.exists():
        model = onnx.load(_networks().trained_network(name))
        weights = {tensor.name for tensor in model.graph.initializer}
        (value,) = (v for v in model.graph.input if v.name not in weights)
        _fill_in(value, shape)
        onnx.save(model, path)
    return path


def _fill_in(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    for i, dim in enumerate(value.type.tensor_type.shape.dim):
        if shape or dim.dim_value <= 0:  # an open first dimension is the batch
            dim.dim_value = shape[i] if shape else 1


def network_inputs(name: str, specs: tuple[TensorSpec, ...], view: int = 0) -> dict[str, Array]:
    """Seeded noise; a page of text for the network that finds text, and in noise finds none.

    Outputs of 1e-6 at most, onnxruntime's sigmoid being exact to 6e-8, would say nothing. Another
    `view` is other noise; of the page, it is from a little nearer.
    """
    if name == _READS_PAGES:
        (spec,) = specs
        return {spec.name: _page(spec.shape, view)}
    rng = np.random.default_rng(view)
    return {spec.name: rng.standard_normal(spec.shape).astype(spec.dtype) for spec in specs}


def _page(shape: tuple[int, ...], view: int) -> Array:
    """NCHW, three channels; each view leaves out 2 % more of the page, left and top."""
    _, _, height, width = shape
    with Image.open(find_page()) as page:
        box = (page.width * view // 50, page.height * view // 50, page.width, page.height)
        pixels = np.asarray(page.convert("RGB").resize((width, height), box=box), np.float32)
    return np.ascontiguousarray(((pixels / 255 - 0.45) / 0.23).transpose(2, 0, 1)[None])
