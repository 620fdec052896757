"""Pictures as files: JPEG close and small, PNG to the byte, and anything else is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from jointdnn_tvm.codec.frame import Frame
from jointdnn_tvm.codec.picture_file import JPEG, PictureFile
from jointdnn_tvm.errors import CodecError
from tests.hard_arrays import Array, hard_array
from tests.test_pixels import picture


def encoded(array: Array) -> tuple[bytes, bytes]:
    found = JPEG.encode(np.ascontiguousarray(array))
    assert found is not None
    return found


@pytest.mark.parametrize("colours_first", [True, False])
def test_picture(colours_first: bool) -> None:
    """As near as Pillow's own file of the picture's bytes, and not much larger."""
    array = picture(colours_first)
    octets = picture(False)[0]
    low, high = octets.min((0, 1)), octets.max((0, 1))
    plain = Image.fromarray(np.rint((octets - low) / (high - low).max() * 255).astype(np.uint8))
    file = io.BytesIO()
    plain.save(file, "JPEG", quality=95)
    parameters, payload = encoded(array)
    assert len(parameters) == 24
    assert len(payload) <= 1.02 * file.tell() < array.nbytes / 12
    found = JPEG.decode(Frame("jpeg", "float32", array.shape, parameters, payload))
    lost = np.abs(np.asarray(plain, float) - np.asarray(Image.open(file), float))
    step = (high - low).max() / 255
    assert found.shape == array.shape
    assert np.abs(found - array).mean() <= 1.2 * step * (lost.mean() + 0.5)


def test_png_of_what_has_256_steps() -> None:
    array = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3)).astype(np.float32) / 255
    png = PictureFile("PNG")
    found = png.encode(array)
    assert found is not None
    back = png.decode(Frame("png", "float32", array.shape, *found))
    np.testing.assert_allclose(back, array, atol=1e-6)


@pytest.mark.parametrize(
    "array",
    [
        hard_array("nan", (1, 3, 40, 40)),
        hard_array("bytes", (2, 3, 40, 40)),
        hard_array("bytes", (1, 1, 40, 40)),
        hard_array("bytes", (1, 40, 40, 16)),
        hard_array("bytes", (300, 40)),
    ],
)
def test_what_is_no_picture(array: Array) -> None:
    assert JPEG.encode(array) is None


def file_of(width: int, height: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xd8\xff",
        file_of(40, 30)[:300],
        file_of(40, 31),
        file_of(30, 40),
        file_of(40, 30, "L"),
        file_of(40, 30, kind="PNG"),
    ],
)
def test_files_of_another_picture(payload: bytes) -> None:
    frame = Frame("jpeg", "float32", (1, 3, 30, 40), np.ones(6, "<f4").tobytes(), payload)
    with pytest.raises(CodecError, match="a tensor's payload is"):
        JPEG.decode(frame)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ((1, 9, 9, 16), bytes(24)),
        ((2, 3, 9, 9), bytes(24)),
        ((1, 3, 30, 40), bytes(12)),
        ((1, 3, 30, 40), np.full(6, 3e38, "<f4").tobytes()),
    ],
)
def test_frames_of_no_picture(shape: tuple[int, ...], parameters: bytes) -> None:
    with pytest.raises(CodecError, match="a tensor's frame is damaged"):
        JPEG.decode(Frame("jpeg", "float32", shape, parameters, file_of(40, 30)))
