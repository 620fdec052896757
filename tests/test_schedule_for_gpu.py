"""Kernels scheduled for GPUs: what their threads compute, judged by NumPy; no GPU is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from tests.gpu_on_cpu import GPUS, kernels, lower_for, module_of, run_on_cpu
from tests.kernel_cases import Array, Case, Draw, convolution, dense
from tests.test_schedule_for_cpu_on_profiles import pool_case, product_case

op = relax.op


def convolution_case(seed: int) -> Case:
    draw = Draw(seed)
    groups = draw.size(3) if draw.chance(0.3) else 1
    image = (draw.size(2), 7 + draw.size(9), 7 + draw.size(9), groups * draw.size(20))
    kernel = (*draw.pair(4), image[3] // groups, groups * draw.size(40))
    return convolution(
        image,
        kernel,
        draw.epilogue(),
        strides=draw.pair(2),
        padding=draw.padding(2),
        dilation=draw.pair(2),
        groups=groups,
    )


def dense_case(seed: int) -> Case:
    draw = Draw(seed)
    shape = (*(draw.size(3) for _ in range(draw.size(2))), draw.size(90))
    return dense(shape, draw.size(90), draw.epilogue())


def row_case(seed: int) -> Case:
    """Sums in a row over the same numbers, and one sum with few results."""
    draw = Draw(seed)
    shape = (draw.size(3), draw.size(5), draw.size(70))
    kind = ("softmax", "norm", "mean", "most")[seed % 4]

    def softmax(x: Array) -> Array:
        exponents = np.exp(x - x.max(-1, keepdims=True))
        return np.asarray(exponents / exponents.sum(-1, keepdims=True))

    def norm(x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5))

    def scaled(x: Any) -> Any:
        one, none = (relax.const(np.full(shape[-1:], v, "float32")) for v in (1, 0))
        return op.nn.layer_norm(x, one, none, axes=[-1])

    compute: dict[str, Any] = {
        "softmax": op.nn.softmax,
        "norm": scaled,
        "mean": lambda x: op.mean(x, axis=[1], keepdims=False),
        "most": lambda x: op.max(x, axis=[0, 2]),
    }
    expect: dict[str, Any] = {
        "softmax": softmax,
        "norm": norm,
        "mean": lambda x: x.mean(1),
        "most": lambda x: x.max((0, 2)),
    }
    return Case(f"{kind}_{shape}", (shape,), (), compute[kind], expect[kind])


def bound(kernel: Any) -> bool:
    return "thread_binding" in kernel.script() or "launch_thread" in kernel.script()


FIXED = [
    convolution((1, 14, 14, 64), (3, 3, 64, 64), "bias_relu", padding=(1, 1, 1, 1)),
    convolution((1, 9, 9, 256), (1, 1, 256, 68), "bias"),
    convolution((2, 8, 8, 24), (3, 3, 1, 24), "bias_relu", padding=(1, 1, 1, 1), groups=24),
    convolution((1, 1, 1, 40), (1, 1, 40, 128), "bias"),
    dense((1, 515), 100, "bias"),
    dense((3, 40, 64), 33, "bias"),
    dense((0, 8), 24, "bias"),
]
RANDOM = {
    "convolution": [convolution_case(seed) for seed in range(16)],
    "dense": [dense_case(seed) for seed in range(8)],
    "product": [product_case(seed) for seed in range(8)],
    "pool": [pool_case(seed) for seed in range(8)],
    "rows": [row_case(seed) for seed in range(12)],
}
CASES = [*FIXED, *(case for cases in RANDOM.values() for case in cases)]


@pytest.mark.parametrize(("index", "name"), [(i, GPUS[i % len(GPUS)]) for i in range(len(CASES))])
def test_case_equals_numpy(index: int, name: str) -> None:
    case = CASES[index]
    rng = np.random.default_rng(index)
    arrays = [rng.standard_normal(s).astype("float32") for s in (*case.inputs, *case.weights)]
    (found,) = run_on_cpu(name, module_of(case), arrays)
    expected = case.expect(*(array.astype("float64") for array in arrays))
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale, err_msg=case.name)


@pytest.mark.parametrize("name", GPUS)
def test_every_kernel_runs_in_threads(name: str) -> None:
    for case in CASES:
        for kernel in kernels(lower_for(name, module_of(case))).values():
            assert bound(kernel), case.name


def test_rule_that_fails_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr("jointdnn_tvm.passes.schedule_for_gpu.schedule_product", fail)
    (kernel,) = kernels(lower_for("cuda-sm90", module_of(FIXED[0]))).values()
    assert "shared" not in kernel.script()
    assert bound(kernel)
