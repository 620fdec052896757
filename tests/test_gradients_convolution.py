"""Gradients of convolutions of all kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from jointdnn_tvm.passes.gradients.convolution import Axis, refused_convolution
from tests.gradient_checks import check_gradients

op = relax.op


@dataclass(frozen=True)
class Convolution:
    image: tuple[int, int, int, int]
    kernel: tuple[int, int, int, int]
    options: dict[str, Any]

    def check(self) -> None:
        rng = np.random.default_rng(0)
        check_gradients(
            lambda _, x, w: op.nn.conv2d(
                x, w, data_layout="NHWC", kernel_layout="HWIO", **self.options
            ),
            rng.standard_normal(self.image),
            rng.standard_normal(self.kernel),
        )


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Any strides, dilation, groups and paddings; at least one window fits."""
    taps = [draw(st.integers(1, 4)) for _ in range(2)]
    dilation = [draw(st.integers(1, 3)) for _ in range(2)]
    padding = [draw(st.integers(0, 3)) for _ in range(4)]
    reach = [(k - 1) * d + 1 for k, d in zip(taps, dilation, strict=True)]
    least = [max(1, r - padding[i] - padding[2 + i]) for i, r in enumerate(reach)]
    extents = [draw(st.integers(size, size + 6)) for size in least]
    groups, depth, columns = (draw(st.integers(1, 3)) for _ in range(3))
    return Convolution(
        (draw(st.integers(1, 2)), extents[0], extents[1], groups * depth),
        (taps[0], taps[1], depth, groups * columns),
        {
            "strides": [draw(st.integers(1, 4)) for _ in range(2)],
            "dilation": dilation,
            "padding": padding,
            "groups": groups,
        },
    )


@settings(max_examples=12, deadline=None)
@given(convolutions())
def test_derivatives(convolution: Convolution) -> None:
    convolution.check()


@pytest.mark.parametrize(
    "convolution",
    [
        Convolution((1, 7, 7, 6), (3, 3, 1, 6), {"groups": 6, "padding": (1, 1, 1, 1)}),
        Convolution((2, 7, 7, 4), (3, 3, 1, 8), {"groups": 4, "strides": (2, 2)}),
        Convolution((2, 7, 8, 3), (1, 1, 3, 5), {}),
        Convolution((1, 7, 8, 3), (1, 1, 3, 5), {"strides": (2, 3)}),
        Convolution((1, 9, 9, 2), (2, 2, 2, 2), {"strides": (2, 2), "dilation": (2, 2)}),
        Convolution((1, 8, 8, 2), (2, 2, 2, 2), {"strides": (4, 4)}),  # pixels that no tap reads
        Convolution((1, 3, 3, 2), (2, 2, 2, 2), {"padding": (4, 4, 4, 4)}),  # windows of border
        Convolution((1, 2, 1, 2), (2, 1, 2, 1), {"strides": (1, 2), "padding": (0, 1, 0, 0)}),
        Convolution((1, 1, 2, 1), (1, 1, 1, 2), {"strides": (3, 1), "padding": (2, 0, 0, 0)}),
    ],
    ids=str,
)
def test_derivatives_of_special_ones(convolution: Convolution) -> None:
    convolution.check()


@given(st.data())
def test_phases_hold_every_tap_once(data: st.DataObject) -> None:
    draw = data.draw
    axis = Axis(
        size=draw(st.integers(1, 20)),
        taps=draw(st.integers(1, 9)),
        stride=draw(st.integers(1, 5)),
        dilation=draw(st.integers(1, 5)),
        before=draw(st.integers(0, 6)),
        out=draw(st.integers(1, 20)),
    )
    read: dict[int, set[tuple[int, int]]] = {place: set() for place in range(axis.size)}
    for window in range(axis.out):
        for tap in range(axis.taps):
            place = window * axis.stride + tap * axis.dilation - axis.before
            if place in read:
                read[place].add((window, tap))
    found: dict[int, set[tuple[int, int]]] = {place: set() for place in range(axis.size)}
    for number in range(axis.stride):
        phase = axis.phase(number)
        for place in range(number, axis.size, axis.stride):
            for i in range(phase.count if phase else 0):
                assert phase is not None
                window = phase.start + place // axis.stride + i * phase.dilation
                tap = phase.first + (phase.count - 1 - i) * phase.step
                if 0 <= window < axis.out:
                    found[place].add((window, tap))
    assert found == read


def test_other_layouts_are_refused() -> None:
    x = relax.Var("x", relax.TensorType((1, 3, 8, 8), "float32"))
    w = relax.Var("w", relax.TensorType((5, 3, 3, 3), "float32"))
    call = relax.BlockBuilder().normalize(op.nn.conv2d(x, w))
    assert refused_convolution(call) == "not stored as NHWC and HWIO"
