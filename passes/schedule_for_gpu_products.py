"""Matrix products on a GPU, convolutions among them as implicit products.

A convolution is the product of a matrix of windows, which is never stored, by its weights: while
a block of threads fetches the windows it works out where each number lies in the image.
"""

from __future__ import annotations

import math
from typing import Any

import tvm_ffi
from tvm import s_tir, tirx
from tvm.s_tir.dlight.gpu.matmul import auto_inline_consumer_chain, auto_inline_producers

from jointdnn_tvm.passes.gpu_tensor_cores import WARP_COLUMNS, WARP_ROWS, multiply_intrinsic
from jointdnn_tvm.passes.gpu_tile import LEFT_PADDING, Limits, Tile, choose_tile
from jointdnn_tvm.passes.schedule_blocks import blocks, is_reduction

_SPATIAL = 0  # tirx.IterVar.iter_type: data parallel
_VECTOR = 4  # 32-bit numbers that a thread fetches at once
_UNROLLED = 64  # statements in a row, at most
_LEAST = {"I": 4, "J": 16, "K": 16}  # rows, columns, steps: below, a tile reuses nothing


def schedule_product(function: tirx.PrimFunc, limits: Limits) -> tirx.PrimFunc | None:
    """Schedule the one product in a function with what is fused around it; None if not so."""
    sch = s_tir.Schedule(function)
    reductions = [block for block in blocks(sch) if is_reduction(sch, block)]
    if len(reductions) != 1:
        return None
    product = reductions[0]
    axes = _Axes.of(sch.get(product))
    if axes is None or any(axes.extent(kind) < least for kind, least in _LEAST.items()):
        return None
    left_lanes = _VECTOR if axes.last("K") % _VECTOR == 0 else 1
    right_lanes = _VECTOR if axes.extent("J") % _VECTOR == 0 else 1
    sizes = [axes.extent(kind) for kind in "SIJK"]
    tile = choose_tile(*sizes, limits)
    _to_matrices(sch, product, axes)
    sch.pad_einsum(product, [1, tile.rows, tile.columns, tile.depth])
    split = _split_for_warps if tile.tensor_cores else _split_for_threads
    stored, thread, step = split(sch, product, tile)
    left = _fetch(sch, product, 0, step, tile.threads, left_lanes)
    sch.storage_align(left, 0, axis=1, factor=2 * LEFT_PADDING, offset=LEFT_PADDING)
    right = _fetch(sch, product, 1, step, tile.threads, right_lanes)
    if tile.right_padding:
        sch.storage_align(right, 0, axis=1, factor=16, offset=tile.right_padding)
    for block in (left, right):
        auto_inline_producers(sch, block)
    auto_inline_consumer_chain(sch, stored)
    start = sch.decompose_reduction(product, step)
    unrolled = [thread]
    if tile.tensor_cores:
        *outside, own = sch.get_loops(product)[:-3]  # but pairs, columns, steps within
        sch.tensorize(own, multiply_intrinsic(*tile.warp_tiles, tile.depth))
        _fetch_ahead(sch, step)
        unrolled = [sch.get_loops(block)[len(outside)] for block in (left, right)]
        unrolled += [sch.get_loops(block)[len(outside) - 1] for block in (start, stored)]
    for loop in unrolled:
        sch.annotate(loop, "pragma_auto_unroll_max_step", _UNROLLED)
        sch.annotate(loop, "pragma_unroll_explicit", 0)
    return sch.mod["main"]


class _Axes:
    """The axes of a block by what they are to a product C[S, I, J] += A[S, I, K] * B[S, K, J]."""

    def __init__(self, kinds: dict[tirx.Var, str], extents: dict[tirx.Var, int]) -> None:
        self._kinds = kinds
        self._extents = extents

    @staticmethod
    def of(block: s_tir.SBlock) -> _Axes | None:
        """The axes of a product; None if the block is something else."""
        if len(block.reads) != 2 or len(block.writes) != 1:
            return None
        a, b, c = (_axes_in(region) for region in (*block.reads, *block.writes))
        names = {(1, 1, 1): "S", (1, 0, 1): "I", (0, 1, 1): "J", (1, 1, 0): "K"}
        kinds, extents = {}, {}
        for axis in block.iter_vars:
            used = tuple(int(axis.var in held) for held in (a, b, c))
            extents[axis.var] = int(axis.dom.extent)
            if extents[axis.var] > 1:
                if used not in names or (names[used] == "K") == (int(axis.iter_type) == _SPATIAL):
                    return None
                kinds[axis.var] = names[used]
        return _Axes(kinds, extents) if {"J", "K"} <= {*kinds.values()} else None

    def extent(self, kind: str) -> int:
        """Size of all axes of a kind together."""
        return math.prod(self._extents[var] for var, its in self._kinds.items() if its == kind)

    def last(self, kind: str) -> int:
        """Size of the innermost axis of a kind."""
        return [self._extents[var] for var, its in self._kinds.items() if its == kind][-1]

    def fused(self, variables: list[tirx.Var], order: str) -> tirx.IndexMap:
        """Map these axes to one axis for each kind, in an order such as SIK."""
        inputs = [tirx.Var(f"i{i}", "int64") for i in range(len(variables))]
        fused: dict[str, Any] = {kind: tirx.const(0, "int64") for kind in order}
        for var, index in zip(variables, inputs, strict=True):
            if var in self._kinds:
                kind = self._kinds[var]
                fused[kind] = fused[kind] * self._extents[var] + index
        return tirx.IndexMap(inputs, [fused[kind] for kind in order], None)


def _axes_in(region: Any) -> set[tirx.Var]:
    found: set[tirx.Var] = set()
    for part in region.region:
        tvm_ffi.structural_walk(part.min, (tirx.Var, found.add))
    return found


def _to_matrices(sch: s_tir.Schedule, product: Any, axes: _Axes) -> None:
    """Give the product one axis of each kind, and factors and result that are matrices."""
    left = sch.reindex(product, ("read", 0))
    right = sch.reindex(product, ("read", 1))
    result = sch.reindex(product, ("write", 0))
    kept = [axis.var for axis in sch.get(product).iter_vars]
    axes = _Axes.of(sch.get(product)) or axes
    for block, side, order in ((left, "write", "SIK"), (right, "write", "SKJ")):
        position = 0 if block is left else 1
        region = sch.get(product).reads[position]
        sch.transform_layout(block, (side, 0), axes.fused(_in_order(region, kept), order))
    region = sch.get(product).writes[0]
    sch.transform_layout(result, ("read", 0), axes.fused(_in_order(region, kept), "SIJ"))
    sch.transform_block_layout(product, axes.fused(kept, "SIJK"))


def _in_order(region: Any, known: list[tirx.Var]) -> list[tirx.Var]:
    """The axis that each dimension of a reindexed tensor is."""
    return [part.min for part in region.region]


def _split_for_threads(sch: s_tir.Schedule, product: Any, tile: Tile) -> tuple[Any, Any, Any]:
    """Give each thread rows and vectors of columns.

    What comes back: the block that stores them, the loop of the threads, and that of the steps.
    """
    stored = sch.cache_write(product, 0, "local")
    batch, i, j, k = sch.get_loops(product)
    block_i, thread_i, own_i = sch.split(i, [None, tile.rows // tile.thread_rows, tile.thread_rows])
    vectors = tile.thread_columns // tile.lanes
    across = tile.columns // tile.thread_columns
    block_j, own_j, thread_j, lane = sch.split(j, [None, vectors, across, tile.lanes])
    step, within = sch.split(k, [None, tile.depth])
    sch.reorder(batch, block_i, block_j, own_j, thread_i, thread_j, step, within, own_i, lane)
    sch.bind(sch.fuse(batch, block_i), "blockIdx.y")
    sch.bind(block_j, "blockIdx.x")
    sch.bind(own_j, "vthread.x")  # a thread's vectors lie apart: neighbours read neighbours
    thread = sch.fuse(thread_i, thread_j)
    sch.bind(thread, "threadIdx.x")
    sch.reverse_compute_at(stored, thread, preserve_unit_loops=True)
    if tile.lanes > 1:
        sch.vectorize(lane)
        sch.vectorize(sch.get_loops(stored)[-1])
    return stored, thread, step


def _split_for_warps(sch: s_tir.Schedule, product: Any, tile: Tile) -> tuple[Any, Any, Any]:
    """Give each lane of a warp the results that tensor cores leave with it: rows 8 apart, and
    pairs of columns 8 apart."""
    rows, columns = WARP_ROWS * tile.thread_rows, WARP_COLUMNS * tile.thread_columns

    def lanes(s: Any, i: Any, j: Any) -> list[Any]:
        across, pair = j // columns, j % columns // 8
        return [s, i // rows, i % 8, across, j % 8 // 2, i % rows // 8, pair, j % 2]

    sch.transform_block_layout(product, lambda s, i, j, k: [*lanes(s, i, j), k])
    batch, i, row, j, column, own_i, own_j, pair, k = sch.get_loops(product)
    extents = [int(sch.get(loop).extent) for loop in sch.get_loops(product)[:-1]]

    def own(*axes: Any) -> list[Any]:
        """All axes of the result that there are."""
        return [axis for axis, extent in zip(axes, extents, strict=False) if extent > 1]

    stored = sch.reindex_cache_write(product, 0, "local", tirx.IndexMap.from_func(own, ndim=9))
    block_i, warp_i = sch.split(i, [None, tile.rows // rows])
    block_j, warp_j = sch.split(j, [None, tile.columns // columns])
    step, within = sch.split(k, [None, tile.depth])
    outer = (batch, block_i, block_j, warp_i, warp_j, row, column)
    sch.reorder(*outer, step, own_i, own_j, pair, within)
    sch.bind(sch.fuse(batch, block_i), "blockIdx.y")
    sch.bind(block_j, "blockIdx.x")
    thread = sch.fuse(warp_i, warp_j, row, column)
    sch.bind(thread, "threadIdx.x")
    sch.reverse_compute_at(stored, thread, preserve_unit_loops=True)
    sch.vectorize(sch.get_loops(stored)[-1])
    return stored, thread, step


def _fetch(
    sch: s_tir.Schedule, product: Any, position: int, step: Any, threads: int, lanes: int
) -> Any:
    """All threads of a block fetch a slice of a factor into shared memory."""
    block = sch.cache_read(product, position, "shared")
    dimensions = len(sch.get_loops(block))
    sch.compute_at(block, step, preserve_unit_loops=True)
    slice_ = sch.fuse(*sch.get_loops(block)[-dimensions:])
    _, thread, lane = sch.split(slice_, [None, threads, lanes])
    sch.bind(thread, "threadIdx.x")
    if lanes > 1:
        sch.vectorize(lane)
    return block


def _fetch_ahead(sch: s_tir.Schedule, step: Any) -> None:
    """Fetch both slices of the next step while this one's are multiplied.

    Only for tensor cores: the slices that threads multiply alone become arrays of vectors, and
    TVM's pass that makes copies asynchronous fails on those.
    """
    fetch, multiply = 0, 1
    sch.annotate(step, "software_pipeline_stage", [fetch, fetch, multiply])
    sch.annotate(step, "software_pipeline_order", [0, 1, 2])
    sch.annotate(step, "software_pipeline_async_stages", [fetch])
