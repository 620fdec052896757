"""Pictures for networks that answer noise with nothing."""

from __future__ import annotations

import numpy as np
from PIL import Image

from jointdnn_tvm.demo.text_line import find_page
from tests.tiny_models import Array


def page_of_text(size: int) -> Array:
    """A page with text on it, for a text detector: float32 of shape (1, 3, size, size)."""
    with Image.open(find_page()) as page:
        pixels = np.asarray(page.convert("RGB").resize((size, size)), np.float32)
    array: Array = ((pixels / 255 - 0.45) / 0.23).transpose(2, 0, 1)[None]
    return array
