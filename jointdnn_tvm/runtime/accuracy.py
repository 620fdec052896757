"""Which answers of a network are right. Needs NumPy alone, so that a phone can tell too."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def right_answers(scores: Array, label: Array, axis: int) -> Array:
    """For each row, whether the class of the label has the highest score.

    Args:
        scores: of all classes, along `axis`.
        label: ids of classes, one for each row; or a share for each class, as the scores are.
        axis: the classes' dimension.
    """
    wanted = label if label.dtype.kind in "iu" else label.argmax(axis)
    return np.asarray(scores.argmax(axis) == wanted)
