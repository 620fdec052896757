"""One message of a crossing: named tensors and a few words about them, as bytes.

A tensor lies in it as in memory, or as the frame of a codec.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jointdnn_tvm.codec.frame import MAX_TENSOR_BYTES
from jointdnn_tvm.codec.registry import NONE, decode_tensor, encode_tensor
from jointdnn_tvm.errors import CodecError, RunError
from jointdnn_tvm.runtime.dtypes import DTYPES

_MAGIC = b"JDM1"
_MAX_HEADER_BYTES = 1 << 20
_DAMAGE = (ArithmeticError, CodecError, KeyError, RecursionError, TypeError, ValueError)


def encode(
    header: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray | bytes],
    codecs: Mapping[str, str] | None = None,
) -> bytes:
    """Pack `tensors`, those that `codecs` names by their codec, and `header` (JSON-able).

    Bytes are a tensor that is encoded already: its frame.
    """
    return b"".join(encode_pieces(header, tensors, codecs))


def encode_pieces(
    header: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray | bytes],
    codecs: Mapping[str, str] | None = None,
) -> list[bytes | memoryview]:
    """The pieces of a message, of which those of tensors without a codec are their own memory."""
    entries: list[list[Any]] = []
    contents: list[bytes | memoryview] = []
    for name, array in tensors.items():
        codec = (codecs or {}).get(name, NONE)
        if isinstance(array, bytes):
            contents.append(array)
            entries.append([name, len(array)])
        elif codec == NONE:
            contents.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            entries.append([name, array.dtype.name, list(array.shape)])
        else:
            contents.append(encode_tensor(codec, array))
            entries.append([name, len(contents[-1])])
    text = json.dumps({"header": dict(header), "tensors": entries}).encode()
    return [_MAGIC, len(text).to_bytes(4, "little"), text, *contents]


def decode(message: bytes | bytearray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Unpack header and tensors; tensors without a codec are views of `message`.

    RunError when the message does not have exactly the size that it declares, or its frames are
    damaged or decode to more than a gigabyte.
    """
    try:
        return _decode(message)
    except _DAMAGE as error:
        raise RunError(f"a message of {len(message)} bytes is damaged: {error}") from error


def _decode(message: bytes | bytearray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    length = int.from_bytes(message[4:8], "little")
    if message[:4] != _MAGIC or length > min(_MAX_HEADER_BYTES, len(message) - 8):
        raise ValueError("not a crossing's message")
    text = json.loads(message[8 : 8 + length])
    tensors: dict[str, np.ndarray] = {}
    offset = 8 + length
    left = MAX_TENSOR_BYTES
    for name, *what in text["tensors"]:
        size = what[0] if len(what) == 1 else _size_bytes(*what)
        if not 0 <= size <= len(message) - offset:
            raise ValueError(f"tensor {name!r} is cut short")
        content = memoryview(message)[offset : offset + size]
        if len(what) == 1:
            tensors[name] = decode_tensor(content, left)
            left -= tensors[name].nbytes
        else:
            dtype, shape = what
            tensors[name] = np.frombuffer(content, dtype).reshape(shape)
        offset += size
    if offset != len(message):
        raise ValueError(f"{len(message) - offset} bytes too many")
    return dict(text["header"]), tensors


def _size_bytes(dtype: str, shape: list[int]) -> int:
    if dtype not in DTYPES or min(shape, default=1) < 0:
        raise ValueError(f"no tensor is {dtype}{shape}")
    return math.prod(shape) * np.dtype(dtype).itemsize
