"""How long a codec takes on this machine, on seeded numbers like those that networks make."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor

_REPEATS = 3
_CHANNELS, _WIDTH = 64, 16


def time_codec(name: str, count: int, shortest_s: float) -> tuple[float, float]:
    """Seconds to encode and to decode `probe`, the median of three repeats each.

    A repeat lasts `shortest_s` or longer.
    """
    array = probe(name, count)
    frame = encode_tensor(name, array)
    encode_s = _seconds(lambda: encode_tensor(name, array), shortest_s)
    return encode_s, _seconds(lambda: decode_tensor(frame), shortest_s)


def probe(name: str, count: int) -> np.ndarray:
    """What the codec is for: a picture, small whole numbers, or activations after a ReLU.

    It has `count` numbers, at least 1024 and in whole rows.
    """
    rng = np.random.default_rng(0)
    if name in ("pixels", "jpeg"):
        height = count // 3 // _WIDTH
        slope = np.linspace(0, 240, height)[:, None]
        return np.rint(slope + rng.integers(0, 16, (1, 3, height, _WIDTH))).astype(np.float32)
    shape = 1, count // _CHANNELS // _WIDTH, _WIDTH, _CHANNELS
    if "float32" in CODECS[name].dtypes:
        return np.maximum(rng.standard_normal(shape, np.float32), 0)
    return rng.binomial(15 if name == "nibbles" else 255, 0.1, shape).astype(np.uint8)


def _seconds(call: Callable[[], object], shortest_s: float) -> float:
    return statistics.median(_repeat(call, shortest_s) for _ in range(_REPEATS))


def _repeat(call: Callable[[], object], shortest_s: float) -> float:
    call()
    calls = 0
    began = time.perf_counter()
    while (passed_s := time.perf_counter() - began) < shortest_s or not calls:
        call()
        calls += 1
    return passed_s / calls
