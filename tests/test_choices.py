"""Which choices are left, and in which units."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jointdnn_tvm.placement import Codec, Limits, SideSeconds
from jointdnn_tvm.placement.choices import Choices
from tests.test_solve import PROBLEM

# 1000 bytes up take 1 s and 3 J
CODECS = (
    Codec("quick", 500, SideSeconds(0.1, 0.1), SideSeconds(0.1, 0.1), error=0.2),
    Codec("small", 250, SideSeconds(0.4, 0.4), SideSeconds(0.4, 0.4), error=0.1),
    Codec("bad", 600, SideSeconds(0.4, 0.4), SideSeconds(0.4, 0.4), error=0.3),
)
CODED = replace(
    PROBLEM,
    tensors=tuple(
        replace(tensor, codecs=CODECS) if tensor.name == "ab" else tensor
        for tensor in PROBLEM.tensors
    ),
)


def _up(limits: Limits) -> list[str]:
    choices = Choices(replace(CODED, limits=limits), "latency")
    return [codec for codec, _ in choices.ways["ab", "mobile"]]


def test_only_what_nothing_beats_in_all_that_counts_is_left() -> None:
    assert _up(Limits()) == ["quick"]
    assert _up(Limits(max_energy_j=100)) == ["quick", "small"]
    assert _up(Limits(max_error=100)) == ["none", "quick"]
    assert _up(Limits(max_energy_j=100, max_error=100)) == ["none", "quick", "small"]


def test_what_is_over_a_limit_alone_is_left_out() -> None:
    assert _up(Limits(max_energy_j=1)) == ["small"]
    assert _up(Limits(max_error=0.15)) == ["none"]
    choices = Choices(replace(CODED, limits=Limits(max_mobile_bytes=60)), "latency")
    assert [list(side for side in s if s[side] is not None) for s in choices.sides] == [
        ["cloud"],
        ["mobile", "cloud"],
        ["mobile", "cloud"],
    ]


def test_units_are_what_a_plan_may_take() -> None:
    choices = Choices(replace(CODED, limits=Limits(max_energy_j=100)), "latency", at_most=4.0)
    assert choices.units == pytest.approx({"latency": 4.0, "energy": 100.0})
    cloud = choices.sides[1]["cloud"]
    assert cloud == pytest.approx({"latency": 0.75 / 4, "energy": 0.5 * 0.75 / 100})
