"""Tiles of windows: each result is written, from the numbers of the image that its window holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.windows import WindowTile, in_tiles
from tests.kernel_library import PROFILES

WINDOWS = [
    Convolution((1, 1, 1, 1), (1, 1, 1, 1)),
    Convolution((2, 5, 9, 3), (3, 3, 1, 3), padding=(1, 1, 1, 1)),
    Convolution((1, 6, 30, 20), (2, 5, 1, 20), (2, 3), (0, 4, 1, 2)),
    Convolution((1, 7, 11, 9), (3, 2, 1, 9), (1, 2), (2, 0, 0, 3), (2, 3)),
    Convolution((1, 3, 2, 33), (3, 5, 1, 33), padding=(2, 4, 2, 4)),  # no window lies inside
    Convolution((1, 1, 1, 70), (1, 1, 1, 70), padding=(0, 1, 0, 1)),  # windows with no number
]


def _sums(conv: Convolution, pixels: int, cores: int) -> np.ndarray[Any, Any]:
    """Of the places that each window holds, counted through the image."""
    result = tirx.decl_buffer(conv.output, "float32", "result")

    def write(tile: WindowTile, channel: Any, lanes: int) -> list[Any]:
        assert tile.count <= pixels

        def each(pixel: int, value: Any) -> Any:
            return emit.vector(
                lanes,
                lambda lane: tirx.BufferStore(
                    result, value(pixel, lane), [*tile.place(pixel), channel + lane]
                ),
            )

        def add(at: Any, kx: int) -> Any:
            def value(pixel: int, lane: Any) -> Any:
                old = tirx.BufferLoad(result, [*tile.place(pixel), channel + lane])
                place = at(tile.reach(pixel, kx)) + channel + lane
                return old + tirx.Cast("float32", place)

            return value

        pixels_ = range(tile.count)
        rows = tile.rows(
            lambda _ky, at: [each(p, add(at, kx)) for p in pixels_ for kx in tile.inside(p)]
        )
        return [*[each(p, lambda _p, _lane: emit.zero()) for p in pixels_], rows]

    profile = replace(PROFILES["avx2"], cores=cores)
    body = in_tiles(conv, pixels, profile, write)
    function = tirx.PrimFunc([result], body).with_attr("global_symbol", "f")
    found = tvm.runtime.tensor(np.full(conv.output, np.nan, np.float32))
    tvm.compile(tvm.IRModule({"f": function}), "llvm")["f"](found)
    return np.asarray(found.numpy())


@pytest.mark.parametrize("cores", [1, 8])
@pytest.mark.parametrize("pixels", [1, 4])
@pytest.mark.parametrize("conv", WINDOWS)
def test_tiles_make_up_all_results(conv: Convolution, pixels: int, cores: int) -> None:
    (down, across), (kh, kw) = conv.strides, conv.kernel[:2]
    top, left, bottom, right = conv.padding
    places = np.arange(np.prod(conv.image), dtype=np.float64).reshape(conv.image)
    padded = np.pad(places, [(0, 0), (top, bottom), (left, right), (0, 0)])
    reach = (kh - 1) * conv.dilation[0] + 1, (kw - 1) * conv.dilation[1] + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, ::down, ::across, :, :: conv.dilation[0], :: conv.dilation[1]]
    np.testing.assert_array_equal(_sums(conv, pixels, cores), windows.sum((-2, -1)))
