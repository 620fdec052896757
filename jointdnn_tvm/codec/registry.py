"""The codecs by name, and how a tensor becomes a frame and comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jointdnn_tvm.codec import half, nibbles, pixels, shuffle
from jointdnn_tvm.codec.frame import MAX_TENSOR_BYTES, Frame, read_frame
from jointdnn_tvm.codec.picture_file import HAS_PILLOW, JPEG
from jointdnn_tvm.codec.planes import Planes
from jointdnn_tvm.codec.uniform import Uniform
from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.runtime.dtypes import DTYPES

NONE = "none"
"""The codec of a tensor that crosses as it lies in memory."""

_FLOAT = frozenset({"float32"})
_BYTE = frozenset({"uint8"})
Encode = Callable[[np.ndarray], "tuple[bytes, bytes | memoryview] | None"]


@dataclass(frozen=True)
class Codec:
    """A way to encode tensors of some element types.

    `encode` gives the frame's parameters and payload, or None for a tensor that it cannot encode
    or not well: then the codec `otherwise` takes it, which is exact. `exact` codecs give every bit
    back. Those that are not, and are for all tensors, come in the order of their errors.
    """

    name: str
    exact: bool
    dtypes: frozenset[str]
    encode: Encode
    decode: Callable[[Frame], np.ndarray]
    otherwise: str = NONE


def _plain(array: np.ndarray) -> tuple[bytes, memoryview]:
    return b"", array.reshape(-1).view(np.uint8).data


def _from_plain(frame: Frame) -> np.ndarray:
    if len(frame.payload) != frame.size_bytes:
        raise CodecError(f"a tensor's payload does not hold {frame.size_bytes} bytes")
    return np.frombuffer(frame.payload, frame.dtype).reshape(frame.shape)


UNIFORM = {
    "u8": Uniform(256),
    "u8-tensor": Uniform(256, by_channel=False),
    "u6": Uniform(64),
    "u4": Uniform(16),
}
"""The codecs that send indices on a grid, from the finest on."""

_ALL = (
    Codec(NONE, True, DTYPES, _plain, _from_plain),
    Codec("f32", True, _FLOAT, shuffle.encode, shuffle.decode),
    Codec("bytes", True, DTYPES - _FLOAT, shuffle.encode, shuffle.decode),
    *(
        Codec(name, True, _BYTE, planes.encode, planes.decode, otherwise="bytes")
        for name, planes in (("planes", Planes()), ("rises", Planes(rising=True)))
    ),
    Codec("nibbles", True, _BYTE, nibbles.encode, nibbles.decode, otherwise="bytes"),
    Codec("pixels", True, _FLOAT, pixels.encode, pixels.decode, otherwise="f32"),
    Codec("f16", False, _FLOAT, half.encode, half.decode, otherwise="f32"),
    *(Codec(n, False, _FLOAT, u.encode, u.decode, otherwise="f32") for n, u in UNIFORM.items()),
    Codec("jpeg", False, _FLOAT, JPEG.encode, JPEG.decode, otherwise="pixels"),
)
CODECS = {codec.name: codec for codec in _ALL if codec.name != "jpeg" or HAS_PILLOW}
"""Every codec that this machine has, by name."""


def encode_tensor(name: str, array: np.ndarray) -> bytes:
    """The tensor's frame, by that codec or, where that cannot or does not pay, an exact one.

    CodecError when there is no such codec, or not for this type.
    """
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    while True:
        codec = _codec(name)
        if array.dtype.name not in codec.dtypes:
            raise CodecError(f"codec {name!r} is not for tensors of type {array.dtype}")
        encoded = codec.encode(native)
        if encoded is not None:
            parameters, payload = encoded
            break
        name = codec.otherwise
    return Frame(name, array.dtype.name, array.shape, parameters, payload).to_bytes()


def decode_tensor(
    data: bytes | memoryview | bytearray, max_bytes: int = MAX_TENSOR_BYTES
) -> np.ndarray:
    """The tensor of a frame, which may be a read-only view of it.

    CodecError when the frame is damaged, or declares more than `max_bytes`.
    """
    frame = read_frame(data, max_bytes)
    codec = _codec(frame.codec)
    if frame.dtype not in codec.dtypes:
        raise CodecError(f"codec {frame.codec!r} is not for tensors of type {frame.dtype}")
    try:
        return codec.decode(frame)
    except ValueError as error:  # a shape that NumPy cannot have
        raise CodecError(f"a tensor's frame is damaged: {error}") from error


def _codec(name: str) -> Codec:
    if name not in CODECS:
        raise CodecError(f"there is no codec {name[:40]!r}; this version has {', '.join(CODECS)}")
    return CODECS[name]
