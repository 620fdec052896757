"""The innermost part of every matrix product: a tile of sums held in vector registers.

A tile is `rows` x `vectors` accumulators. One step of the reduction reads `vectors` vectors of
one operand and `rows` single numbers of the other, and multiplies all with all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.targets import TargetProfile

_LOADS_A_CYCLE = 2
_BYTES_A_CYCLE = 32  # from the second cache
_STEP_OVERHEAD = 0.1  # cycles: the loop's own instructions
_FETCH_OVERHEAD = 0.1  # of the time of fetching, which other reads from that cache delay
_MOST_VECTORS = 8


@dataclass(frozen=True)
class Tile:
    """The shape of a register tile; `lanes` numbers are one vector."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        """Results of one row."""
        return self.vectors * self.lanes

    @property
    def registers(self) -> int:
        """The accumulators, one row of vectors and one broadcast number."""
        return self.rows * self.vectors + self.vectors + 1

    def cycles(self, profile: TargetProfile) -> float:
        """Of one step, when the weights come from the second cache and the rest from the first."""
        products = self.rows * self.vectors
        fetching = 4 * self.columns / _BYTES_A_CYCLE
        return (
            max(
                products / profile.fma_ports,
                (self.rows + self.vectors) / _LOADS_A_CYCLE,
                fetching,
                profile.fma_latency,
            )
            + _STEP_OVERHEAD
            + _FETCH_OVERHEAD * fetching
        )


def tile_of(choice: Choice, rows: int, columns: int, profile: TargetProfile) -> Tile:
    """The tile that was chosen for a product of this size; the best by the rule if none fits."""
    height, vectors, lanes = (choice.get(name, 0) for name in ("rows", "vectors", "lanes"))
    tile = Tile(height, vectors, lanes)
    fits = 0 < height <= rows and vectors > 0 and 0 < lanes <= profile.lanes
    if fits and tile.columns <= columns and tile.registers <= profile.vector_registers:
        return tile
    return best_tile(rows, columns, profile)


def best_tile(rows: int, columns: int, profile: TargetProfile) -> Tile:
    """The tile with which a product of this size takes the fewest cycles.

    It must fit the registers; with more rows than three for eight of them LLVM loads so many
    numbers ahead that it runs out of registers. Tiles at the ends overlap their neighbours, so
    what counts is the number of tiles.
    """
    lanes = min(profile.lanes, columns)
    most_rows = max(1, min(rows, profile.vector_registers * 3 // 8))
    best: tuple[float, Tile] | None = None
    for vectors in range(1, min(_MOST_VECTORS, columns // lanes) + 1):
        for height in range(1, most_rows + 1):
            tile = Tile(height, vectors, lanes)
            if tile.registers > profile.vector_registers:
                continue
            tiles = math.ceil(rows / height) * math.ceil(columns / tile.columns)
            score = tiles * tile.cycles(profile)
            if best is None or score < best[0]:
                best = score, tile
    assert best is not None  # a tile of one accumulator fits any vector unit
    return best[1]


class Accumulators:
    """The sums of one tile, as statements."""

    def __init__(self, tile: Tile) -> None:
        self._tile = tile
        # A buffer a row, since a whole tile of AVX-512 would be too long for the stack.
        rows = [emit.allocate("sums", tile.columns) for _ in range(tile.rows)]
        self._buffers, self._allocations = zip(*rows, strict=True)

    def clear(self) -> list[Any]:
        """Allocates the sums and sets them to zero."""
        return [
            *self._allocations,
            *self._each(lambda row, column: self._set(row, column, emit.zero())),
        ]

    def step(self, number: Callable[[int], Any], vector: Callable[[Any], Any]) -> list[Any]:
        """Adds one product: `number` gives that of a row, `vector` the one of a column."""
        return self._each(
            lambda row, column: self._set(
                row, column, self._sum(row, column) + number(row) * vector(column)
            )
        )

    def store(self, place: Callable[[int, Any, Any], Any]) -> list[Any]:
        """Hands out every sum: `place` gets its row, its column and its value."""
        return self._each(lambda row, column: place(row, column, self._sum(row, column)))

    def _sum(self, row: int, column: Any) -> Any:
        return tirx.BufferLoad(self._buffers[row], [column])

    def _set(self, row: int, column: Any, value: Any) -> Any:
        return tirx.BufferStore(self._buffers[row], value, [column])

    def _each(self, statement: Callable[[int, Any], Any]) -> list[Any]:
        """A statement for every vector of the tile, given its row and column."""
        tile = self._tile

        def at(row: int, first: int) -> Any:
            return emit.vector(tile.lanes, lambda lane: statement(row, lane + first))

        return [
            at(row, first)
            for row in range(tile.rows)
            for first in range(0, tile.columns, tile.lanes)
        ]
