"""Masks of dropouts: drawn by seed and step, so that both sides of a run have the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHUNK = 1 << 16


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
    return {mask.name: _draw(rng, mask) for mask in masks}


def _draw(rng: np.random.Generator, mask: DropoutMask) -> np.ndarray[Any, Any]:
    """A mask, of whose random numbers only a few are there at a time."""
    kept = np.empty(mask.shape, np.uint8)
    flat = kept.reshape(-1)
    for begin in range(0, flat.size, _CHUNK):
        part = flat[begin : begin + _CHUNK]
        part[:] = rng.random(part.size) >= mask.ratio
    return kept
