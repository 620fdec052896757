"""When rows are multiplied as they lie, and with which tile. `test_matmul.py` has the products."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jointdnn_tvm.passes.kernels.row_products import RowTile, are_few, best_row_tile
from jointdnn_tvm.targets import load_target

HOST = replace(load_target("host"), vector_bits=256, vector_registers=16, l2_bytes=1 << 20)


def test_few_rows() -> None:
    assert are_few(8, 4096, HOST)
    assert not are_few(8, 63, HOST)  # adding up lanes would take longer
    assert are_few(8, 64, HOST)
    assert not are_few(200, 4096, HOST)  # the first factor would not stay in the cache


@pytest.mark.parametrize("registers", [16, 32])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 50])
def test_tile_fits_the_registers_and_waits_for_nothing(rows: int, registers: int) -> None:
    profile = replace(HOST, vector_registers=registers)
    tile = best_row_tile(rows, 4096, profile)
    assert tile.rows <= rows
    used = tile.rows * tile.columns + min(tile.rows, tile.columns) + 1
    assert used <= registers
    assert tile.rows * tile.columns >= profile.fma_ports * profile.fma_latency


def test_tiles_in_cycles() -> None:
    profile = replace(HOST, fma_ports=2, fma_latency=4)
    assert RowTile(1, 1).cycles(profile) == 4  # waits for itself
    assert RowTile(1, 13).cycles(profile) == 7  # loads
    assert RowTile(4, 3).cycles(profile) == 6  # multiplies
