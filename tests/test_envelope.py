"""The envelope's vertices against all intersections of its functions and the box's faces."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from jointdnn_tvm.placement.envelope import Array, Envelope


def vertices(envelope: Envelope) -> list[tuple[Array, float]]:
    """Those that were not given yet."""
    found = []
    while (vertex := envelope.next_vertex()) is not None:
        found.append(vertex)
    return found


def by_intersection(low: Array, high: Array, functions: Array) -> Array:
    """Every vertex's place and height, in order."""
    size = len(low)
    # Rows (a, b) say a + b . (place, height) = 0.
    planes = [(f[0], *f[1:], -1.0) for f in functions]
    faces = [(-end[i], *np.eye(size + 1)[i]) for end in (low, high) for i in range(size)]
    found = []
    for chosen in combinations(np.array([*planes, *faces]), size + 1):
        rows = np.array(chosen)
        if abs(np.linalg.det(rows[:, 1:])) < 1e-9:
            continue
        *place, height = np.linalg.solve(rows[:, 1:], -rows[:, 0])
        inside = (place >= low - 1e-9).all() and (place <= high + 1e-9).all()
        least = (functions[:, 0] + functions[:, 1:] @ place).min()
        if inside and abs(height - least) <= 1e-9:
            found.append((*place, height))
    return np.unique(np.round(found, 6) + 0.0, axis=0)


@pytest.mark.parametrize("seed", range(80))
def test_every_vertex_is_found_once_its_functions_are_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 4)), int(rng.integers(1, 9))
    low, high = rng.random(size) * 0.5, np.ones(size)
    functions = rng.random((count, size + 1))
    if seed % 2:  # many functions meet in one point, and some are equal
        low, functions = np.zeros(size), np.round(3 * functions)
    envelope = Envelope(low, high, functions[0])
    seen = vertices(envelope)
    for function in functions[1:]:
        envelope.add(function)
        seen += vertices(envelope)
    wanted = by_intersection(low, high, functions)
    heights = [(functions[:, 0] + functions[:, 1:] @ place).min() for place, _ in seen]
    lasting = [
        (*place, height)
        for (place, height), least in zip(seen, heights, strict=True)
        if height <= least + 1e-9
    ]
    found = np.unique(np.round(lasting, 6) + 0.0, axis=0)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert len(lasting) == len(wanted)


def test_a_point_is_all_there_is_without_a_range() -> None:
    envelope = Envelope(np.zeros(0), np.zeros(0), np.array([3.0]))
    ((place, height),) = vertices(envelope)
    assert (place.size, height) == (0, 3.0)
    envelope.add(np.array([2.0]))
    ((_, height),) = vertices(envelope)
    assert height == 2.0


def test_heights_keep_their_digits_beside_much_higher_ones() -> None:
    envelope = Envelope(np.array([1e-6]), np.array([1.0]), np.array([0.0, 1e9]))
    envelope.add(np.array([1e-3, 1e4]))
    found = {round(float(place[0]), 14): height for place, height in vertices(envelope)}
    assert found[1e-6] == pytest.approx(1e-3 + 1e-2, rel=1e-15)
