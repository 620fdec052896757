"""How large the tiles of a matrix product are on a GPU: a model of one multiprocessor.

A block of threads holds one tile of the result in registers. Step by step along the sum every
thread multiplies its rows by its columns, from a slice of each factor in shared memory. It does so
alone, or on tensor cores, where three products of TF32 stand for one of 32-bit floats, and the next
slices are fetched meanwhile. The model counts cycles of arithmetic, of reading shared memory and of
fetching, for as many blocks as fit a multiprocessor at once, and the latency of a fetch.
No figure in it was fitted on a GPU: it ranks tiles, it predicts no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from jointdnn_tvm.passes.gpu_tensor_cores import PRODUCTS, WARP_COLUMNS, WARP_ROWS
from jointdnn_tvm.targets import TargetProfile

_WARP = 32
_FLOAT_BYTES = 4
_ISSUED = 128  # lanes whose instruction starts each cycle: four warps (CUDA programming guide)
_SPLIT_WORK = 4  # instructions to read a number and to split it for tensor cores
_SHARED_BYTES = 128  # that its shared memory hands out a cycle (CUDA programming guide)
_STEP_LATENCY = 600  # cycles: a fetch from device memory and a barrier
_MOST_THREADS, _MOST_RESIDENT = 256, 4  # threads a block; blocks that share a multiprocessor
_MOST_REGISTERS = 200  # of the 255 that a thread may have: with more, some were kept in memory
_OTHER_REGISTERS = 40  # addresses, counters, what is being fetched
LEFT_PADDING = 4
"""Numbers between rows of the left factor's slice."""
_REGISTERS = 65536  # of a multiprocessor, unless the profile tells
_SHARED = 49152  # bytes of a block, unless the profile tells


@dataclass(frozen=True)
class Tile:
    """Rows, columns and steps of the sum of a block; rows and columns of one of its threads."""

    rows: int
    columns: int
    depth: int
    thread_rows: int
    thread_columns: int
    tensor_cores: bool = False

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows // self.thread_rows * (self.columns // self.thread_columns)

    @property
    def warp_tiles(self) -> tuple[int, int]:
        """Tiles of tensor cores, 16 x 8, that a warp has one below the other and side by side."""
        return self.thread_rows // 2, self.thread_columns // 2

    @property
    def lanes(self) -> int:
        """Columns that one thread reads at once."""
        return min(4, self.thread_columns)

    @property
    def right_padding(self) -> int:
        """Numbers between rows of the right factor's slice.

        With these, the lanes of a warp read from different banks: for tensor cores they read four
        rows of eight columns at once.
        """
        return 8 if self.tensor_cores else 0

    @property
    def slices(self) -> int:
        """Of each factor, held at once: for tensor cores one is fetched while one is multiplied."""
        return 2 if self.tensor_cores else 1

    @property
    def shared_bytes(self) -> int:
        """Shared memory for the slices of both factors that a block holds at once."""
        left = self.rows * (self.depth + LEFT_PADDING)
        right = self.depth * (self.columns + self.right_padding)
        return self.slices * _FLOAT_BYTES * (left + right)

    @property
    def registers(self) -> int:
        """Registers of a thread, about."""
        results = self.thread_rows * self.thread_columns
        if self.tensor_cores:  # two parts of each factor for eight steps
            return results + 4 * self.thread_rows + 2 * self.thread_columns + _OTHER_REGISTERS
        return results + self.thread_rows + self.thread_columns + _OTHER_REGISTERS


@dataclass(frozen=True)
class Limits:
    """What the model knows of a GPU."""

    multiprocessors: int
    lanes: float  # 32-bit multiply-adds a cycle and multiprocessor
    tensor_lanes: float  # TF32 ones, of tensor cores; 0: there are none
    registers: int
    block_shared_bytes: int
    shared_bytes: int
    fetched_bytes: float  # from device memory, a cycle and multiprocessor

    @staticmethod
    def of(profile: TargetProfile) -> Limits:
        """The limits in a target profile."""
        told = profile.tvm_target
        a_cycle = 2 * profile.clock_hz * profile.cores
        return Limits(
            profile.cores,
            profile.peak_flops / a_cycle,
            profile.tensor_flops / a_cycle,
            int(told.get("registers_per_block", _REGISTERS)),
            int(told.get("max_shared_memory_per_block", _SHARED)),
            profile.l1d_bytes or _SHARED,
            profile.bandwidth_bytes_per_s / profile.clock_hz / profile.cores,
        )


@cache
def choose_tile(batch: int, rows: int, columns: int, depth: int, limits: Limits) -> Tile:
    """The tile with the fewest cycles for `batch` products, rows x depth by depth x columns."""
    tiles = (tile for tile in _tiles() if _fits(tile, limits))
    return min(tiles, key=lambda tile: _cycles(tile, batch, rows, columns, depth, limits))


def _tiles() -> Iterator[Tile]:
    for thread_rows, thread_columns in product((1, 2, 4, 8), repeat=2):
        for down, across in product((1, 2, 4, 8, 16, 32), (4, 8, 16, 32, 64)):
            if _WARP <= down * across <= _MOST_THREADS:
                rows, columns = down * thread_rows, across * thread_columns
                for depth in (8, 16, 32):
                    yield Tile(rows, columns, depth, thread_rows, thread_columns)
    for thread_rows, thread_columns in product((2, 4, 8), (4, 8, 16)):
        for down, across in product((1, 2, 4, 8), repeat=2):
            rows, columns = WARP_ROWS * thread_rows * down, WARP_COLUMNS * thread_columns * across
            if _WARP * down * across <= _MOST_THREADS:
                for depth in (16, 32):
                    yield Tile(rows, columns, depth, thread_rows, thread_columns, True)


def _fits(tile: Tile, limits: Limits) -> bool:
    fetched = (tile.rows * tile.depth, tile.depth * tile.columns)
    return (
        tile.shared_bytes <= limits.block_shared_bytes
        and tile.registers <= _MOST_REGISTERS
        and tile.registers * tile.threads <= limits.registers
        and all(numbers % (4 * tile.threads) == 0 for numbers in fetched)
        and (limits.tensor_lanes > 0 or not tile.tensor_cores)
    )


def _cycles(tile: Tile, batch: int, rows: int, columns: int, depth: int, limits: Limits) -> float:
    blocks = batch * -(-rows // tile.rows) * -(-columns // tile.columns)
    resident = min(
        _MOST_RESIDENT,
        limits.registers // (tile.registers * tile.threads),
        max(1, limits.shared_bytes // tile.shared_bytes),
        -(-blocks // limits.multiprocessors),
    )
    fetched = _FLOAT_BYTES * tile.depth * (tile.rows + tile.columns) / 2  # half is in the L2 cache
    step = max(_arithmetic(tile, limits), fetched / limits.fetched_bytes)
    waves = -(-blocks // (limits.multiprocessors * resident))
    steps = -(-depth // tile.depth)
    step *= resident
    if tile.slices > 1:  # the last step has nothing to fetch meanwhile
        return waves * (steps * max(step, _STEP_LATENCY) + step)
    return waves * steps * (step + _STEP_LATENCY)


def _arithmetic(tile: Tile, limits: Limits) -> float:
    """Cycles of one step once both slices are in shared memory."""
    work = tile.rows * tile.columns * tile.depth
    threads = tile.threads * tile.depth
    if tile.tensor_cores:
        read = threads * (tile.thread_rows / 4 + tile.thread_columns / 8)
        added = threads / 8 * tile.thread_rows * tile.thread_columns
        issued = (_SPLIT_WORK * read + added) / _ISSUED
        work_cycles = max(work * PRODUCTS / limits.tensor_lanes, issued)
    else:
        read = threads * (tile.thread_rows / 4 + tile.thread_columns)
        work_cycles = work / limits.lanes
    return max(work_cycles, read * _FLOAT_BYTES / _SHARED_BYTES)
