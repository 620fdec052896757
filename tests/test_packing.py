"""Layouts of packed weights."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te

from jointdnn_tvm.passes.kernels.packing import Panels, panel_starts


@pytest.mark.parametrize(
    ("columns", "width", "starts"),
    [(8, 8, [0]), (16, 8, [0, 8]), (17, 8, [0, 8, 9]), (15, 8, [0, 7]), (1, 1, [0])],
)
def test_last_panel_overlaps_its_neighbour(columns: int, width: int, starts: list[int]) -> None:
    assert panel_starts(columns, width) == starts


@pytest.mark.parametrize("kept", [(), (3,), (2, 3, 4)])
@pytest.mark.parametrize("groups", [1, 2, 5])
@pytest.mark.parametrize(("columns", "width"), [(1, 1), (4, 4), (7, 4), (8, 4), (9, 8), (31, 16)])
def test_every_column_of_a_group_is_in_its_panels(
    kept: tuple[int, ...], groups: int, columns: int, width: int
) -> None:
    shape = (*kept, groups * columns)
    weight = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    packing = Panels(width, groups)
    packed = packing.apply(weight)
    assert packed.shape == packing.shape(shape)
    assert packed.dtype == np.float32
    panels = packed.reshape(groups, -1, *kept, width)
    assert panels.shape[1] == -(-columns // width)
    for group in range(groups):
        for panel in range(panels.shape[1]):
            first = group * columns + min(panel * width, columns - width)
            np.testing.assert_array_equal(panels[group, panel], weight[..., first : first + width])
        own = weight[..., group * columns : (group + 1) * columns]
        assert set(panels[group].flat) == set(own.flat)


@pytest.mark.parametrize("kept", [(3,), (2, 3, 4)])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("columns", "width"), [(1, 1), (7, 4), (8, 4), (31, 16)])
def test_packed_at_run_time_alike(
    kept: tuple[int, ...], groups: int, columns: int, width: int
) -> None:
    shape = (*kept, groups * columns)
    weight = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    packing = Panels(width, groups)
    source = te.placeholder(shape, "float32")
    function = te.create_prim_func([source, packing.compute(source)])
    packed = tvm.runtime.tensor(np.zeros(packing.shape(shape), np.float32))
    tvm.compile(function, "llvm")(tvm.runtime.tensor(weight), packed)
    np.testing.assert_array_equal(packed.numpy(), packing.apply(weight))


def test_tags_differ_where_layouts_do() -> None:
    packings = [Panels(8), Panels(16), Panels(8, 2), Panels(16, 2), Panels(8, 16), Panels(1, 61)]
    assert len({packing.tag for packing in packings}) == len(packings)
