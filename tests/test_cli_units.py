"""Quantities for people."""

from __future__ import annotations

import pytest

from jointdnn_tvm.cli.units import quantity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.99999, "s", "1 s"),
        (0.9999, "s", "999.9 ms"),
        (5.85e6, "bit/s", "5.85 Mbit/s"),
        (0, "J", "0 J"),
        (-0.25, "J", "-250 mJ"),
        (3e-12, "s", "3e-12 s"),
        (1e12, "bit/s", "1 Tbit/s"),
        (4e20, "bit/s", "4.000e+08 Tbit/s"),
        (0.1, "x", "0.1x"),
        (12.3456, "x", "12.35x"),
    ],
)
def test_four_digits_and_a_prefix(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text
