"""Zstandard at level 1: higher levels gain 1 % on activations for many times the time."""

from __future__ import annotations

import threading

import numpy as np
import zstandard

from jointdnn_tvm.errors import CodecError

_LEVEL = 1
_HASH_LOG = 12  # of a table that stays in the first cache: faster, and activations as small
_CONTEXTS = threading.local()  # a context serves one thread at a time


def compress(data: np.ndarray | bytes, block_bytes: int | None = None) -> bytes:
    """Compress contiguous bytes; their number is told in the result.

    Blocks, each with an entropy code of its own, are of `block_bytes`, or 128 KiB as Zstandard has
    them.
    """
    if not hasattr(_CONTEXTS, "compressor"):
        how = zstandard.ZstdCompressionParameters(compression_level=_LEVEL, hash_log=_HASH_LOG)
        _CONTEXTS.compressor = zstandard.ZstdCompressor(compression_params=how)
    view = np.frombuffer(data, np.uint8)
    if block_bytes is None or view.size <= block_bytes:
        whole: bytes = _CONTEXTS.compressor.compress(view)
        return whole
    stream = _CONTEXTS.compressor.compressobj(size=view.size)
    parts = []
    for start in range(0, view.size, block_bytes):
        parts.append(stream.compress(view[start : start + block_bytes]))
        parts.append(stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return b"".join((*parts, stream.flush()))


def decompress(payload: bytes | memoryview, size_bytes: int) -> np.ndarray:
    """The bytes again, read-only; CodecError unless there are exactly so many.

    Nothing is allocated before the compressed data has told the same number.
    """
    try:
        if zstandard.frame_content_size(payload) != size_bytes:
            raise CodecError(f"a tensor's payload does not hold {size_bytes} bytes")
        if not hasattr(_CONTEXTS, "decompressor"):
            _CONTEXTS.decompressor = zstandard.ZstdDecompressor()
        data = _CONTEXTS.decompressor.decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CodecError(f"a tensor's payload is damaged: {error}") from error
    return np.frombuffer(data, np.uint8)
