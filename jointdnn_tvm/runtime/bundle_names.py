"""The sides, and the names of their files in a bundle."""

from __future__ import annotations

SIDES = ("mobile", "cloud")


def library_name(side: str) -> str:
    """File of a side's compiled stages."""
    return f"{side}.so"


def weights_name(side: str) -> str:
    """File of a side's weights."""
    return f"{side}.safetensors"


def state_name(side: str) -> str:
    """File of what a side's half of the state is before the first step of training.

    What it lacks starts as zeros.
    """
    return f"{side}-state.safetensors"
