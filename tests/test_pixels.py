"""Pictures come back to the bit, from a sixth of the bytes; anything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jointdnn_tvm.codec import pixels
from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.demo.text_line import find_page
from jointdnn_tvm.errors import CodecError
from tests.hard_arrays import Array, hard_array


def picture(colours_first: bool) -> Array:
    """A page of a book, as networks of pictures want it."""
    with Image.open(find_page()) as page:
        octets = np.asarray(page.convert("RGB"))[:180, :300]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled: Array = ((octets / 255 - mean) / deviation).astype(np.float32)[None]
    return scaled.transpose(0, 3, 1, 2) if colours_first else scaled


@pytest.mark.parametrize("colours_first", [True, False])
def test_picture(colours_first: bool) -> None:
    array = picture(colours_first)
    encoded = pixels.encode(array)
    assert encoded is not None
    assert sum(map(len, encoded)) < array.nbytes / 5
    found = pixels.decode(Frame("pixels", "float32", array.shape, *encoded))
    np.testing.assert_array_equal(found.view(np.uint32), np.ascontiguousarray(array).view("u4"))


@pytest.mark.parametrize("colours", [[0.3], [1e-3, 1e6]])
def test_few_colours(colours: list[float]) -> None:
    draw = np.random.default_rng(0).integers(0, len(colours), (1, 3, 20, 20))
    array = np.array(colours, np.float32)[draw]
    encoded = pixels.encode(array)
    assert encoded is not None
    found = pixels.decode(Frame("pixels", "float32", array.shape, *encoded))
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "array",
    [
        hard_array("normal", (1, 3, 40, 40)),
        hard_array("nan", (1, 3, 40, 40)),
        hard_array("minus zeros", (1, 3, 40, 40)),
        hard_array("bytes", (1, 40, 40, 16)),
        hard_array("bytes", (300, 40)),
    ],
)
def test_what_is_no_picture(array: Array) -> None:
    assert pixels.encode(array) is None


def test_picture_too_small_for_its_colours() -> None:
    assert pixels.encode(hard_array("bytes", (1, 3, 5, 5))) is None


def test_pixel_of_no_colour() -> None:
    array = np.arange(3 * 20 * 20, dtype=np.float32).reshape(1, 3, 20, 20) % 7
    encoded = pixels.encode(array)
    assert encoded is not None
    assert len(encoded[0]) == 4 * 3 * 7
    with pytest.raises(CodecError, match="it has a pixel of no colour"):
        pixels.decode(Frame("pixels", "float32", array.shape, encoded[0][:-12], encoded[1]))


def test_one_pixel_off_the_grid() -> None:
    array = np.ascontiguousarray(picture(True))
    array[0, 1, 100, 100] += np.float32(1e-4)
    assert pixels.encode(array) is None


@pytest.mark.parametrize(
    ("shape", "parameters"), [((1, 9, 9, 16), bytes(16 * 1024)), ((1, 3, 9, 9), bytes(9))]
)
def test_frame_of_no_picture(shape: tuple[int, ...], parameters: bytes) -> None:
    with pytest.raises(CodecError, match="frame is damaged: "):
        pixels.decode(Frame("pixels", "float32", shape, parameters, b""))
