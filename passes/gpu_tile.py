"""How large the tiles of a matrix product are on a GPU: a model of one multiprocessor.

A block of threads holds one tile of the result in registers. Step by step along the sum it
fetches a slice of each factor into shared memory, and every thread multiplies its rows by its
columns. The model counts cycles of arithmetic, of reading shared memory and of fetching, for as
many blocks as fit a multiprocessor at once, and the latency that one step cannot hide.
No figure in it was fitted on a GPU: it ranks tiles, it predicts no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jointdnn_tvm.targets import TargetProfile

_WARP = 32
_FLOAT_BYTES = 4
_FMA_LANES = 128  # 32-bit multiply-adds a cycle of a multiprocessor, compute capability 8.x and 9.0
_SHARED_BYTES = 128  # that its shared memory hands out a cycle (CUDA programming guide)
_STEP_LATENCY = 600  # cycles: a fetch from device memory and a barrier
_MOST_THREADS, _MOST_RESIDENT = 256, 4  # threads a block; blocks that share a multiprocessor
_OTHER_REGISTERS = 40  # addresses, counters, what is being fetched
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

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows // self.thread_rows * (self.columns // self.thread_columns)

    @property
    def lanes(self) -> int:
        """Columns that one thread reads at once."""
        return min(4, self.thread_columns)

    @property
    def shared_bytes(self) -> int:
        """Shared memory for one slice of each factor, rows of the left padded by one vector."""
        return _FLOAT_BYTES * (self.rows * (self.depth + 4) + self.depth * self.columns)

    @property
    def registers(self) -> int:
        """Registers of a thread, about."""
        held = self.thread_rows * self.thread_columns + self.thread_rows + self.thread_columns
        return held + _OTHER_REGISTERS


@dataclass(frozen=True)
class Limits:
    """What the model knows of a GPU."""

    multiprocessors: int
    registers: int
    block_shared_bytes: int
    shared_bytes: int
    fetched_bytes: float  # from device memory, a cycle and multiprocessor

    @staticmethod
    def of(profile: TargetProfile) -> Limits:
        """The limits in a target profile."""
        told = profile.tvm_target
        return Limits(
            profile.cores,
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
    for thread_rows in (1, 2, 4, 8):
        for thread_columns in (1, 2, 4, 8):
            for down in (1, 2, 4, 8, 16, 32):
                for across in (4, 8, 16, 32, 64):
                    if _WARP <= down * across <= _MOST_THREADS:
                        rows, columns = down * thread_rows, across * thread_columns
                        for depth in (8, 16, 32):
                            yield Tile(rows, columns, depth, thread_rows, thread_columns)


def _fits(tile: Tile, limits: Limits) -> bool:
    fetched = (tile.rows * tile.depth, tile.depth * tile.columns)
    return (
        tile.shared_bytes <= limits.block_shared_bytes
        and tile.registers * tile.threads <= limits.registers
        and all(numbers % (4 * tile.threads) == 0 for numbers in fetched)
    )


def _cycles(tile: Tile, batch: int, rows: int, columns: int, depth: int, limits: Limits) -> float:
    blocks = batch * -(-rows // tile.rows) * -(-columns // tile.columns)
    resident = min(
        _MOST_RESIDENT,
        limits.registers // (tile.registers * tile.threads),
        max(1, limits.shared_bytes // tile.shared_bytes),
        -(-blocks // limits.multiprocessors),
    )
    work = tile.rows * tile.columns * tile.depth / _FMA_LANES
    read = tile.threads * tile.depth * (tile.thread_rows / 4 + tile.thread_columns)
    fetched = _FLOAT_BYTES * tile.depth * (tile.rows + tile.columns) / 2  # half is in the L2 cache
    step = max(work, read * _FLOAT_BYTES / _SHARED_BYTES, fetched / limits.fetched_bytes)
    waves = -(-blocks // (limits.multiprocessors * resident))
    return waves * -(-depth // tile.depth) * (resident * step + _STEP_LATENCY)
