"""The choice of a register tile, and the sums that it holds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tvm
from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.register_tile import Accumulators, Tile, best_tile
from tests.kernel_library import PROFILES

SIZES = [1, 2, 3, 5, 7, 8, 13, 16, 24, 31, 64, 97, 196, 1000]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rows", SIZES)
def test_tile_fits_the_registers_and_the_product(profile: str, rows: int) -> None:
    target = PROFILES[profile]
    for columns in SIZES:
        tile = best_tile(rows, columns, target)
        assert 1 <= tile.rows <= rows
        assert tile.lanes == min(target.lanes, columns)
        assert tile.columns == tile.vectors * tile.lanes <= columns
        assert tile.rows * tile.vectors + tile.vectors + 1 <= target.vector_registers
        assert tile.columns < 256  # sums of one row, which `emit.allocate` takes from the stack


@pytest.mark.parametrize("registers", [3, 4, 6, 8])
def test_few_registers_are_enough(registers: int) -> None:
    tile = best_tile(100, 100, replace(PROFILES["avx2"], vector_registers=registers))
    assert tile.rows * tile.vectors + tile.vectors + 1 <= registers


@pytest.mark.parametrize("profile", PROFILES)
def test_large_product_keeps_the_multipliers_busy(profile: str) -> None:
    target = PROFILES[profile]
    tile = best_tile(3136, 256, target)
    products = tile.rows * tile.vectors
    assert products / tile.cycles(target) > 0.7 * target.fma_ports


def test_more_products_take_longer() -> None:
    target = PROFILES["avx2"]
    assert Tile(6, 2, 8).cycles(target) > Tile(5, 2, 8).cycles(target)
    assert Tile(1, 1, 8).cycles(target) >= target.fma_latency


def test_product_of_few_rows_is_not_cut_unevenly() -> None:
    """Tiles at the ends overlap: seven rows in tiles of six would be computed twice over."""
    for rows in range(1, 30):
        tile = best_tile(rows, 64, PROFILES["avx2"])
        assert math.ceil(rows / tile.rows) * tile.rows <= rows + 3


@pytest.mark.parametrize("tile", [Tile(1, 1, 1), Tile(3, 2, 4), Tile(5, 1, 8), Tile(2, 3, 8)])
@pytest.mark.parametrize("depth", [0, 1, 9])
def test_sums_are_those_of_the_product(tile: Tile, depth: int) -> None:
    a, b, c = (
        tirx.decl_buffer(shape, "float32", name)
        for name, shape in {
            "a": (max(depth, 1), tile.rows),
            "b": (max(depth, 1), tile.columns),
            "c": (tile.rows, tile.columns),
        }.items()
    )
    sums = Accumulators(tile)
    steps = emit.serial(
        depth,
        lambda k: sums.step(
            lambda row: tirx.BufferLoad(a, [k, row]),
            lambda column: tirx.BufferLoad(b, [k, column]),
        ),
    )
    stores = sums.store(lambda row, column, value: tirx.BufferStore(c, value, [row, column]))
    body = emit.sequence([*sums.clear(), *([steps] if depth else []), *stores])
    function = tirx.PrimFunc([a, b, c], body).with_attr("global_symbol", "product")
    compiled = tvm.compile(tvm.IRModule({"product": function}), "llvm")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(tuple(map(int, s.shape))).astype(np.float32) for s in (a, b))
    result = tvm.runtime.tensor(np.full((tile.rows, tile.columns), np.nan, np.float32))
    compiled["product"](tvm.runtime.tensor(x), tvm.runtime.tensor(w), result)
    expected = x[:depth].astype(np.float64).T @ w[:depth]
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-5)
