"""One message of a crossing: named tensors and a few words about them, as bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.dtypes import DTYPES

_MAGIC = b"JDM1"
_MAX_HEADER_BYTES = 1 << 20


def encode(header: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """Pack `tensors`, and `header` (JSON-able) beside them."""
    entries = [[n, a.dtype.name, list(a.shape)] for n, a in tensors.items()]
    text = json.dumps({"header": dict(header), "tensors": entries}).encode()
    parts = [_MAGIC, len(text).to_bytes(4, "little"), text]
    parts += [np.ascontiguousarray(a).tobytes() for a in tensors.values()]
    return b"".join(parts)


def decode(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Unpack header and tensors; the tensors are read-only views of `message`.

    RunError when the message does not have exactly the size that it declares.
    """
    try:
        return _decode(message)
    except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise RunError(f"a message of {len(message)} bytes is damaged: {error}") from error


def _decode(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    length = int.from_bytes(message[4:8], "little")
    if message[:4] != _MAGIC or length > min(_MAX_HEADER_BYTES, len(message) - 8):
        raise ValueError("not a crossing's message")
    text = json.loads(message[8 : 8 + length])
    tensors = {}
    offset = 8 + length
    for name, dtype_name, shape in text["tensors"]:
        if dtype_name not in DTYPES or min(shape, default=1) < 0:
            raise ValueError(f"tensor {name!r} is {dtype_name}{shape}")
        dtype = np.dtype(dtype_name)
        count = math.prod(shape)
        if offset + count * dtype.itemsize > len(message):
            raise ValueError(f"tensor {name!r} is cut short")
        tensors[name] = np.frombuffer(message, dtype, count, offset).reshape(shape)
        offset += count * dtype.itemsize
    if offset != len(message):
        raise ValueError(f"{len(message) - offset} bytes too many")
    return dict(text["header"]), tensors
