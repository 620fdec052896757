"""The pipeline to CUDA source: TVM's own, but for copies that nobody waits for."""

from __future__ import annotations

import pytest
import tvm
from tvm import tirx

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.blocks_to_gpu_code import BLOCKS_TO_GPU_CODE
from jointdnn_tvm.passes.gpu_tile import Tile
from jointdnn_tvm.targets import load_target
from tests.cuda_emulator import cuda_source
from tests.gpu_on_cpu import kernels, lower_for, module_of
from tests.kernel_cases import Case, convolution, dense
from tests.test_schedule_for_gpu import row_case

TILES = "jointdnn_tvm.passes.schedule_for_gpu_products.choose_tile"


def source(case: Case, pipeline: str) -> str:
    found: dict[str, tirx.PrimFunc] = kernels(lower_for("cuda-sm80", module_of(case)))
    target = tvm_target(load_target("cuda-sm80"))
    return cuda_source(tvm.tirx.build(tvm.IRModule(found), target, pipeline=pipeline))


@pytest.mark.parametrize(
    "case",
    [
        dense((64, 64), 64, "bias_relu"),
        convolution((1, 8, 8, 8), (3, 3, 1, 8), padding=(1, 1, 1, 1), groups=8),
        dense((1, 300), 40),
        *(row_case(seed) for seed in range(4)),
    ],
    ids=lambda case: case.name,
)
def test_same_code_as_by_tvms_pipeline(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TILES, lambda *_: Tile(32, 32, 16, 4, 4))
    assert source(case, BLOCKS_TO_GPU_CODE) == source(case, "s_tir")


def test_tensor_cores_have_the_next_slices_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TILES, lambda *_: Tile(32, 64, 16, 2, 4, tensor_cores=True))
    text = source(dense((64, 64), 64, "bias_relu"), BLOCKS_TO_GPU_CODE)
    assert "cp.async.cg.shared.global" in text
    assert "cp.async.wait_group 1;" in text
    assert "cp.async.cg" not in source(dense((64, 64), 64, "bias_relu"), "s_tir")
