from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jointdnn_tvm.passes.layout_rules_for_shapes import reshape_groups

SHAPES = st.lists(st.integers(1, 4), max_size=5)


def test_merge() -> None:
    assert reshape_groups([1, 8, 3, 5], [1, 8, 15]) == [([1], [1]), ([2, 3], [2])]


def test_split() -> None:
    assert reshape_groups([2, 6, 5], [2, 2, 3, 5]) == [([0], [0]), ([1], [1, 2]), ([2], [3])]


def test_units_are_left_out() -> None:
    assert reshape_groups([1, 7, 1, 1], [7]) == [([1], [0])]


def test_mixed_up() -> None:
    assert reshape_groups([4, 9], [6, 6]) == [([0, 1], [0, 1])]


def test_no_elements() -> None:
    assert reshape_groups([2, 0], [0, 5]) is None


@given(before=SHAPES, after=SHAPES)
def test_groups_hold_the_same_elements(before: list[int], after: list[int]) -> None:
    groups = reshape_groups(before, after)
    if math.prod(before) != math.prod(after):
        assert groups is None
        return
    assert groups is not None
    for part, shape in ((0, before), (1, after)):
        listed = [axis for group in groups for axis in group[part]]
        assert listed == [axis for axis, dim in enumerate(shape) if dim != 1]
    for sources, targets in groups:
        assert math.prod(before[i] for i in sources) == math.prod(after[i] for i in targets)


@given(before=SHAPES, seed=st.integers(0, 99))
def test_groups_move_apart(before: list[int], seed: int) -> None:
    """Reshaping the groups one by one in another order gives the same tensor, transposed."""
    rng = np.random.default_rng(seed)
    total = math.prod(before)
    after = next(
        list(s) for s in ((total,), (2, total // 2), (total // 3, 3)) if math.prod(s) == total
    )
    groups = reshape_groups(before, after)
    assert groups is not None
    array = np.arange(total).reshape(before)
    order = list(rng.permutation(len(groups)))
    sources = [axis for i in order for axis in groups[i][0]]
    units = [axis for axis in range(len(before)) if axis not in sources]
    targets = [axis for i in order for axis in groups[i][1]]
    stored = array.transpose(units + sources).reshape([after[axis] for axis in targets])
    back = stored.transpose(np.argsort(targets))
    np.testing.assert_array_equal(back.ravel(), array.reshape(after).ravel())
