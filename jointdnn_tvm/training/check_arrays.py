"""Whether what a step is given fits it. Needs NumPy alone, so that a phone may ask too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jointdnn_tvm.errors import RunError

Array = np.ndarray[Any, Any]


def check_array(array: Array | None, name: str, shape: Sequence[int], dtype: str) -> Array:
    """The array, contiguous.

    Raises:
        RunError: it is missing, or of another shape or dtype.
    """
    if array is None:
        raise RunError(f"'{name}' is missing; give an array of {list(shape)}")
    if array.shape != tuple(shape) or str(array.dtype) != dtype:
        raise RunError(
            f"'{name}' is {array.dtype} of {list(array.shape)}; give {dtype} of {list(shape)}"
        )
    return np.ascontiguousarray(array)


def check_classes(ids: Array, name: str, classes: int) -> None:
    """RunError unless all ids are of one of so many classes, from 0 on."""
    if not ids.size:
        return
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= classes:
        wrong = least if least < 0 else most
        raise RunError(
            f"'{name}' holds class {wrong}, but the network tells classes 0 to {classes - 1} "
            "apart; correct the labels, or check which dimension of the output holds the scores"
        )
