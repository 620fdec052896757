"""Quantities for people: four digits and the prefix that fits."""

from __future__ import annotations

_PREFIXES = {12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "u", -9: "n"}


def quantity(value: float, unit: str) -> str:
    """Such as ``12.3 ms`` for 0.0123 ``s``; a factor, with the unit ``x``, takes no prefix."""
    if unit == "x":
        return f"{value:.4g}x"
    for power, prefix in _PREFIXES.items():
        if abs(value) >= 0.99995 * 10.0**power:
            return f"{_four_digits(value / 10.0**power)} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def _four_digits(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.3e}"
