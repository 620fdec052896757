"""What lowered functions allocate, told by their code: TVM's pool, and what kernels work in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

import tvm_ffi
from tvm import relax, tirx

from jointdnn_tvm.graph import size_bytes

_PAGE_BYTES = 4096


class Storage:
    """A piece of the pool, which has it again once nobody holds it."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.holders = 0


class StoragePool:
    """The pool of TVM's virtual machine: it keeps what is freed, for what has as many pages."""

    def __init__(self) -> None:
        self._free: Counter[int] = Counter()
        self._pages = 0

    @property
    def size_bytes(self) -> int:
        """All that it ever took."""
        return self._pages * _PAGE_BYTES

    def allocate(self, count_bytes: int) -> Storage:
        """A piece of so many bytes, which nobody holds yet."""
        storage = Storage(-(-count_bytes // _PAGE_BYTES))
        if self._free[storage.pages]:
            self._free[storage.pages] -= 1
        else:
            self._pages += storage.pages
        return storage

    def hold(self, storages: Iterable[Storage]) -> None:
        """One more holds each of them."""
        for storage in storages:
            storage.holders += 1

    def release(self, storages: Iterable[Storage]) -> None:
        """One less does."""
        for storage in storages:
            storage.holders -= 1
            if not storage.holders:
                self._free[storage.pages] += 1


def run_in_pool(function: relax.Function, pool: StoragePool) -> list[tuple[Storage, ...]]:
    """What lies behind each result of a lowered function that ran; the caller holds that now.

    Results that are parameters lie in no storage of the pool.
    """
    behind: dict[relax.Var, tuple[Storage, ...]] = {}
    fields: dict[relax.Var, list[Any]] = {}
    for block in function.body.blocks:
        for binding in block.bindings:
            var, value = binding.var, binding.value
            name = getattr(getattr(value, "op", None), "name", "")
            if name == "relax.vm.kill_object":
                pool.release(behind.pop(value.args[0], ()))
                continue
            if name == "relax.vm.alloc_storage":
                behind[var] = (pool.allocate(int(value.args[0].values[0])),)
            elif isinstance(value, relax.Tuple):
                fields[var] = [behind.get(field, ()) for field in value.fields]
                behind[var] = tuple(storage for field in fields[var] for storage in field)
            elif isinstance(var.ty, relax.TensorType):
                behind[var] = _read(value, behind)
            pool.hold(behind.get(var, ()))
    result = function.body.body
    results = fields.get(result, [behind.get(result, ())])
    for storages in results:
        pool.hold(storages)
    for storages in behind.values():
        pool.release(storages)
    return results


def _read(value: Any, behind: Mapping[relax.Var, tuple[Storage, ...]]) -> tuple[Storage, ...]:
    """The storage of a tensor: of what it is made in, or is another view of."""
    read = value.args if isinstance(value, relax.Call) else [value]
    return tuple(s for arg in read if isinstance(arg, relax.Var) for s in behind.get(arg, ()))


def workspace_bytes(kernels: Iterable[tirx.PrimFunc]) -> int:
    """What kernels, one after the other, work in: TVM keeps that, and gives it to the next one."""
    most: list[int] = []
    for kernel in kernels:
        found = sorted(_buffers(kernel), reverse=True)
        most = [max(pair) for pair in zip_longest(most, found, fillvalue=0)]
    return sum(most)


def _buffers(kernel: tirx.PrimFunc) -> list[int]:
    """The bytes of each buffer that a kernel allocates."""
    found: list[int] = []

    def note(node: tirx.AllocBuffer) -> None:
        buffer = node.buffer
        found.append(size_bytes([int(extent) for extent in buffer.shape], str(buffer.dtype)))

    tvm_ffi.structural_walk(kernel.body, (tirx.AllocBuffer, note))
    return found
