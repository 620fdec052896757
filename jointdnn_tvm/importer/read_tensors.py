"""Tensors of a model file as numpy arrays, sizes and places checked before they are read."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from jointdnn_tvm.errors import ModelError

MAX_TENSOR_BYTES = 16 << 30
"""No tensor, input, weight or activation, may take more than this."""


def check_shape(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuses a tensor that cannot be meant, before anything is allocated.

    Raises:
        ModelError: a dimension is negative, or the tensor exceeds `MAX_TENSOR_BYTES`.
    """
    if any(dim < 0 for dim in shape):
        raise ModelError(f"tensor '{name}' has a negative dimension: {list(shape)}; fix the model")
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes > MAX_TENSOR_BYTES:
        raise ModelError(
            f"tensor '{name}' of shape {list(shape)} would take {size_bytes / 1e9:.3g} GB, more "
            f"than the {MAX_TENSOR_BYTES >> 30} GiB allowed; check the model, or the shapes given "
            "with --shape"
        )


def read_tensor(tensor: onnx.TensorProto, folder: Path) -> np.ndarray[Any, Any]:
    """The values of a tensor; those kept in a file beside the model are memory-mapped.

    Raises:
        ModelError: the tensor is too large, damaged, of text, or its file is out of place.
    """
    if tensor.data_type == onnx.TensorProto.STRING:
        raise ModelError(f"tensor '{tensor.name}' holds text, which is not supported; remove it")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError as error:
        raise ModelError(
            f"tensor '{tensor.name}' has the unknown element type {tensor.data_type}"
        ) from error
    shape = tuple(tensor.dims)
    check_shape(tensor.name, shape, dtype)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _map_external(tensor, dtype, shape, folder)
    try:
        array = numpy_helper.to_array(tensor)
    except ValueError as error:
        raise ModelError(
            f"tensor '{tensor.name}' is damaged: its data does not fill its shape {list(shape)}; "
            "export or download the model again"
        ) from error
    if array.shape != shape:
        raise ModelError(f"tensor '{tensor.name}' is damaged: {array.shape} instead of {shape}")
    tensor.ClearField("raw_data")
    return array


def _map_external(
    tensor: onnx.TensorProto, dtype: np.dtype[Any], shape: tuple[int, ...], folder: Path
) -> np.ndarray[Any, Any]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _inside(tensor.name, entries.get("location", ""), folder)
    count = math.prod(shape)
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", count * dtype.itemsize))
        available = file.stat().st_size
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the data of tensor '{tensor.name}': {error}") from error
    if offset < 0 or length != count * dtype.itemsize or offset + length > available:
        raise ModelError(
            f"tensor '{tensor.name}' needs {count * dtype.itemsize} bytes at {offset} of '{file}', "
            f"which has {available}; the file is cut short or not of this model"
        )
    if count == 0:
        return np.zeros(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape)


def _inside(name: str, location: str, folder: Path) -> Path:
    """The file that holds external data, if it is one inside the model's folder."""
    relative = PurePosixPath(location)
    base = folder.resolve()
    file = (base / relative).resolve()
    if (
        not location
        or relative.is_absolute()
        or ".." in relative.parts
        or not file.is_relative_to(base)
    ):
        raise ModelError(
            f"the data of tensor '{name}' is said to be in '{location}', outside the model's "
            "folder; put it beside the model and name it there"
        )
    if not file.is_file():
        raise ModelError(f"the data of tensor '{name}' is missing: there is no file '{file}'")
    return file


def take_constant(tensor: onnx.TensorProto) -> np.ndarray[Any, Any]:
    """The values of a tensor inside a node; it may not be kept in another file."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ModelError(f"tensor '{tensor.name}' in a node is kept in another file; inline it")
    return read_tensor(tensor, Path())
