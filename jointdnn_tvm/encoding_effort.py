"""How much longer codecs take for a tensor than for usual numbers, as timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from jointdnn_tvm.codec import clock
from jointdnn_tvm.codec.registry import decode_tensor, encode_tensor
from jointdnn_tvm.cost.codec_times import CodecTime, Effort, Seconds, probe_bytes

_TRIES = 3
_SMALL_TRIES = 20  # of what takes little


def effort_of(name: str, array: np.ndarray[Any, Any]) -> Effort:
    """For a tensor that the codec is for; the fastest of a few tries counts."""
    usual = _usual(name)
    encode_s, decode_s = _times(name, array, _TRIES)
    return Effort(
        usual.encode.effort(array.nbytes, encode_s), usual.decode.effort(array.nbytes, decode_s)
    )


@cache
def _usual(name: str) -> CodecTime:
    """What the codec takes here for usual numbers."""
    sizes = probe_bytes(name)
    times = [_times(name, clock.probe(name, count), _SMALL_TRIES) for count in sizes]
    encode_s, decode_s = zip(*times, strict=True)
    sizes_bytes = [*sizes.values()]
    return CodecTime(Seconds.through(sizes_bytes, encode_s), Seconds.through(sizes_bytes, decode_s))


def _times(name: str, array: np.ndarray[Any, Any], tries: int) -> tuple[float, float]:
    """Seconds to encode and to decode it."""
    frame = encode_tensor(name, array)
    return (
        _fastest(lambda: encode_tensor(name, array), tries),
        _fastest(lambda: decode_tensor(frame), tries),
    )


def _fastest(call: Callable[[], object], tries: int) -> float:
    took_s = []
    for _ in range(tries):
        began = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - began)
    return min(took_s)
