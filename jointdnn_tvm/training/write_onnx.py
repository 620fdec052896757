"""The trained weights back in the file that they came from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, numpy_helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.read_model import read_model

Array = np.ndarray[Any, Any]


def write_onnx(source: Path, weights: Mapping[str, Array], target: Path) -> None:
    """Writes the model of `source` with other values for some of its constants.

    Everything else stays as it is. A model that keeps tensors in files beside it is written with
    one such file, `target`'s name and `.data`.

    Raises:
        ModelError: the source cannot be read or has no such constant, or the target cannot be
            written.
    """
    model = read_model(source)
    apart = any(_is_apart(tensor) for _, tensor in _constants(model.graph))
    left = dict(weights)
    for name, tensor in _constants(model.graph):
        if name in left:
            _put(tensor, left.pop(name))
    if left:
        raise ModelError(
            f"'{source}' has no constant '{min(left)}'; it is not the file that was trained"
        )
    try:
        if apart:
            external_data_helper.load_external_data_for_model(model, str(source.parent))
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            _save(model, Path(folder) / target.name, apart)
            for part in sorted(Path(folder).iterdir(), reverse=True):  # its data before the model
                os.replace(part, target.parent / part.name)
    except OSError as error:
        raise cannot_write(target, error) from error


def check_can_write(target: Path, source: Path) -> None:
    """ModelError unless a model can be written there; to be asked before the long work."""
    if target.is_dir() or (target.exists() and target.samefile(source)):
        what = "is a directory" if target.is_dir() else "is the model itself"
        raise ModelError(f"'{target}' {what}; name another file")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise cannot_write(target, error) from error


def cannot_write(target: Path, error: OSError) -> ModelError:
    """The error of a model that cannot be written."""
    reason = error.strerror or error
    return ModelError(f"'{target}' cannot be written ({reason}); name another file")


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """Initializers and constant nodes, by the names that readers have for them."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _put(tensor: TensorProto, array: Array) -> None:
    new = numpy_helper.from_array(np.ascontiguousarray(array), tensor.name)
    if (new.dims, new.data_type) != (tensor.dims, tensor.data_type):
        raise ModelError(
            f"constant '{tensor.name}' is of shape {list(tensor.dims)} in the file, not "
            f"{list(array.shape)}, or of another dtype; it is not the file that was trained"
        )
    tensor.CopyFrom(new)


def _is_apart(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _save(model: onnx.ModelProto, path: Path, apart: bool) -> None:
    if apart:
        location = f"{path.name}.data"
        onnx.save_model(model, str(path), save_as_external_data=True, location=location)
    else:
        path.write_bytes(model.SerializeToString())
