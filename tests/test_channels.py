"""Where the channels are."""

from __future__ import annotations

import pytest

from jointdnn_tvm.codec.channels import channel_axis, is_image


@pytest.mark.parametrize(
    ("shape", "axis", "image"),
    [
        ((1, 56, 56, 64), 3, False),
        ((1, 3, 224, 224), 1, True),
        ((1, 224, 224, 3), 3, True),
        ((8, 1, 28, 28), 1, True),
        ((1, 197, 768), 2, False),
        ((1, 1000), None, False),
        ((512, 1), 1, False),
        ((1, 3, 2, 2), None, False),
        ((1, 3, 8, 4), 3, True),
        ((16,), None, False),
        ((), None, False),
        ((0, 4), None, False),
    ],
)
def test_axis(shape: tuple[int, ...], axis: int | None, image: bool) -> None:
    assert channel_axis(shape) == axis
    assert is_image(shape) == image
