from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators, random_like

SMALL = st.integers(1, 3)


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(SMALL, SMALL),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    groups=st.integers(1, 2),
    has_bias=st.booleans(),
)
def test_same_as_onnxruntime(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: list[int],
    extra: tuple[int, int],
    groups: int,
    has_bias: bool,
) -> None:
    for i in range(2):
        assume(extra[i] < strides[i])
        full = strides[i] * (size[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        assume(full > pads[i] + pads[i + 2])
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"] if has_bias else ["x", "w"],
        ["y"],
        group=groups,
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=extra,
    )
    constants = {"w": random_like((2 * groups, 3, *kernel)), "b": random_like((3 * groups,))}
    model = make_model([node], {"x": (2, 2 * groups, *size)}, ["y"], constants)
    graph = assert_same_answers(model, tmp_path_factory.mktemp("model"))
    assert "ConvTranspose" not in operators(graph)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_derived_padding(auto_pad: str, tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 3], auto_pad=auto_pad)
    model = make_model([node], {"x": (1, 2, 4, 3)}, ["y"], {"w": random_like((2, 3, 3, 4))})
    assert_same_answers(model, tmp_path)


def test_wanted_shape(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_shape=[8, 7])
    model = make_model([node], {"x": (1, 2, 4, 4)}, ["y"], {"w": random_like((2, 3, 3, 3))})
    assert_same_answers(model, tmp_path)


def test_one_convolution_without_crop(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    model = make_model([node], {"x": (1, 4, 5, 5)}, ["y"], {"w": random_like((4, 3, 2, 2))})
    graph = assert_same_answers(model, tmp_path)
    assert operators(graph) == ["Conv", "Reshape", "Transpose", "Reshape"]


def test_stride_one_is_a_plain_convolution(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    model = make_model([node], {"x": (1, 4, 5, 5)}, ["y"], {"w": random_like((4, 3, 3, 3))})
    assert operators(assert_same_answers(model, tmp_path)) == ["Conv", "Slice"]


def test_one_dimension(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])
    model = make_model([node], {"x": (1, 4, 5)}, ["y"], {"w": random_like((4, 3, 4))})
    assert "ConvTranspose" not in operators(assert_same_answers(model, tmp_path))
