"""The form in which a weight that is trained is stored, and how to make the file's again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Move = tuple[Literal["order", "shape"], tuple[int, ...]]
"""A new order of the dimensions, or a new shape."""


@dataclass(frozen=True)
class Form:
    """How a weight is stored: what is done to the array in the file, step by step."""

    shape: tuple[int, ...]
    """Of the array in the file."""
    steps: tuple[Move, ...] = ()

    def of(self, array: Array) -> Array:
        """The stored array, of the one in the file."""
        for kind, dims in self.steps:
            array = array.transpose(dims) if kind == "order" else array.reshape(dims)
        return np.ascontiguousarray(array)

    def undo(self, stored: Array) -> Array:
        """The array in the file, of the stored one."""
        places = self.of(np.arange(stored.size).reshape(self.shape))
        array = np.empty(stored.size, stored.dtype)
        array[places.ravel()] = stored.ravel()
        return array.reshape(self.shape)
