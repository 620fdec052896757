"""Products on tensor cores: every lane's part, how exact they are, and the machine code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.passes.gpu_tile import Limits, Tile, _fits, _tiles
from jointdnn_tvm.passes.schedule_for_gpu_products import schedule_product
from jointdnn_tvm.targets import load_target
from tests.cubin import HMMA, LDGSTS, Kernel, kernels_in
from tests.cuda_machine import ARCHITECTURES, needs_cuda_compiler
from tests.gpu_on_cpu import (
    Array,
    fused_kernel,
    kernels,
    lower_for,
    machine_code,
    module_of,
    run_on_cpu,
)
from tests.kernel_cases import Case, convolution, dense

SM80 = Limits.of(load_target("cuda-sm80"))
TILES = [tile for tile in _tiles() if tile.tensor_cores and _fits(tile, SM80)]
SMALL, WIDE, TALL, LARGE = (
    Tile(16, 16, 16, 2, 4, True),
    Tile(32, 128, 32, 2, 16, True),
    Tile(128, 32, 16, 8, 4, True),
    Tile(64, 64, 32, 8, 8, True),
)


def batched(left: tuple[int, ...], right: tuple[int, ...]) -> Case:
    """Products of two activations."""
    return Case(f"matmul_{left}_{right}", (left, right), (), relax.op.matmul, np.matmul)


PRODUCTS = [
    (convolution((1, 14, 14, 64), (3, 3, 64, 64), "bias_relu", padding=(1, 1, 1, 1)), LARGE),
    (convolution((2, 9, 7, 13), (3, 2, 13, 37), "bias_residual", strides=(2, 1)), SMALL),
    (convolution((1, 11, 8, 20), (1, 1, 20, 133), "swish"), WIDE),
    (convolution((1, 12, 12, 8), (3, 3, 8, 18), "gate", dilation=(2, 2)), TALL),
    (dense((3, 50, 65), 40, "bias"), SMALL),
    (dense((100, 130), 300, "gelu"), WIDE),
    (dense((37, 16), 17), LARGE),
    (batched((3, 20, 33), (3, 33, 40)), SMALL),
    (batched((2, 3, 50, 16), (2, 3, 16, 24)), TALL),
]


def run_with(
    tile: Tile, case: Case, monkeypatch: pytest.MonkeyPatch, arrays: Sequence[Array]
) -> Array:
    monkeypatch.setattr(
        "jointdnn_tvm.passes.schedule_for_gpu_products.choose_tile", lambda *_: tile
    )
    module = module_of(case)
    assert "jointdnn_multiply" in script_of(module)
    (found,) = run_on_cpu("cuda-sm80", module, arrays)
    return found


def script_of(module: tvm.IRModule) -> str:
    return "".join(kernel.script() for kernel in kernels(lower_for("cuda-sm80", module)).values())


def drawn(case: Case, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype("float32") for shape in (*case.inputs, *case.weights)]


@pytest.mark.parametrize("index", range(len(PRODUCTS)))
def test_product_equals_numpy(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case, tile = PRODUCTS[index]
    arrays = drawn(case, index)
    found = run_with(tile, case, monkeypatch, arrays)
    expected = case.expect(*(array.astype("float64") for array in arrays))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max(), case.name


@pytest.mark.parametrize("tile", TILES[::17], ids=str)
def test_every_shape_of_tile(tile: Tile, monkeypatch: pytest.MonkeyPatch) -> None:
    case = dense((tile.rows + 5, 2 * tile.depth - 3), tile.columns + 7, "bias")
    arrays = drawn(case, 0)
    found = run_with(tile, case, monkeypatch, arrays)
    expected = case.expect(*(array.astype("float64") for array in arrays))
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def test_long_sums_of_numbers_of_one_sign_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sums within tensor cores, rounded toward zero, would add up to some 5e-5."""
    case = dense((16, 4608), 16)
    rng = np.random.default_rng(0)
    arrays = [rng.random(shape).astype("float32") + 0.5 for shape in ((16, 4608), (4608, 16))]
    found = run_with(SMALL, case, monkeypatch, arrays)
    expected = arrays[0].astype("float64") @ arrays[1].astype("float64")
    plain = np.zeros((16, 16), "float32")
    for k in range(4608):
        plain += np.outer(arrays[0][:, k], arrays[1][k])
    error, plain_error = (np.abs(y / expected - 1).max() for y in (found, plain))
    assert error < 3e-6
    assert error < 2 * plain_error  # of 32-bit sums, one term after the other


def test_numbers_of_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    case = dense((16, 16), 16)
    rng = np.random.default_rng(1)
    arrays = [
        (rng.standard_normal((16, 16)) * 10.0 ** rng.integers(-15, 15, (16, 16))).astype("float32")
        for _ in range(2)
    ]
    found = run_with(SMALL, case, monkeypatch, arrays)
    left, right = (array.astype("float64") for array in arrays)
    assert (np.abs(found - left @ right) <= 2e-6 * (np.abs(left) @ np.abs(right))).all()


def test_what_is_no_number_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = np.ones((16, 16), "float32"), np.ones((16, 16), "float32")
    left[3, 5], left[7, 2] = np.nan, np.inf
    found = run_with(SMALL, dense((16, 16), 16), monkeypatch, [left, right])
    assert not np.isfinite(found[[3, 7]]).any()
    assert np.isfinite(np.delete(found, [3, 7], axis=0)).all()


def code_of(case: Case, arch: str) -> Kernel:
    (kernel,) = kernels_in(machine_code(case, arch)).values()
    return kernel


@needs_cuda_compiler
@pytest.mark.parametrize(
    ("tile", "arch"),
    [
        *((tile, "sm_80") for tile in (SMALL, WIDE, TALL)),
        *((LARGE, arch) for arch in ARCHITECTURES),
    ],
    ids=str,
)
def test_machine_code(tile: Tile, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "jointdnn_tvm.passes.schedule_for_gpu_products.choose_tile", lambda *_: tile
    )
    kernel = code_of(PRODUCTS[0][0], arch)
    tiles = tile.thread_rows // 2 * (tile.thread_columns // 2) * (tile.depth // 8)
    assert kernel.instructions[HMMA] >= 2 * 3 * tiles  # in a loop, and in the last step
    assert kernel.instructions[HMMA] % (3 * tiles) == 0
    assert kernel.instructions[LDGSTS] > 0
    assert kernel.stack_bytes <= 32  # some releases of the compiler keep a few numbers there
    assert kernel.registers <= 255
    assert kernel.registers * tile.threads <= 65536
    assert tile.shared_bytes <= kernel.shared_bytes <= tile.shared_bytes + 1024 <= 48 * 1024


@needs_cuda_compiler
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_large_products_use_tensor_cores_by_themselves(arch: str) -> None:
    case = convolution((1, 56, 56, 128), (3, 3, 128, 128), "bias_relu", padding=(1, 1, 1, 1))
    assert code_of(case, arch).instructions[HMMA] > 0


def test_gpus_without_tensor_cores_do_without() -> None:
    case = PRODUCTS[0][0]
    function = schedule_product(fused_kernel(case), replace(SM80, tensor_lanes=0.0))
    assert function is not None
    assert "jointdnn_multiply" not in function.script()
