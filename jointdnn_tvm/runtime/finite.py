"""Whether the numbers of an array are finite."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_finite(array: np.ndarray[Any, Any]) -> bool:
    """No element is infinite or no number.

    A sum of products tells in one pass over memory, unless it overflows by itself.
    """
    if array.dtype.kind != "f":
        return True
    flat = array.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        quick = bool(np.isfinite(np.dot(flat, flat)))
    return quick or bool(np.isfinite(flat).all())
