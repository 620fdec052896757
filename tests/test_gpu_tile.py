"""Tiles of matrix products on GPUs: they fit, and they follow the product's size."""

from __future__ import annotations

import pytest

from jointdnn_tvm.passes.gpu_tile import Limits, Tile, _cycles, _fits, _tiles, choose_tile
from jointdnn_tvm.targets import load_target
from tests.gpu_on_cpu import GPUS

PRODUCTS = [
    (1, 12544, 64, 147),
    (1, 3136, 256, 64),
    (1, 49, 512, 4608),
    (1, 4, 16, 16),
    (12, 384, 384, 64),
    (1, 4096, 4096, 4096),
]


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("product", PRODUCTS)
def test_tile_fits_and_none_is_better(name: str, product: tuple[int, int, int, int]) -> None:
    limits = Limits.of(load_target(name))
    tile = choose_tile(*product, limits)
    assert 32 <= tile.threads <= 256
    assert tile.threads % 32 == 0
    assert tile.shared_bytes <= 48 * 1024
    assert tile.rows * tile.depth % (4 * tile.threads) == 0
    assert tile.depth * tile.columns % (4 * tile.threads) == 0
    best = min(_cycles(t, *product, limits) for t in _tiles() if _fits(t, limits))
    assert _cycles(tile, *product, limits) == best


def test_large_products_get_large_tiles() -> None:
    limits = Limits.of(load_target("cuda-sm90"))
    large, small = choose_tile(1, 4096, 4096, 4096, limits), choose_tile(1, 49, 512, 4608, limits)
    assert large.rows * large.columns >= 64 * 64
    assert small.rows * small.columns < large.rows * large.columns


def test_fewer_multiprocessors_get_larger_tiles() -> None:
    many, few = (Limits.of(load_target(name)) for name in ("cuda-sm90", "cuda-sm87"))
    product = (1, 784, 128, 1152)
    tiles = [choose_tile(*product, limits) for limits in (many, few)]
    assert tiles[0].rows * tiles[0].columns <= tiles[1].rows * tiles[1].columns


def test_size_of_a_tile() -> None:
    tile = Tile(64, 32, 16, 4, 4)
    assert (tile.threads, tile.lanes) == (128, 4)
    assert tile.shared_bytes == 4 * (64 * 20 + 16 * 32)
    tile = Tile(64, 32, 16, 4, 4, tensor_cores=True)
    assert tile.shared_bytes == 2 * 4 * (64 * 20 + 16 * 40)
