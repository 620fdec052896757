"""How weights are laid out for the kernels.

Done once, when a bundle is built, in NumPy; at run time only for weights that change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tvm import te, tirx

Array = np.ndarray[Any, Any]


class Packing(Protocol):
    """A layout of one weight."""

    @property
    def tag(self) -> str:
        """Short name, part of the packed weight's."""

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the packed weight."""

    def apply(self, weight: Array) -> Array:
        """The packed weight."""

    def compute(self, weight: te.Tensor) -> te.Tensor:
        """The packed weight, made at run time."""


def panel_starts(columns: int, width: int) -> list[int]:
    """Where panels of `width` columns begin; the last one overlaps its neighbour."""
    return [min(start, columns - width) for start in range(0, columns, width)]


@dataclass(frozen=True)
class Panels:
    """[..., K, O] as [groups * panels, ..., K, width]: what one register tile reads lies together.

    Columns of different groups never share a panel.
    """

    width: int
    groups: int = 1

    @property
    def tag(self) -> str:
        """Short name, part of the packed weight's."""
        return f"panels{self.width}" + (f"x{self.groups}" if self.groups > 1 else "")

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the packed weight."""
        *kept, columns = shape
        panels = -(-(columns // self.groups) // self.width)
        return (self.groups * panels, *kept, self.width)

    def apply(self, weight: Array) -> Array:
        """The packed weight."""
        columns = weight.shape[-1] // self.groups
        starts = panel_starts(columns, self.width)
        firsts = [group * columns + start for group in range(self.groups) for start in starts]
        packed = np.empty(self.shape(weight.shape), weight.dtype)
        for panel, first in zip(packed, firsts, strict=True):
            panel[...] = weight[..., first : first + self.width]
        return packed

    def compute(self, weight: te.Tensor) -> te.Tensor:
        """The packed weight, made at run time."""
        columns = int(weight.shape[-1]) // self.groups
        panels = -(-columns // self.width)

        def packed(panel: Any, *place: Any) -> Any:
            *kept, lane = place
            first = tirx.min(panel % panels * self.width, columns - self.width)
            return weight[(*kept, panel // panels * columns + first + lane)]

        shape = self.shape([int(extent) for extent in weight.shape])
        return te.compute(shape, packed, "pack")
