"""Gradients as the real pipeline compiles them, among NaNs, against those in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target
from tests.gradient_checks import gradient_module, gradients_of
from tests.kernel_library import PROFILES, in_nans

op = relax.op
Shape = tuple[int, ...]


def _conv(**options: Any) -> Callable[..., Any]:
    return lambda _, x, w: op.nn.conv2d(x, w, data_layout="NHWC", kernel_layout="HWIO", **options)


def _pool(name: str, **options: Any) -> Callable[..., Any]:
    return lambda _, x: getattr(op.nn, name)(x, layout="NHWC", **options)


CASES: dict[str, tuple[Callable[..., Any], list[Shape]]] = {
    "conv": (_conv(padding=(1, 1, 1, 1)), [(2, 9, 8, 5), (3, 3, 5, 19)]),
    "conv strides": (_conv(strides=(2, 2), padding=(1, 1, 0, 0)), [(1, 9, 8, 5), (3, 3, 5, 8)]),
    "conv dilation": (_conv(dilation=(2, 1), strides=(1, 2)), [(1, 9, 8, 4), (3, 2, 4, 8)]),
    "conv groups": (_conv(groups=2, padding=(1, 0, 1, 0)), [(2, 7, 8, 6), (3, 3, 3, 34)]),
    "pointwise": (_conv(), [(2, 7, 8, 6), (1, 1, 6, 17)]),
    "pointwise strides": (_conv(strides=(2, 2)), [(2, 8, 7, 6), (1, 1, 6, 17)]),
    "depthwise": (_conv(groups=9, padding=(1, 1, 1, 1)), [(2, 7, 8, 9), (3, 3, 1, 9)]),
    "depthwise strides": (_conv(groups=9, strides=(2, 2)), [(2, 8, 7, 9), (3, 3, 1, 9)]),
    "dense": (lambda _, x, w: op.matmul(x, w), [(5, 13), (13, 18)]),
    "one row": (lambda _, x, w: op.matmul(x, w), [(1, 13), (13, 18)]),
    "one long row": (lambda _, x, w: op.matmul(x, w), [(1, 13), (13, 100)]),
    # The last windows end before the image does.
    "max_pool2d": (_pool("max_pool2d", pool_size=(3, 3), strides=(2, 2)), [(2, 9, 9, 17)]),
    "max_pool2d apart": (_pool("max_pool2d", pool_size=(2, 2), strides=(4, 4)), [(1, 9, 9, 17)]),
    "avg_pool2d": (
        _pool("avg_pool2d", pool_size=(3, 2), strides=(2, 2), padding=(1, 0, 1, 1)),
        [(2, 8, 9, 17)],
    ),
    "softmax": (lambda _, x: op.nn.softmax(x, -1), [(3, 4, 21)]),
}


@pytest.mark.parametrize("profile", ["host", pytest.param("avx2", marks=pytest.mark.slow)])
def test_gradients(profile: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    functions, drawn = {}, {}
    for index, (name, (compute, shapes)) in enumerate(CASES.items()):
        drawn[name] = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        module = gradient_module(compute, drawn[name], range(len(shapes)))
        functions[f"case_{index}"] = module["main"].with_attr("global_symbol", f"case_{index}")
    machine = _compiled(tvm.IRModule(functions), profile, tmp_path)
    for index, (name, (compute, shapes)) in enumerate(CASES.items()):
        call = machine[f"case_{index}"]
        first, again = (_numbers(call(*map(in_nans, drawn[name]))) for _ in range(2))
        exact = [array.astype(np.float64) for array in drawn[name]]
        expected = gradients_of(compute, exact, range(len(shapes)))(*exact)
        for found, same, right in zip(first, again, expected, strict=True):
            np.testing.assert_array_equal(found, same, err_msg=name)
            scale = max(1.0, float(np.abs(right).max()))
            np.testing.assert_allclose(found, right, rtol=0, atol=1e-5 * scale, err_msg=name)


def _numbers(results: Any) -> list[np.ndarray]:
    return [np.asarray(results[i].numpy()) for i in range(len(results))]


def _compiled(module: tvm.IRModule, profile: str, folder: Path) -> relax.VirtualMachine:
    host = tvm_target(load_target("host"))
    with host, tvm.transform.PassContext(opt_level=3):
        lowered, _ = lower(module, host, PROFILES[profile])
        built = tvm.compile(lowered, host, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE)
    path = folder / "gradients.so"
    built.export_library(str(path))
    return relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
