"""Values of a JSON document that must have a type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jointdnn_tvm.runtime.parsing import as_count, as_share, as_table, as_text, as_texts, as_whole


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (as_table, {"a": 1}),
        (as_text, ""),
        (as_whole, 0),
        (as_whole, 1 << 70),
        (as_count, 1),
        (as_share, 0),
        (as_share, 0.999),
    ],
)
def test_value_that_has_its_type(read: Callable[[Any], Any], value: Any) -> None:
    assert read(value) == value


def test_list_of_texts() -> None:
    assert as_texts(["a", "b"]) == ("a", "b")


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (as_table, (None, [], "{}", 1)),
        (as_text, (None, 5, ["a"], b"a")),
        (as_texts, (None, 5, [1], ["a", None])),
        (as_whole, (None, -1, 1.0, True, "1", float("inf"))),
        (as_count, (None, 0, -1, 1.0, True)),
        (as_share, (None, -0.1, 1, 1.5, "0.5", float("nan"), float("inf"))),
    ],
)
def test_value_that_has_another(read: Callable[[Any], Any], values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises((TypeError, ValueError)):
            read(value)
