"""Masks of dropouts: drawn by seed and step, so that both sides of a run have the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DropoutMask:
    """An input of 0 and 1 (uint8): which elements a dropout keeps."""

    name: str
    shape: tuple[int, ...]
    ratio: float
    """The share that is dropped."""


def draw_masks(
    masks: Sequence[DropoutMask], seed: int, step: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The masks of a step, the same for the same seed and step."""
    if not masks:
        return {}
    rng = np.random.default_rng([seed, step])
    return {m.name: (rng.random(m.shape) >= m.ratio).astype(np.uint8) for m in masks}
