"""Which operators get a kernel, and the packed weights that stand in the place of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from jointdnn_tvm.passes.choose_kernels import Weight, choose_kernels, plain_weights
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.packing import Panels
from jointdnn_tvm.passes.kernels.winograd import Winograd
from tests.kernel_library import PROFILES
from tests.tiny_models import relax_main

op = relax.op
Shape = tuple[Any, ...]
Body = Callable[..., Any]
PROFILE = PROFILES["avx2"]


def _module(
    inputs: Mapping[str, Shape],
    weights: Mapping[str, Shape],
    body: Body,
    dtype: str = "float32",
    **attributes: Any,
) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    types = {**inputs, **weights}
    params = [relax.Var(n, relax.TensorType(s, dtype)) for n, s in types.items()]
    with builder.function("main", params, attrs={"num_input": len(inputs)} | attributes):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(body(*params)))
        builder.emit_func_output(result)
    return builder.get()


def _kernels(module: tvm.IRModule) -> list[str]:
    """Names of the kernels that were put in."""
    return sorted(
        var.name_hint for var, f in module.functions.items() if isinstance(f, tirx.PrimFunc)
    )


def _conv(x: Any, w: Any, **options: Any) -> Any:
    layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
    return op.nn.conv2d(x, w, **{**layouts, **options})


def _strided(x: Any, w: Any) -> Any:
    return _conv(x, w, strides=(2, 2))


IMAGE = {"x": (1, 9, 9, 8)}


@pytest.mark.parametrize(
    ("inputs", "weights", "body", "kernel"),
    [
        (IMAGE, {"w": (1, 1, 8, 24)}, _conv, "convolution"),
        (IMAGE, {"w": (3, 3, 8, 24)}, _strided, "convolution"),
        (IMAGE, {"w": (3, 3, 4, 24)}, lambda x, w: _conv(x, w, groups=2), "convolution"),
        (IMAGE, {"w": (3, 3, 1, 8)}, lambda x, w: _conv(x, w, groups=8), "depthwise"),
        (IMAGE, {"w": (3, 3, 1, 16)}, lambda x, w: _conv(x, w, groups=8), "convolution"),
        ({"x": (5, 8)}, {"w": (8, 24)}, op.matmul, "dense"),
        ({"x": (2, 5, 8)}, {"w": (8, 24)}, op.matmul, "dense"),
    ],
)
def test_operator_over_a_weight_gets_a_kernel(
    inputs: Mapping[str, Shape], weights: Mapping[str, Shape], body: Body, kernel: str
) -> None:
    chosen, taken = choose_kernels(_module(inputs, weights, body), PROFILE)
    assert _kernels(chosen) == [kernel]
    (weight,) = taken["main"]
    assert weight.source == "w"
    param = chosen["main"].params[1]
    expected = weights["w"] if weight.packing is None else weight.packing.shape(weights["w"])
    assert tuple(int(extent) for extent in param.ty.shape) == expected
    assert (weight.packing is None) == (kernel == "depthwise")


N = tirx.Var("n", "int64")


@pytest.mark.parametrize(
    ("inputs", "weights", "body", "dtype"),
    [
        ({"x": (8,)}, {"w": (8, 24)}, op.matmul, "float32"),
        ({"x": (N, 8)}, {"w": (8, 24)}, op.matmul, "float32"),
        ({"x": (5, 8)}, {"w": (8, 24)}, op.matmul, "float64"),
        ({"x": (5, 8)}, {"w": (8, 24)}, op.matmul, "float16"),
        ({"x": (5, 8)}, {"w": (8, 24)}, op.matmul, "int32"),
        (IMAGE, {"w": (3, 3, 8, 24)}, _conv, "float64"),
        ({"x": (N, 9, 9, 8)}, {"w": (3, 3, 8, 24)}, _conv, "float32"),
        (
            {"x": (1, 8, 9, 9)},
            {"w": (24, 8, 3, 3)},
            lambda x, w: _conv(x, w, data_layout="NCHW", kernel_layout="OIHW"),
            "float32",
        ),
        (IMAGE, {"w": (3, 3, 8, 24)}, lambda x, w: _conv(x, w, out_layout="NCHW"), "float32"),
        (IMAGE, {"w": (3, 3, 8, 24)}, lambda x, w: _conv(x, w, out_dtype="float64"), "float32"),
        (
            {"x": (5, 8)},
            {"w": (8, 24)},
            lambda x, w: op.matmul(x, w, out_dtype="float64"),
            "float32",
        ),
        ({"x": (0, 8)}, {"w": (8, 24)}, op.matmul, "float32"),  # nothing in, or nothing out
        ({"x": (5, 0)}, {"w": (0, 24)}, op.matmul, "float32"),
        ({"x": (5, 8)}, {"w": (8, 0)}, op.matmul, "float32"),
        ({"x": (0, 9, 9, 8)}, {"w": (3, 3, 8, 24)}, _conv, "float32"),
        ({"x": (1, 2, 9, 8)}, {"w": (3, 3, 8, 24)}, _conv, "float32"),
        (IMAGE, {"w": (3, 3, 8, 0)}, _conv, "float32"),
        (IMAGE, {"w": (24, 3, 3, 8)}, lambda x, w: _conv(x, w, kernel_layout="OHWI"), "float32"),
        ({"x": (8,), "y": (8, 24)}, {}, op.matmul, "float32"),
        ({"x": (5, N), "y": (N, 24)}, {}, op.matmul, "float32"),
        ({"x": (5, 8), "y": (8, 24)}, {}, op.matmul, "float64"),
        ({"x": (8,)}, {}, op.nn.softmax, "float32"),
        ({"x": (5, 8)}, {}, op.nn.softmax, "float16"),
        (IMAGE, {}, lambda x: op.nn.max_pool2d(x, (3, 3)), "float32"),  # NCHW
        (IMAGE, {}, lambda x: _mean_pool(x, dilation=2), "float32"),
        ({"x": (1, 9, 99, 8)}, {}, lambda x: _mean_pool(x, pool_size=(3, 40)), "float32"),
    ],
)
def test_other_operators_stay(
    inputs: Mapping[str, Shape], weights: Mapping[str, Shape], body: Body, dtype: str
) -> None:
    module = _module(inputs, weights, body, dtype)
    chosen, taken = choose_kernels(module, PROFILE)
    tvm.ir.assert_structural_equal(chosen, module)
    assert taken["main"] == tuple(Weight(name) for name in weights)


def _mean_pool(x: relax.Expr, pool_size: tuple[int, int] = (3, 3), **options: Any) -> relax.Expr:
    return op.nn.avg_pool2d(x, pool_size, layout="NHWC", **options)


@pytest.mark.parametrize(
    ("inputs", "weights", "body", "kernel"),
    [
        ({"x": (5, 8), "y": (8, 24)}, {}, op.matmul, "matmul"),
        ({"x": (5, 8)}, {"w": (8, 24)}, lambda x, w: op.matmul(x, op.nn.relu(w)), "matmul"),
        ({"x": (3, 5, 8)}, {"w": (3, 8, 24)}, op.matmul, "matmul"),
        ({"x": (5, 24)}, {"w": (8, 24)}, lambda x, w: op.matmul(w, op.permute_dims(x)), "matmul"),
        ({"x": (5, 8)}, {}, op.nn.softmax, "softmax"),
        (IMAGE, {}, _mean_pool, "pooling"),
        (IMAGE, {}, lambda x: op.nn.max_pool2d(x, (2, 2), layout="NHWC"), "pooling"),
    ],
)
def test_operators_between_activations_get_a_kernel(
    inputs: Mapping[str, Shape], weights: Mapping[str, Shape], body: Body, kernel: str
) -> None:
    chosen, taken = choose_kernels(_module(inputs, weights, body), PROFILE)
    assert kernel in [var.name_hint for var in chosen.get_global_vars()]
    assert taken["main"] == tuple(Weight(name) for name in weights)  # as they are


@pytest.mark.parametrize(
    ("kernel", "groups", "kernels"),
    [
        ((3, 3, 8, 24), 1, ["convolution", "pack"]),
        ((1, 1, 4, 24), 2, ["convolution", "pack"]),
        ((3, 3, 1, 8), 8, ["depthwise"]),
        ((3, 17, 1, 8), 8, ["convolution", "pack"]),  # too wide to be written out
    ],
)
def test_convolution_by_a_kernel_that_changes_packs_it(
    kernel: Shape, groups: int, kernels: list[str]
) -> None:
    inputs = {"x": (1, 9, 19, 8), "w": kernel}
    module = _module(inputs, {}, lambda x, w: _conv(x, w, groups=groups))
    chosen, taken = choose_kernels(module, PROFILE)
    assert relax.analysis.check_well_formed(chosen)
    assert _kernels(chosen) == kernels
    assert taken["main"] == ()
    assert len(chosen["main"].params) == 2


@pytest.mark.parametrize(
    ("axes", "turned"), [((0, 2, 1), True), ((1, 2, 0), False), ((0, 1, 2), False)]
)
def test_only_the_matrices_of_a_factor_may_be_turned(axes: tuple[int, ...], turned: bool) -> None:
    def body(x: relax.Expr, y: relax.Expr) -> relax.Expr:
        return op.matmul(x, op.permute_dims(y, axes))

    module = _module({"x": (7, 7, 7), "y": (7, 7, 7)}, {}, body)
    chosen, _ = choose_kernels(module, PROFILE)
    assert f'"turned": [False, {turned}]' in chosen["matmul"].script()


def test_function_that_does_not_tell_its_weights_stays() -> None:
    module = _module({"x": (5, 8)}, {"w": (8, 24)}, op.matmul)
    plain = tvm.IRModule({"main": module["main"].without_attr("num_input")})
    chosen, taken = choose_kernels(plain, PROFILE)
    tvm.ir.assert_structural_equal(chosen, plain)
    assert taken == {}


def test_weight_that_others_read_is_kept_beside_the_packed_one() -> None:
    def body(x: Any, w: Any) -> Any:
        return op.add(op.matmul(x, w), op.sum(w, axis=0))

    chosen, taken = choose_kernels(_module({"x": (5, 8)}, {"w": (8, 24)}, body), PROFILE)
    assert relax.analysis.check_well_formed(chosen)
    kept, packed = taken["main"]
    assert kept == Weight("w")
    assert (packed.source, type(packed.packing)) == ("w", Panels)
    assert len(chosen["main"].params) == 3


def test_weight_used_twice_is_packed_once() -> None:
    def body(x: Any, y: Any, w: Any) -> Any:
        return op.add(op.matmul(x, w), op.matmul(y, w))

    inputs = {"x": (5, 8), "y": (5, 8)}
    chosen, taken = choose_kernels(_module(inputs, {"w": (8, 24)}, body), PROFILE)
    assert relax.analysis.check_well_formed(chosen)
    assert len(taken["main"]) == 1
    assert len(chosen["main"].params) == 3


def test_weight_packed_in_two_ways_is_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def packing(convolution: Convolution, _profile: object) -> Panels:
        return Panels(8 if convolution.rows == 5 else 24)

    def body(x: Any, y: Any, w: Any) -> Any:
        return op.add(op.matmul(x, w), op.matmul(y, w))

    monkeypatch.setattr(Convolution, "packing", packing)
    inputs = {"x": (5, 8), "y": (1, 8)}
    chosen, taken = choose_kernels(_module(inputs, {"w": (8, 24)}, body), PROFILE)
    assert [w.packing for w in taken["main"]] == [Panels(8), Panels(24)]
    names = [param.name for param in chosen["main"].params]
    assert len(set(names)) == 4


def test_weights_that_nothing_reads_are_not_taken() -> None:
    weights = {"unused": (3,), "w": (8, 24)}
    module = _module({"x": (5, 8)}, weights, lambda x, unused, w: op.matmul(x, w))
    chosen, taken = choose_kernels(module, PROFILE)
    assert [weight.source for weight in taken["main"]] == ["w"]
    assert len(chosen["main"].params) == 2


def test_inputs_stay_though_nothing_reads_them() -> None:
    inputs = {"unused": (3,), "x": (5, 8)}
    module = _module(inputs, {"w": (8, 24)}, lambda unused, x, w: op.matmul(x, w))
    chosen, _ = choose_kernels(module, PROFILE)
    assert [param.name for param in chosen["main"].params[:2]] == ["unused", "x"]


@pytest.mark.parametrize("fastest", [None, 2, 4])
def test_form_that_takes_the_least_time_is_chosen(
    fastest: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = 0.0 if fastest is None else 2.0
    monkeypatch.setattr(Convolution, "seconds", lambda _form, _profile: plain)
    monkeypatch.setattr(Winograd, "seconds", lambda form, _profile: 1.0 + (form.outputs != fastest))
    chosen, taken = choose_kernels(_module(IMAGE, {"w": (3, 3, 8, 24)}, _conv), PROFILE)
    assert _kernels(chosen) == ["convolution" if fastest is None else "winograd"]
    (weight,) = taken["main"]
    assert f"winograd{fastest}" in weight.name or fastest is None


@pytest.mark.parametrize("channels", [64, 128])
@pytest.mark.parametrize("profile", PROFILES)
def test_deep_3x3_convolution_takes_fewer_multiplications(profile: str, channels: int) -> None:
    inputs, weights = {"x": (1, 58, 58, channels)}, {"w": (3, 3, channels, channels)}
    chosen, _ = choose_kernels(_module(inputs, weights, _conv), PROFILES[profile])
    assert _kernels(chosen) == ["winograd"]


def test_first_convolution_of_a_network_stays_plain() -> None:
    inputs, weights = {"x": (1, 224, 224, 3)}, {"w": (3, 3, 3, 8)}
    chosen, _ = choose_kernels(_module(inputs, weights, _conv), PROFILE)
    assert _kernels(chosen) == ["convolution"]


def test_packed_weight_is_made_of_its_source() -> None:
    w = np.arange(24, dtype=np.float32).reshape(2, 12)
    packed = Weight("layer.w", Panels(8))
    assert packed.name == "layer.w.panels8"
    np.testing.assert_array_equal(packed.of({"layer.w": w}), Panels(8).apply(w))
    assert Weight("layer.w").name == "layer.w"
    assert Weight("layer.w").of({"layer.w": w}) is w


def test_plain_weights_are_the_parameters_after_the_inputs() -> None:
    module = relax_main(
        {"x": (1, 8)}, {"a": (8, 8), "b": (8,)}, lambda b, x, *_: [b.emit(op.nn.relu(x))]
    )
    assert plain_weights(module) == {"main": (Weight("a"), Weight("b"))}
