"""Sums over windows on a GPU: which they are, how threads divide them, and what comes out."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax, s_tir

from jointdnn_tvm.passes.schedule_blocks import blocks, is_reduction
from jointdnn_tvm.passes.schedule_for_gpu_windows import _Windows, schedule_windows
from jointdnn_tvm.targets import load_target
from tests.cubin import kernels_in
from tests.cuda_machine import ARCHITECTURES, needs_cuda_compiler
from tests.gpu_on_cpu import fused_kernel, machine_code, module_of, run_on_cpu
from tests.kernel_cases import Case, convolution, dense
from tests.test_schedule_for_cpu_on_profiles import pool_case

op = relax.op
SM80 = load_target("cuda-sm80")
SAME = (1, 1, 1, 1)
CASES = [
    convolution((1, 9, 8, 8), (3, 3, 1, 8), "bias_relu", padding=SAME, groups=8),
    convolution((2, 11, 14, 20), (5, 3, 1, 20), "swish", strides=(2, 2), groups=20),
    convolution((1, 9, 7, 6), (3, 3, 1, 6), "bias", padding=SAME, groups=6, dilation=(2, 2)),
    convolution((1, 13, 13, 5), (3, 3, 1, 5), "gate", padding=(0, 1, 1, 0), groups=5),
    convolution((1, 8, 8, 6), (3, 3, 1, 24), "bias", padding=SAME, groups=6),
    convolution((1, 8, 8, 24), (1, 1, 6, 16), "bias_residual", groups=4),
    convolution((1, 10, 6, 12), (3, 3, 4, 9), "hard_swish", padding=SAME, groups=3),
    convolution((1, 12, 12, 3), (3, 3, 3, 12), "bias_relu", padding=SAME, strides=(2, 2)),
    *(pool_case(seed) for seed in (1, 2, 3, 4, 6, 7)),
]


def few_threads_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small cases have as many neighbours a thread as large ones."""
    monkeypatch.setattr("jointdnn_tvm.passes.schedule_for_gpu_windows._BUSY", 0)
    monkeypatch.setattr("jointdnn_tvm.passes.schedule_for_gpu_windows._FEW", 0)


def windows_of(case: Case) -> _Windows | None:
    sch = s_tir.Schedule(fused_kernel(case))
    (total,) = (block for block in blocks(sch) if is_reduction(sch, block))
    return _Windows.of(sch.get(total))


@pytest.mark.parametrize("index", range(len(CASES)))
def test_windows_equal_numpy(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few_threads_are_enough(monkeypatch)
    case = CASES[index]
    assert schedule_windows(fused_kernel(case), SM80) is not None
    rng = np.random.default_rng(index)
    arrays = [rng.standard_normal(s).astype("float32") for s in (*case.inputs, *case.weights)]
    (found,) = run_on_cpu("cuda-sm80", module_of(case), arrays)
    expected = case.expect(*(array.astype("float64") for array in arrays))
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale, err_msg=case.name)


@pytest.mark.parametrize(
    ("case", "lanes", "neighbours"),
    [
        (convolution((1, 8, 56, 8), (3, 3, 1, 8), padding=SAME, groups=8), 4, 8),
        (convolution((1, 8, 14, 8), (3, 3, 1, 8), padding=SAME, groups=8), 4, 7),
        (convolution((1, 8, 13, 6), (3, 3, 1, 6), padding=SAME, groups=6), 2, 1),
        (convolution((1, 8, 56, 8), (7, 7, 1, 8), padding=(3, 3, 3, 3), groups=8), 4, 8),
        (convolution((1, 8, 56, 8), (3, 3, 4, 8), padding=SAME, groups=2), 4, 8),
        (convolution((1, 8, 56, 8), (3, 3, 4, 6), padding=SAME, groups=2), 1, 8),
        (convolution((1, 8, 56, 2), (3, 3, 1, 8), padding=SAME, groups=2), 4, 8),
    ],
)
def test_what_a_thread_makes(case: Case, lanes: int, neighbours: int) -> None:
    windows = windows_of(case)
    assert windows is not None
    assert (windows.lanes(), windows.neighbours(0)) == (lanes, neighbours)


def test_few_results_have_a_thread_each() -> None:
    windows = windows_of(convolution((1, 56, 56, 32), (3, 3, 1, 32), padding=SAME, groups=32))
    assert windows is not None
    counts = [windows.neighbours(multiprocessors) for multiprocessors in (8, 20, 60, 150)]
    assert counts == [8, 8, 2, 1]


@pytest.mark.parametrize(
    "case",
    [
        dense((3, 40), 8),
        Case("global", ((1, 7, 7, 64),), (), lambda x: op.mean(x, [1, 2]), lambda x: x),
        convolution((1, 7, 7, 64), (7, 7, 1, 64), groups=64),  # long sums, few of them
    ],
)
def test_others_are_left_to_other_rules(case: Case) -> None:
    assert schedule_windows(fused_kernel(case), SM80) is None


@needs_cuda_compiler
@pytest.mark.parametrize(
    ("index", "arch"),
    [*((0, arch) for arch in ARCHITECTURES), *((index, "sm_80") for index in (1, 6, 8))],
)
def test_machine_code(index: int, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel, padding and what is fused included, and nothing of it in local memory."""
    few_threads_are_enough(monkeypatch)
    (kernel,) = kernels_in(machine_code(CASES[index], arch)).values()
    assert kernel.stack_bytes == 0
    assert kernel.registers <= 160
