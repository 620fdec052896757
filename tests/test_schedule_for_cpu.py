"""Scheduled kernels against the same kernels as plain loop nests, all built in two libraries."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, s_tir, tirx
from tvm.script import tirx as T

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.lower_blocks import LowerBlocks
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.passes.schedule_for_cpu import ScheduleForCpu
from jointdnn_tvm.targets import TargetProfile, load_target

op = relax.op
Shapes = list[tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """One kernel, or a few that fuse: what it computes of arrays with these shapes."""

    name: str
    compute: Callable[..., Any]
    shapes: Shapes
    dtype: str = "float32"


def conv(image: tuple[int, ...], kernel: tuple[int, ...], then: str = "", **options: Any) -> Case:
    """An NHWC convolution, with its kernel as HWIO, and what is fused behind it."""

    def compute(x: Any, w: Any, *rest: Any) -> Any:
        y = op.nn.conv2d(x, w, data_layout="NHWC", kernel_layout="HWIO", **options)
        if "bias" in then:
            y = op.add(y, rest[0])
        if "residual" in then:
            y = op.add(y, op.multiply(y, y))
        return op.nn.relu(y) if "relu" in then else y

    shapes = [image, kernel, (1, 1, 1, kernel[3])] if "bias" in then else [image, kernel]
    extra = "_".join(f"{k}{v}" for k, v in options.items())
    return Case(f"conv_{_text(image)}_{_text(kernel)}_{extra}{then}", compute, shapes)


def unary(name: str, shape: tuple[int, ...], dtype: str = "float32", /, **options: Any) -> Case:
    """An operator of one argument, as `relax.op` or `relax.op.nn` has it."""
    function = functools.reduce(getattr, name.split("."), op)
    extra = "_".join(f"{k}{v}" for k, v in options.items())
    label = f"{name}_{_text(shape)}_{dtype}_{extra}"
    return Case(label, functools.partial(_call, function, options), [shape], dtype)


def matmul(a: tuple[int, ...], b: tuple[int, ...], then: str = "") -> Case:
    def compute(x: Any, w: Any) -> Any:
        y = op.matmul(x, w)
        return op.sigmoid(y) if then == "sigmoid" else y

    return Case(f"matmul_{_text(a)}_{_text(b)}_{then}", compute, [a, b])


def _call(function: Callable[..., Any], options: dict[str, Any], *xs: Any) -> Any:
    return function(*xs, **options)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _layer_norm(x: Any, w: Any) -> Any:
    centred = op.subtract(x, op.mean(x, axis=-1, keepdims=True))
    variance = op.mean(op.multiply(centred, centred), axis=-1, keepdims=True)
    return op.multiply(op.divide(centred, op.sqrt(op.add(variance, relax.const(1e-5)))), w)


def _joined(axis: int) -> Callable[..., Any]:
    return lambda *xs: op.concat(list(xs), axis)


CASES = [
    conv((1, 8, 8, 16), (1, 1, 16, 32)),
    conv((1, 14, 14, 24), (3, 3, 24, 16), "bias_relu", padding=1),
    conv((2, 7, 9, 5), (3, 3, 5, 7), "bias", padding=(1, 1)),  # odd and prime, batch 2
    conv((1, 13, 11, 3), (5, 3, 3, 13), strides=(2, 1), padding=(2, 1)),
    conv((1, 12, 12, 8), (3, 3, 4, 6), "relu", groups=2, padding=1),
    conv((1, 10, 10, 16), (3, 3, 1, 16), "bias_relu", groups=16, padding=1),  # depthwise
    conv((1, 9, 9, 6), (3, 3, 1, 12), groups=6, strides=2),  # depthwise, two kernels a channel
    conv((1, 15, 15, 4), (3, 3, 4, 8), dilation=2),
    conv((1, 6, 6, 8), (1, 1, 8, 1), "bias"),  # one channel out
    conv((1, 1, 1, 8), (1, 1, 8, 17)),  # one pixel
    conv((1, 3, 3, 64), (3, 3, 64, 10), "bias_relu"),  # a convolution that is a dense layer
    conv((1, 5, 5, 1), (3, 3, 1, 1)),
    conv((1, 8, 8, 8), (3, 3, 8, 8), "residual", padding=1),  # the result read twice
    matmul((1, 37), (37, 10), "sigmoid"),
    matmul((5, 16), (16, 24)),
    matmul((3, 4, 5, 6), (3, 4, 6, 7)),
    matmul((2, 9, 8), (8, 11), "sigmoid"),
    matmul((1, 1), (1, 1)),
    matmul((7,), (7, 3)),
    unary("nn.max_pool2d", (1, 9, 9, 6), pool_size=(3, 3), strides=(2, 2), layout="NHWC"),
    unary("nn.max_pool2d", (2, 7, 7, 5), pool_size=(2, 2), padding=(1, 1), layout="NHWC"),
    unary("nn.avg_pool2d", (1, 8, 8, 6), pool_size=(3, 3), padding=(1, 1), layout="NHWC"),
    unary("nn.avg_pool2d", (1, 8, 8, 6), pool_size=(2, 2), count_include_pad=True, layout="NHWC"),
    unary("nn.adaptive_avg_pool2d", (1, 7, 7, 20), output_size=(1, 1), layout="NHWC"),
    unary("nn.softmax", (3, 17), axis=-1),
    unary("nn.softmax", (2, 5, 7), axis=1),
    unary("nn.log_softmax", (4, 10), axis=-1),
    Case("layer_norm", _layer_norm, [(5, 24), (24,)]),
    Case("layer_norm_odd", _layer_norm, [(2, 3, 13), (13,)]),
    unary("sum", (4, 6, 10), axis=[0]),
    unary("sum", (4, 6, 10), axis=[1], keepdims=True),
    unary("mean", (4, 6, 10), axis=[2]),
    unary("max", (4, 6, 10), axis=[0, 2]),
    unary("min", (4, 6, 10), axis=None),
    unary("prod", (2, 3, 5), axis=[1]),
    unary("argmax", (4, 9), axis=1),
    unary("argmin", (4, 9), axis=0),
    unary("cumsum", (4, 9), axis=1),
    unary("sum", (3, 7), "int64", axis=[1]),
    Case("concat_channels", _joined(-1), [(1, 4, 4, 3), (1, 4, 4, 5), (1, 4, 4, 8)]),
    Case("concat_rows", _joined(0), [(2, 6), (1, 6)]),
    unary("permute_dims", (2, 3, 5, 7), axes=[0, 3, 1, 2]),
    unary("reshape", (4, 6, 5), shape=(8, 15)),
    unary("strided_slice", (5, 9), axes=[0, 1], begin=[1, 2], end=[5, 9], strides=[2, 3]),
    unary("nn.pad", (1, 5, 5, 3), pad_width=[0, 0, 1, 2, 2, 1, 0, 0]),
    unary("broadcast_to", (3, 1), shape=(4, 3, 5)),
    Case("gather", lambda x, i: op.take(x, op.astype(op.abs(i), "int32"), 0), [(9, 4), (3,)]),
    unary("image.resize2d", (1, 5, 7, 3), size=(11, 13), layout="NHWC", method="linear"),
    unary("image.resize2d", (1, 5, 7, 3), size=(10, 14), layout="NHWC", method="nearest_neighbor"),
    Case("integers", lambda x, y: op.add(op.multiply(x, y), x), [(3, 5), (3, 5)], "int32"),
    Case("comparison", lambda x, y: op.less(x, y), [(6, 5), (6, 5)]),
    Case("choice", lambda x, y: op.where(op.less(x, y), x, y), [(6, 5), (1, 5)]),
    Case("scalar", lambda x, y: op.add(x, y), [(), ()]),
    Case("bytes", lambda x, y: op.bitwise_xor(x, y), [(33,), (33,)], "uint8"),
    Case("halves", lambda x, y: op.add(op.multiply(x, y), x), [(3, 24), (24,)], "float16"),
    Case("doubles", op.matmul, [(5, 8), (8, 12)], "float64"),
    Case("half_matmul", op.matmul, [(5, 8), (8, 12)], "float16"),
    Case("int_matmul", op.matmul, [(5, 8), (8, 12)], "int32"),
    Case("empty", lambda x, y: op.add(x, y), [(0, 4), (0, 4)]),
    unary("nn.relu", (1, 1, 1, 1)),
    unary("exp", (3, 31)),
    unary("tril", (5, 7)),
    unary("sort", (4, 9), axis=1),
    unary("topk", (4, 9), k=3, axis=1, ret_type="values"),
]


def random_case(seed: int) -> Case:
    """A convolution, matrix product, pooling or reduction whose sizes nobody chose."""
    draw = np.random.default_rng(seed)

    def size(most: int) -> int:
        return int(draw.integers(1, most + 1))

    kind = draw.choice(["conv", "depthwise", "matmul", "pool", "reduce", "elementwise"])
    if kind == "matmul":
        batch = tuple(size(3) for _ in range(size(3) - 1))
        m, k, n = size(20), size(20), size(40)
        return matmul((*batch, m, k), (*batch, k, n), str(draw.choice(["", "sigmoid"])))
    if kind == "reduce":
        shape = tuple(size(9) for _ in range(size(4)))
        axes = [a for a in range(len(shape)) if draw.random() < 0.5] or [0]
        name = str(draw.choice(["sum", "max", "mean"]))
        return unary(name, shape, axis=axes, keepdims=bool(draw.random() < 0.5))
    if kind == "elementwise":
        shape = tuple(size(9) for _ in range(size(4)))
        return Case(f"chain_{_text(shape)}", lambda x: op.exp(op.negative(op.abs(x))), [shape])
    kh, kw, pad = size(4), size(4), int(draw.integers(0, 3))
    image = (size(2), kh + size(12), kw + size(12))
    strides = (size(3), size(3))
    if kind == "pool":
        name = str(draw.choice(["nn.max_pool2d", "nn.avg_pool2d"]))
        options = {"pool_size": (kh, kw), "strides": strides, "layout": "NHWC"}
        return unary(name, (*image, size(20)), **options)
    then = str(draw.choice(["", "bias", "bias_relu", "residual"]))
    if kind == "depthwise":
        c = size(20)
        kernel = (kh, kw, 1, c)
        return conv((*image, c), kernel, then, groups=c, strides=strides, padding=pad)
    groups = size(3)
    c, k = size(12) * groups, size(24) * groups
    return conv(
        (*image, c), (kh, kw, c // groups, k), then, groups=groups, strides=strides, padding=pad
    )


RANDOM = [random_case(seed) for seed in range(48)]


def _module(cases: list[Case]) -> tvm.IRModule:
    """One public function a case."""
    builder = relax.BlockBuilder()
    for index, case in enumerate(cases):
        params = [
            relax.Var(f"p{i}", relax.TensorType(s, case.dtype)) for i, s in enumerate(case.shapes)
        ]
        with builder.function(f"case_{index}", params):
            with builder.dataflow():
                result = builder.emit_output(builder.emit(case.compute(*params)))
            builder.emit_func_output(result)
    return builder.get()


def _machine(executable: Any, library: Path) -> relax.VirtualMachine:
    """Linked, not compiled in memory: with this many kernels that takes far longer."""
    executable.export_library(str(library))
    return relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())


def _scheduled(cases: list[Case], profile: TargetProfile, folder: Path) -> Any:
    target = tvm_target(load_target("host"))
    with target, tvm.transform.PassContext(opt_level=3):
        lowered, _ = lower(_module(cases), target, profile)
        executable = tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE)
    return _machine(executable, folder / "scheduled.so")


def _plain(cases: list[Case], folder: Path) -> relax.VirtualMachine:
    """TVM's own pipeline for a CPU, which schedules nothing."""
    target = tvm.target.Target({"kind": "llvm", "opt-level": 0})
    return _machine(tvm.compile(_module(cases), target), folder / "plain.so")


Machines = tuple[relax.VirtualMachine, relax.VirtualMachine]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    """`CASES` for this machine's vectors."""
    folder, profile = tmp_path_factory.mktemp("chosen"), load_target("host")
    scheduled = _scheduled(CASES, profile, folder)
    return scheduled, _plain(CASES, folder)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    """`RANDOM` for the vectors of an ARM core."""
    folder, profile = tmp_path_factory.mktemp("drawn"), load_target("raspberry-pi-4")
    scheduled = _scheduled(RANDOM, profile, folder)
    return scheduled, _plain(RANDOM, folder)


def _check(case: Case, function: str, machines: Machines) -> None:
    rng = np.random.default_rng(len(case.name))
    is_float = case.dtype.startswith("float")
    arrays = [
        (rng.standard_normal(s) if is_float else rng.integers(0, 99, s)).astype(case.dtype)
        for s in case.shapes
    ]
    arguments = [tvm.runtime.tensor(a) for a in arrays]
    found, expected = (m[function](*arguments).numpy() for m in machines)
    assert found.dtype == expected.dtype
    if is_float:
        tolerance = 2e-3 if case.dtype == "float16" else 1e-6
        scale = float(np.abs(expected).max(initial=0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[c.name for c in CASES])
def test_scheduled_equals_unscheduled(index: int, chosen: Machines) -> None:
    _check(CASES[index], f"case_{index}", chosen)


@pytest.mark.parametrize("index", range(len(RANDOM)))
def test_random_shapes_scheduled_equal_unscheduled(index: int, drawn: Machines) -> None:
    _check(RANDOM[index], f"case_{index}", drawn)


def _kernel(case: Case) -> tirx.PrimFunc:
    """The one kernel of a case, not scheduled yet."""
    legal = tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )(_module([case]))
    (kernel,) = (f for f in legal.functions.values() if isinstance(f, tirx.PrimFunc))
    return kernel


def _schedule(kernel: tirx.PrimFunc, pass_: ScheduleForCpu | None = None) -> tirx.PrimFunc:
    module = tvm.IRModule({"kernel": kernel})
    sequential = tvm.transform.Sequential([pass_ or ScheduleForCpu(load_target("host"))])
    return sequential(module)["kernel"]


def _count(kernel: tirx.PrimFunc, kind: str) -> int:
    return str(kernel.script()).count(f"T.{kind}(")


def test_convolution_accumulates_in_vector_registers() -> None:
    kernel = _schedule(_kernel(conv((1, 14, 14, 24), (3, 3, 24, 32), "bias_relu", padding=1)))
    assert _count(kernel, "parallel") == 2  # padding, then the convolution with all behind it
    assert _count(kernel, "vectorized") == 4  # padding, zero, multiply-add, bias and relu
    assert _count(kernel, "unroll") > 0


def test_sums_of_a_tile_are_taken_from_the_stack() -> None:
    kernel = _schedule(_kernel(matmul((5, 16), (16, 24))))
    module = tvm.IRModule({"kernel": kernel.with_attr("global_symbol", "kernel")})
    lowered = tvm.transform.Sequential([LowerBlocks()])(module)
    built = tvm.compile(lowered, tvm_target(load_target("host")), tir_pipeline=LOOPS_TO_CODE)
    assert "TVMBackendAllocWorkspace" not in built.mod.inspect_source("ll")


def test_elementwise_kernel_is_one_parallel_and_one_vector_loop() -> None:
    kernel = _schedule(_kernel(unary("exp", (3, 32))))
    assert (_count(kernel, "parallel"), _count(kernel, "vectorized")) == (1, 1)


def test_scheduled_kernel_is_left_alone() -> None:
    kernel = _kernel(unary("exp", (3, 32))).with_attr("tirx.is_scheduled", True)
    tvm.ir.assert_structural_equal(_schedule(kernel), kernel)


@T.prim_func(s_tir=True)
def _bare_loops(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")) -> None:
    for i in range(8):
        y[i] = x[i] + T.float32(1)


def test_kernel_that_no_rule_fits_stays_as_it_is() -> None:
    tvm.ir.assert_structural_equal(_schedule(_bare_loops), _bare_loops)


@pytest.mark.parametrize(
    "error", [s_tir.ScheduleError("no"), IndexError("no"), tvm.error.InternalError("no")]
)
def test_rule_that_fails_is_passed_over(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sch: object) -> None:
        raise error

    monkeypatch.setattr("jointdnn_tvm.passes.schedule_for_cpu.inline", fail)
    kernel = _kernel(unary("exp", (3, 32)))
    tvm.ir.assert_structural_equal(_schedule(kernel), kernel)
