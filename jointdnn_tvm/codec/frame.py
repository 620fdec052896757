"""A frame: one encoded tensor, described well enough that a receiver needs nothing else.

Little-endian. Checksum and sizes are checked before anything of the declared size is allocated::

    4  magic and version, b"JDF" and 2
    4  CRC-32 of all that follows
    1  length of the codec's name, then 1 of the element type's, 1 number of dimensions, 1 zero
    4  length of the parameters
    …  codec's name, element type, dimensions (8 bytes each), parameters, payload
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.runtime.dtypes import DTYPES

MAX_TENSOR_BYTES = 1 << 30
"""No frame decodes to more, unless its receiver says so."""

_MAGIC = b"JDF\x02"
_FIXED = struct.Struct("<4sIBBBxI")
_MAX_DIMENSIONS = 32


@dataclass(frozen=True)
class Frame:
    """An encoded tensor: the codec's own parameters, such as scales, and its payload."""

    codec: str
    dtype: str
    shape: tuple[int, ...]
    parameters: bytes
    payload: bytes | memoryview

    @property
    def count(self) -> int:
        """Elements of the tensor."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor once it is decoded."""
        return self.count * np.dtype(self.dtype).itemsize

    def to_bytes(self) -> bytes:
        """The frame as it crosses."""
        codec, dtype = self.codec.encode(), self.dtype.encode()
        dims = struct.pack(f"<{len(self.shape)}Q", *self.shape)
        named = codec + dtype + dims + self.parameters
        lengths = (len(codec), len(dtype), len(self.shape), len(self.parameters))
        after = _FIXED.pack(_MAGIC, 0, *lengths)[8:] + named
        checksum = zlib.crc32(self.payload, zlib.crc32(after))
        return b"".join((_MAGIC, struct.pack("<I", checksum), after, self.payload))


def read_frame(data: bytes | memoryview | bytearray, max_bytes: int = MAX_TENSOR_BYTES) -> Frame:
    """Check and take apart what crossed; its payload is a view of `data`.

    CodecError when it is damaged, of another version, or a tensor of more than `max_bytes`.
    """
    view = memoryview(data).cast("B")
    if len(view) < _FIXED.size or bytes(view[:3]) != _MAGIC[:3]:
        raise CodecError(f"{len(view)} bytes that should be a tensor's frame are none")
    magic, checksum, *lengths = _FIXED.unpack(view[: _FIXED.size])
    if magic != _MAGIC:
        raise CodecError(
            f"a tensor's frame has version {magic[3]}, this side reads {_MAGIC[3]}; "
            "use the same version of jointdnn_tvm on both sides"
        )
    if zlib.crc32(view[8:]) != checksum:
        raise CodecError("a tensor's frame is damaged: its checksum differs")
    return _take_apart(view, lengths, max_bytes)


def _take_apart(view: memoryview, lengths: list[int], max_bytes: int) -> Frame:
    sizes = (lengths[0], lengths[1], 8 * lengths[2], lengths[3])
    if lengths[2] > _MAX_DIMENSIONS or _FIXED.size + sum(sizes) > len(view):
        raise CodecError("a tensor's frame is damaged: its header is longer than it")
    parts = []
    offset = _FIXED.size
    for size in sizes:
        parts.append(bytes(view[offset : offset + size]))
        offset += size
    codec, dtype, dims, parameters = parts
    name = dtype.decode("ascii", "replace")
    if name not in DTYPES:
        raise CodecError(f"a tensor's frame is damaged: there is no element type {name!r}")
    shape = struct.unpack(f"<{lengths[2]}Q", dims)
    frame = Frame(codec.decode("ascii", "replace"), name, shape, parameters, view[offset:])
    if frame.size_bytes > max_bytes:
        raise CodecError(
            f"a tensor's frame declares {frame.size_bytes} bytes, over the {max_bytes} expected"
        )
    if max(shape, default=0) > MAX_TENSOR_BYTES:  # beside a dimension of 0
        raise CodecError(f"a tensor's frame declares the shape {list(shape)}")
    return frame
