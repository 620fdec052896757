"""Storage as the virtual machine takes it from its pool, and what kernels work in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script import relax as R

from jointdnn_tvm.training.stage_storage import StoragePool, run_in_pool, workspace_bytes

PAGE = 4096


@R.function(private=True)
def two_results(x: R.Tensor((2048,), "float32")) -> R.Tuple(
    R.Tensor((2048,), "float32"), R.Tensor((1024,), "float32")
):
    R.func_attr({"relax.force_pure": True})
    storage = R.vm.alloc_storage(R.shape([8192]), 0, R.dtype("uint8"), R.str("global"))
    first = R.vm.alloc_tensor(storage, 0, R.shape([2048]), R.dtype("float32"), 0)
    R.vm.kill_object(storage)
    R.vm.kill_object(first)
    again = R.vm.alloc_storage(R.shape([8000]), 0, R.dtype("uint8"), R.str("global"))
    second = R.vm.alloc_tensor(again, 0, R.shape([2048]), R.dtype("float32"), 0)
    R.vm.kill_object(again)
    smaller = R.vm.alloc_storage(R.shape([4096]), 0, R.dtype("uint8"), R.str("global"))
    third = R.vm.alloc_tensor(smaller, 0, R.shape([1024]), R.dtype("float32"), 0)
    R.vm.kill_object(smaller)
    both = second, third
    R.vm.kill_object(second)
    R.vm.kill_object(third)
    return both


def test_storage_is_used_again_by_what_has_as_many_pages() -> None:
    pool = StoragePool()
    first, second = run_in_pool(two_results, pool)
    assert [len(first), len(second)] == [1, 1]
    assert pool.size_bytes == 3 * PAGE  # the two pages of `first` are those of `second`
    results = run_in_pool(two_results, pool)
    assert pool.size_bytes == 6 * PAGE  # the results of the first run are held
    for storages in (first, second, *results):
        pool.release(storages)
    run_in_pool(two_results, pool)
    assert pool.size_bytes == 6 * PAGE


def _kernel(sizes: Sequence[int]) -> Any:
    body: Any = tirx.Evaluate(0)
    for size in sizes:
        body = tirx.SeqStmt([tirx.AllocBuffer(tirx.decl_buffer((size,), "float32")), body])
    return tirx.PrimFunc([], body)


def test_kernels_work_in_the_same_memory() -> None:
    kernels = [_kernel([1000, 10]), _kernel([20, 500]), _kernel([])]
    assert workspace_bytes(kernels) == 4 * (1000 + 20)
