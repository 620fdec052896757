"""Where a kernel goes: its operands, and how its results reach memory through the epilogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx
from tvm.ir.expr import TensorLoad

from jointdnn_tvm.passes.kernels import emit

KERNEL = "jointdnn.kernel"
"""Attribute of each block that one of this folder's kernels computes: the kernel's name."""


@dataclass(frozen=True)
class Site:
    """One function to be written: a kernel's blocks, and the elementwise operators after them.

    `operands` are the buffers that the kernel reads, in order; `shape` is that of its result;
    `positions` tells which of the function's blocks it is. Where `holds_all` is false, other blocks
    follow that read the result from memory.
    """

    function: tirx.PrimFunc
    kernel: str
    options: Mapping[str, Any]
    operands: tuple[Any, ...]
    shape: tuple[int, ...]
    positions: range
    holds_all: bool
    _between: tuple[Any, ...]
    _result: Any
    _axes: tuple[Any, ...]
    _store: tirx.BufferStore

    def store(self, indices: Sequence[Any], value: Any) -> Any:
        """The statement that puts one result, with its epilogue applied, where it belongs."""
        place = dict(zip(self._axes, indices, strict=True))

        def load(expression: Any) -> Any:
            return value if expression.source.same_as(self._result) else expression

        def axis(variable: Any) -> Any:
            return place.get(variable, variable)

        return tvm_ffi.structural_map(self._store, [(TensorLoad, load), (ir.Var, axis)])

    def written(self, body: Any) -> tirx.PrimFunc:
        """The function with this body in place of its own."""
        old = self.function
        return tirx.PrimFunc(old.params, body, old.ret_type, old.attrs)

    def spliced(self, function: tirx.PrimFunc, statement: Any) -> tirx.PrimFunc:
        """The function, its other blocks scheduled, with this statement for the kernel's."""
        parts = root_parts(function)
        parts[self.positions.start : self.positions.stop] = [statement]
        return with_parts(function, parts, self._between)


def root_parts(function: tirx.PrimFunc) -> list[Any]:
    """The statements of a function made of blocks, one for each of them."""
    body = function.body.block.body
    return list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]


def with_parts(
    function: tirx.PrimFunc, parts: Sequence[Any], dropped: Sequence[Any] = ()
) -> tirx.PrimFunc:
    """The function with these statements in its root block, and without some of its buffers."""
    realize = function.body
    root = realize.block
    block = s_tir.SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        emit.sequence(parts),
        root.init,
        [buffer for buffer in root.alloc_buffers if not _is_among(buffer, dropped)],
        root.match_buffers,
        root.annotations,
    )
    body = s_tir.SBlockRealize(realize.iter_values, realize.predicate, block)
    return tirx.PrimFunc(function.params, body, function.ret_type, function.attrs)


def find_site(sch: s_tir.Schedule) -> Site | None:
    """The kernel of a function whose epilogue is inlined, if it holds one.

    The kernel applies the epilogue itself when that writes what the kernel gives, element by
    element, in the same shape.
    """
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    marked = [i for i, block in enumerate(blocks) if KERNEL in block.annotations]
    if not marked:
        return None
    positions = range(marked[0], marked[-1] + 1)
    kernels = blocks[positions.start : positions.stop]
    first, kernel, last = kernels[0], kernels[-1], blocks[-1]
    if any(block.annotations.get(KERNEL) != first.annotations[KERNEL] for block in kernels):
        return None
    result = kernel.writes[0].source
    between = tuple(block.writes[0].source for block in kernels[:-1])
    shape = tuple(int(extent) for extent in result.shape)
    axes = tuple(axis.var for axis in kernel.iter_vars if int(axis.iter_type) == _SPATIAL)
    store = tirx.BufferStore(result, tirx.BufferLoad(result, list(axes)), list(axes))
    holds_all = last is kernel
    if len(blocks) == len(kernels) + 1 and not holds_all:
        last_axes = tuple(axis.var for axis in last.iter_vars)
        if isinstance(last.body, tirx.BufferStore) and _is_plain(
            last.body, last_axes, shape, result
        ):
            store, axes, holds_all = last.body, last_axes, True
    return Site(
        sch.mod["main"],
        str(kernel.annotations[KERNEL]),
        {str(key): value for key, value in kernel.annotations.items()},
        _operands(kernels, between),
        shape,
        positions,
        holds_all,
        between,
        result,
        axes,
        store,
    )


def _operands(kernels: Sequence[Any], between: Sequence[Any]) -> tuple[Any, ...]:
    """What the blocks read that they do not write themselves, each buffer once."""
    found: list[Any] = []
    for block in kernels:
        for region in block.reads:
            if not _is_among(region.source, [*found, *between]):
                found.append(region.source)
    return tuple(found)


def _is_among(buffer: Any, others: Sequence[Any]) -> bool:
    return any(buffer.same_as(other) for other in others)


_SPATIAL = 0  # tirx.IterVar.iter_type


def _is_plain(
    store: tirx.BufferStore, axes: Sequence[Any], shape: Sequence[int], result: Any
) -> bool:
    """Whether element i of the output is made of element i of the kernel's result."""
    if tuple(int(extent) for extent in store.buffer.shape) != tuple(shape):
        return False
    loads: list[Any] = []
    tvm_ffi.structural_walk(store.value, (TensorLoad, loads.append))
    places = [load.indices for load in loads if load.source.same_as(result)]
    return all(_same(indices, axes, shape) for indices in [store.indices, *places])


def _same(indices: Sequence[Any], axes: Sequence[Any], shape: Sequence[int]) -> bool:
    """Whether these are the axes; where the extent is 1 the index may be written as 0."""
    return len(indices) == len(axes) and all(
        index.same_as(axis) or extent == 1
        for index, axis, extent in zip(indices, axes, shape, strict=True)
    )
