"""Where a search starts, and where it can go."""

from __future__ import annotations

from typing import Any

import pytest

from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.depthwise import Depthwise
from jointdnn_tvm.passes.kernels.matmul import Factor, Matmul
from jointdnn_tvm.passes.kernels.pooling import Pooling
from jointdnn_tvm.tuning.space import Space, with_choice
from tests.kernel_library import PROFILES

THREE = Convolution((1, 28, 28, 64), (3, 3, 64, 96), padding=(1, 1, 1, 1))
ONE = Convolution((1, 28, 30, 64), (1, 1, 64, 24))
DEPTHWISE = Depthwise(Convolution((1, 28, 28, 64), (3, 3, 1, 64), groups=64))
PRODUCT = Matmul(Factor((4, 32, 64)), Factor((4, 64, 48)), (4,))
POOL = Pooling(Convolution((1, 28, 28, 64), (3, 3, 1, 64), (2, 2), groups=64), "largest")
KERNELS = [THREE, ONE, DEPTHWISE, PRODUCT, POOL]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("profile", ["avx2", "avx512", "pi"])
def test_the_rule_is_a_choice_like_others(kernel: Any, profile: str) -> None:
    space = Space(kernel, PROFILES[profile])
    assert space.starts()[0] == space.rule
    chosen = with_choice(PROFILES[profile], kernel, space.rule)
    assert Space(kernel, chosen).rule == space.rule


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("profile", ["avx2", "avx512", "pi"])
@pytest.mark.parametrize("joined", [False, True])
def test_every_step_leads_elsewhere_and_to_what_it_says(
    kernel: Any, profile: str, joined: bool
) -> None:
    space = Space(kernel, PROFILES[profile], joined)
    found = [*space.starts()[1:], *space.neighbours(space.rule)]
    assert found
    for choice in found:
        assert choice != space.rule
        chosen = Space(kernel, with_choice(PROFILES[profile], kernel, choice), joined)
        assert chosen._complete(choice) == choice


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_stands_behind_a_kernel_may_stay_apart(kernel: Any) -> None:
    space = Space(kernel, PROFILES["avx512"], joined=True)
    assert {**space.rule, "apart": 1} in space.neighbours(space.rule)
    alone = Space(kernel, PROFILES["avx512"])
    assert not any("apart" in choice for choice in alone.neighbours(alone.rule))


def test_all_forms_and_widths_are_tried() -> None:
    starts = Space(THREE, PROFILES["avx512"]).starts()
    assert {choice["outputs"] for choice in starts} == {0, 2, 4}
    assert {choice["lanes"] for choice in starts} == {8, 16}
    assert {choice["outputs"] for choice in Space(ONE, PROFILES["avx512"]).starts()} == {0}
    assert all(c["lanes"] * c["vectors"] <= 24 for c in Space(ONE, PROFILES["avx2"]).starts())
