"""The weights of one side: a safetensors file whose arrays are aligned, so that mapping is loading.

safetensors allows no holes, so where the next array would start off its alignment a small U8
array of zeros, named `PADDING` and a number, fills the gap. Any safetensors reader reads the file.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.dtypes import SAFETENSORS_CODES

PADDING = "__padding__"
METADATA = "__metadata__"
_ALIGNMENT = 64  # bytes; what compiled kernels assume of every argument (TVM's kAllocAlignment)
_MAX_HEADER_BYTES = 100 << 20  # the format's own limit
_DTYPES = {code: name for name, code in SAFETENSORS_CODES.items()}


def write_weights(
    path: Path, weights: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `weights` one array after the other; nothing larger than one of them is copied.

    `metadata` is what the file says of itself, as safetensors has it.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    order: list[np.ndarray] = []
    offset = 0
    for name, array in weights.items():
        if array.dtype.name not in SAFETENSORS_CODES or not array.dtype.isnative:
            raise BundleError(
                f"weight {name!r} has type {array.dtype}, which a bundle cannot hold; "
                "convert the model to float32"
            )
        gap = -offset % _ALIGNMENT
        if gap:
            filler = np.zeros(gap, "uint8")
            offset = _enter(header, order, f"{PADDING}{len(order)}", filler, offset)
        offset = _enter(header, order, name, array, offset)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in order:
            file.write(np.ascontiguousarray(array).reshape(-1).view("uint8").data)


def _enter(
    header: dict[str, Any], order: list[np.ndarray], name: str, array: np.ndarray, offset: int
) -> int:
    end = offset + array.nbytes
    header[name] = {
        "dtype": SAFETENSORS_CODES[array.dtype.name],
        "shape": list(array.shape),
        "data_offsets": [offset, end],
    }
    order.append(array)
    return end


def map_weights(path: Path) -> dict[str, np.ndarray]:
    """Map the file: the arrays are views of it, read from disk when they are first touched.

    BundleError when the header does not describe the file exactly.
    """
    return map_with_metadata(path)[0]


def map_with_metadata(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`map_weights`, and what the file says of itself."""
    try:
        return _map(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); build it again") from error
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BundleError(
            f"{path} is no weights file, or damaged ({type(error).__name__}: {error}); "
            "build it again"
        ) from error


def _map(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER_BYTES, size - 8):
            raise ValueError("its header is cut short")
        header = json.loads(file.read(length))
        # A private mapping may be written, which NumPy wants of an array that it shares.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + length
    metadata = dict(header.pop(METADATA, {}))
    arrays = {
        name: _view(data, start, size - start, entry)
        for name, entry in header.items()
        if not name.startswith(PADDING)
    }
    return arrays, metadata


def _view(data: mmap.mmap, start: int, available: int, entry: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    shape = tuple(int(d) for d in entry["shape"])
    begin, end = (int(o) for o in entry["data_offsets"])
    count = math.prod(shape)
    if min(shape, default=1) < 0 or not 0 <= begin <= end <= available:
        raise ValueError("an array lies outside the file")
    if end - begin != count * dtype.itemsize:
        raise ValueError("an array's shape and size differ")
    return np.frombuffer(data, dtype, count, start + begin).reshape(shape)
