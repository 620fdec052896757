from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R

from jointdnn_tvm.network import load_network
from jointdnn_tvm.passes.convert_layout import convert_layout
from tests.onnx_models import (
    Array,
    calls,
    feeds_of,
    make_model,
    random_like,
    run_module,
    run_network,
    run_onnx,
    save,
)


def test_printed() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(
            x: R.Tensor((1, 3, 8, 8), "float32"),
            w: R.Tensor((4, 3, 3, 3), "float32"),
            b: R.Tensor((1, 4, 1, 1), "float32"),
        ) -> R.Tuple(R.Tensor((1, 4, 3, 3), "float32")):
            R.func_attr({"num_input": 1})
            with R.dataflow():
                conv = R.nn.conv2d(x, w)
                biased = R.add(conv, b)
                active = R.nn.relu(biased)
                pooled = R.nn.max_pool2d(active, pool_size=[2, 2], strides=[2, 2])
                result = (pooled,)
                R.output(result)
            return result

    @I.ir_module
    class Expected:
        @R.function
        def main(
            x: R.Tensor((1, 3, 8, 8), "float32"),
            w: R.Tensor((4, 3, 3, 3), "float32"),
            b: R.Tensor((1, 4, 1, 1), "float32"),
        ) -> R.Tuple(R.Tensor((1, 4, 3, 3), "float32")):
            R.func_attr({"num_input": 1})
            with R.dataflow():
                x_order = R.permute_dims(x, axes=[0, 2, 3, 1])
                w_order = R.permute_dims(w, axes=[2, 3, 1, 0])
                conv = R.nn.conv2d(
                    x_order, w_order, data_layout="NHWC", kernel_layout="HWIO", out_layout="NHWC"
                )
                b_shape = R.reshape(b, R.shape([1, 1, 1, 4]))
                biased = R.add(conv, b_shape)
                active = R.nn.relu(biased)
                pooled = R.nn.max_pool2d(
                    active, pool_size=[2, 2], strides=[2, 2], layout="NHWC", out_layout="NHWC"
                )
                back = R.permute_dims(pooled, axes=[0, 3, 1, 2])
                result = (back,)
                R.output(result)
            return result

    tvm.ir.assert_structural_equal(convert_layout(Before), Expected)


def transpositions(model: onnx.ModelProto, folder: Path) -> int:
    """How many are left; the answer is compared with onnxruntime's."""
    network = load_network(save(model, folder))
    feeds = feeds_of(model)
    answers = run_network(network, feeds)
    for answer, expected in zip(answers, run_onnx(model, feeds), strict=True):
        assert answer.shape == expected.shape
        scale = np.abs(expected).max(initial=1e-6)
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4 * scale)
    return calls(network.module).count("relax.permute_dims")


W = {"w": random_like((6, 6, 3, 3))}


def conv(source: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, "w"], [output], pads=[1, 1, 1, 1])


def test_network_that_is_channels_last_already(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        conv("a", "b"),
        helper.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1]),
    ]
    assert transpositions(make_model(nodes, {"x": (1, 5, 4, 6)}, ["y"], W), tmp_path) == 0


def test_only_at_the_ends(tmp_path: Path) -> None:
    nodes = [
        conv("x", "a"),
        helper.make_node("Relu", ["a"], ["b"]),
        conv("b", "c"),
        helper.make_node("Add", ["a", "c"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["e"], axis=1),
        helper.make_node("ReduceMean", ["e", "axes"], ["m"], keepdims=1),
        helper.make_node("Sigmoid", ["m"], ["s"]),
        helper.make_node("Mul", ["e", "s"], ["y"]),
    ]
    constants = {**W, "axes": np.array([2, 3])}
    assert transpositions(make_model(nodes, {"x": (1, 6, 4, 5)}, ["y"], constants), tmp_path) == 2


def test_sequence_of_a_picture(tmp_path: Path) -> None:
    """Rows of pixels, as in text recognisers: flattening and turning cost nothing."""
    nodes = [
        conv("x", "a"),
        helper.make_node("Reshape", ["a", "flat"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["c", "k"], ["y"]),
    ]
    constants = {**W, "flat": np.array([1, 6, 20]), "k": random_like((6, 7))}
    assert transpositions(make_model(nodes, {"x": (1, 6, 4, 5)}, ["y"], constants), tmp_path) == 1


def test_channel_shuffle_is_one(tmp_path: Path) -> None:
    nodes = [
        conv("x", "a"),
        helper.make_node("Reshape", ["a", "apart"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["c", "whole"], ["d"]),
        conv("d", "y"),
    ]
    constants = {**W, "apart": np.array([1, 2, 3, 4, 5]), "whole": np.array([1, 6, 4, 5])}
    model = make_model(nodes, {"x": (1, 6, 4, 5)}, ["y"], constants)
    assert transpositions(model, tmp_path) == 1 + 2


def test_no_convolution_no_change(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2]),
        helper.make_node("Softmax", ["a"], ["y"], axis=1),
    ]
    assert transpositions(make_model(nodes, {"x": (1, 6, 4, 5)}, ["y"]), tmp_path) == 0


def test_depthwise_and_grouped(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "d"], ["a"], group=6, pads=[1, 0, 1, 2], strides=[2, 1]),
        helper.make_node("Conv", ["a", "g"], ["y"], group=2, dilations=[1, 2]),
    ]
    constants = {"d": random_like((12, 1, 3, 3)), "g": random_like((4, 6, 2, 2))}
    assert transpositions(make_model(nodes, {"x": (1, 6, 6, 6)}, ["y"], constants), tmp_path) == 2


Step = Callable[[str, str, str], onnx.NodeProto]
CHANNELS, HEIGHT, WIDTH = 4, 6, 5


def _unary(op: str, **options: Any) -> Step:
    return lambda a, _b, out: helper.make_node(op, [a], [out], **options)


def _with(op: str, constant: str, **options: Any) -> Step:
    return lambda a, _b, out: helper.make_node(op, [a, constant], [out], **options)


def _binary(op: str) -> Step:
    return lambda a, b, out: helper.make_node(op, [a, b], [out])


# All of these keep the shape, so that any sequence of them is a network.
STEPS: dict[str, Step] = {
    "conv": _with("Conv", "w", pads=[1, 1, 1, 1]),
    "depthwise": _with("Conv", "d", pads=[1, 1, 1, 1], group=CHANNELS),
    "max pool": _unary("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "mean pool": _unary("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "relu": _unary("Relu"),
    "leaky": _unary("LeakyRelu", alpha=0.2),
    "softmax": _unary("Softmax", axis=1),
    "softmax over width": _unary("Softmax", axis=-1),
    "add": _binary("Add"),
    "greater": lambda a, b, out: helper.make_node("Max", [a, b], [out]),
    "add channel": _with("Add", "c"),
    "add row": _with("Mul", "r"),
    "slope": _with("PRelu", "c"),
    "add mean": lambda a, _b, out: helper.make_node("Sub", [a, f"{a}_mean"], [out]),
    "pad and cut": lambda a, _b, out: helper.make_node(
        "Slice", [f"{a}_padded", "starts", "ends", "axes"], [out]
    ),
    "reverse channels": _with("Gather", "back", axis=1),
    "swap and back": lambda a, _b, out: helper.make_node(
        "Transpose", [f"{a}_swapped"], [out], perm=[0, 3, 2, 1]
    ),
    "halves": lambda a, _b, out: helper.make_node(
        "Concat", [f"{a}_right", f"{a}_left"], [out], axis=1
    ),
    "flat and back": lambda a, _b, out: helper.make_node("Reshape", [f"{a}_flat", "full"], [out]),
    "product": _with("MatMul", "k"),
}
CONSTANTS: dict[str, Array] = {
    "w": random_like((CHANNELS, CHANNELS, 3, 3), 1) / 4,
    "d": random_like((CHANNELS, 1, 3, 3), 2) / 2,
    "c": random_like((CHANNELS, 1, 1), 3),
    "r": random_like((HEIGHT, 1), 4),
    "k": random_like((WIDTH, WIDTH), 5) / 2,
    "pads": np.array([0, 1, 2, 0, 0, 0, 1, 3]),
    "starts": np.array([1, 2, 0]),
    "ends": np.array([1 + CHANNELS, 2 + HEIGHT, WIDTH]),
    "axes": np.array([1, 2, 3]),
    "back": np.arange(CHANNELS)[::-1].copy(),
    "flat": np.array([1, CHANNELS, HEIGHT * WIDTH]),
    "full": np.array([1, CHANNELS, HEIGHT, WIDTH]),
    "space": np.array([2, 3]),
}


def _helpers(step: str, a: str) -> list[onnx.NodeProto]:
    """The nodes in front of a step that takes more than one."""
    match step:
        case "add mean":
            return [helper.make_node("ReduceMean", [a, "space"], [f"{a}_mean"])]
        case "pad and cut":
            return [helper.make_node("Pad", [a, "pads"], [f"{a}_padded"])]
        case "swap and back":
            return [helper.make_node("Transpose", [a], [f"{a}_swapped"], perm=[0, 3, 2, 1])]
        case "halves":
            outputs = [f"{a}_left", f"{a}_right"]
            return [helper.make_node("Split", [a], outputs, axis=1, num_outputs=2)]
        case "flat and back":
            return [helper.make_node("Reshape", [a, "flat"], [f"{a}_flat"])]
    return []


def random_network(data: st.DataObject) -> onnx.ModelProto:
    names, nodes, made = ["x"], [], set()
    for index in range(data.draw(st.integers(3, 9))):
        step = data.draw(st.sampled_from(sorted(STEPS)))
        a, b = (data.draw(st.sampled_from(names[-3:])) for _ in range(2))
        if (step, a) not in made:
            nodes += _helpers(step, a)
            made.add((step, a))
        nodes.append(STEPS[step](a, b, f"v{index}"))
        names.append(f"v{index}")
    outputs = list(dict.fromkeys([names[-1], data.draw(st.sampled_from(names[1:]))]))
    shape = (1, CHANNELS, HEIGHT, WIDTH)
    return make_model(nodes, {"x": shape}, outputs, CONSTANTS)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_random_networks(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    transpositions(random_network(data), tmp_path_factory.mktemp("model"))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_many_random_networks(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    transpositions(random_network(data), tmp_path_factory.mktemp("model"))


def test_values_that_are_no_tensors_pass_through() -> None:
    x = relax.Var("x", relax.TensorType((1, 4, 6, 6), "float32"))
    w = relax.Var("w", relax.TensorType((4, 4, 1, 1), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            value = builder.emit(relax.op.nn.conv2d(x, w))
            both = builder.emit(relax.op.topk(value, k=2, axis=1))
            first = builder.emit(relax.TupleGetItem(both, 0))
            second = builder.emit(relax.TupleGetItem(both, 1))
            result = builder.emit_output(relax.Tuple([first, second]))
        builder.emit_func_output(result)
    module = builder.get()
    values = [random_like((1, 4, 6, 6)), random_like((4, 4, 1, 1), 1)]
    before, after = (run_module(m, values) for m in (module, convert_layout(module)))
    for left, right in zip(before, after, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5)
