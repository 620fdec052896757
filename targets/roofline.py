"""The part of a target profile that says how near kernels come to its peak and its bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jointdnn_tvm.targets.schema import Fields

MULTIPLY_ADD = ("convolution", "depthwise", "dense")
KINDS = (*MULTIPLY_ADD, "pooling", "reduction", "moving", "elementwise")


@dataclass(frozen=True)
class RooflineFigures:
    """`call_s` is what a kernel costs before it begins.

    `efficiency` is by kind of operator, as far as it was measured: the share of the peak that
    multiply-adds reach, and of the memory's bandwidth that the others do. It is over 1 where an
    algorithm saves operations, or a cache holds what is moved. `source` says how it was measured.
    """

    call_s: float
    efficiency: Mapping[str, float]
    source: str


def read_roofline(fields: Fields) -> RooflineFigures:
    """Read the ``[roofline]`` table; raises `ProfileError` for a kind that is not known."""
    shares = fields.table("efficiency", optional=True)
    efficiency = {kind: shares.number(kind, 0.0) for kind in KINDS}
    shares.done()
    measured = {kind: share for kind, share in efficiency.items() if share}
    figures = RooflineFigures(
        call_s=fields.number("call_s", 0.0),
        efficiency=measured,
        source=fields.text("source", None if measured else ""),
    )
    fields.done()
    return figures
