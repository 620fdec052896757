"""Arrays that break encoders: odd shapes, odd numbers, odd memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SHAPES: tuple[tuple[int, ...], ...] = (
    *((), (0,), (1,), (3,), (512, 1), (1, 1000), (0, 4), (3, 0, 2), (2, 3, 5), (7, 11, 13)),
    *((1, 3, 17, 31), (1, 17, 31, 3), (1, 3, 3, 3), (2, 3, 9, 8), (1, 13, 13, 48), (1, 7, 7, 5)),
    *((1,) * 9, (100_003,), (1, 1, 1, 100_003), (100_003, 1), (37, 2, 2, 40)),
)


def _numbers(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    normal = np.asarray(rng.standard_normal(shape)).astype(np.float32)
    tiny = np.finfo(np.float32).smallest_subnormal
    makers: dict[str, Callable[[], Array]] = {
        "normal": lambda: normal,
        "rectified": lambda: np.maximum(normal, 0),
        "zeros": lambda: np.zeros(shape),
        "minus zeros": lambda: np.copysign(np.zeros(shape), normal),
        "constant": lambda: np.full(shape, 0.1),
        "denormal": lambda: np.rint(9 * normal) * tiny,
        "huge": lambda: normal * np.float32(7e37),
        "wide": lambda: np.exp(15 * normal),
        "far": lambda: normal + np.float32(1e6),
        "nan": lambda: np.where(normal > 0, np.nan, normal),
        "all nan": lambda: np.full(shape, np.nan),
        "infinite": lambda: np.where(normal > 1, -np.inf, normal),
        "bytes": lambda: np.asarray(rng.integers(0, 256, shape)) / 255,
    }
    return np.asarray(makers[kind]()).astype(np.float32)


KINDS = (
    *("normal", "rectified", "zeros", "minus zeros", "constant", "denormal", "huge", "wide"),
    *("far", "nan", "all nan", "infinite", "bytes"),
)


def hard_array(kind: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    return _numbers(kind, shape, np.random.default_rng(seed))


def bits(array: Array) -> bytes:
    """Every bit of it, in logical order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).tobytes()
