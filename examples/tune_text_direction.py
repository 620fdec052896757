"""Teach a trained network new data: which way up is the text of a dot-matrix display?

    python examples/tune_text_direction.py [FOLDER]

PP-OCR's classifier tells text from text upside down, and fails where letters are made of dots. Such
lines are rendered, `jointdnn train` trains the network's last layers on some of them, and the rest
tell how often it is right, before and after. That takes a minute or two. Everything is kept in
FOLDER (tune-out). Wants Pillow and the package rapidocr-onnxruntime, as `make demo` does.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jointdnn_tvm.cli import main as jointdnn
from jointdnn_tvm.demo.text_line import find_model

MODEL = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
HEIGHT, WIDTH = 48, 192
TRAINED, HELD_OUT, BATCH = 640, 400, 16
LETTERS = list(string.ascii_uppercase + string.digits)

Array = np.ndarray[Any, Any]


def main(folder: Path) -> int:
    """Renders the examples, trains, and returns how the command ended."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate({"train": TRAINED, "held-out": HELD_OUT}.items()):
        images, labels = render_lines(count, np.random.default_rng(seed))
        np.savez(folder / f"{name}.npz", x=images, label=labels)
    words = ["train", find_model().with_name(MODEL)]
    words += ["--shape", f"x={BATCH},3,{HEIGHT},{WIDTH}"]
    words += ["--data", folder / "train.npz", "--validation", folder / "held-out.npz"]
    words += ["--out", folder / "tuned.onnx", "--last-layers", 20, "--epochs", 3]
    words += ["--learning-rate", 1e-3, "--schedule", "cosine"]
    print("jointdnn", *words, flush=True)
    return jointdnn([str(word) for word in words])


def render_lines(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Images as the network takes them, and 1 for those that are upside down."""
    labels = rng.integers(0, 2, count)
    return np.stack([_line(rng, upside_down=bool(label)) for label in labels]), labels


def _line(rng: np.random.Generator, *, upside_down: bool) -> Array:
    text = "".join(rng.choice(LETTERS, rng.integers(6, 11)))
    font = ImageFont.load_default(26)
    left, top, right, bottom = font.getbbox(text)
    size = int(right - left) + 16, int(bottom - top) + 10
    paper = int(rng.integers(0, 256))
    ink = paper + int(rng.integers(80, 128)) * (1 if paper < 128 else -1)
    picture = Image.new("L", size, paper)
    ImageDraw.Draw(picture).text((8 - left, 5 - top), text, fill=ink, font=font)
    angle = rng.uniform(-3, 3)
    pixels = np.array(picture.rotate(angle, Image.Resampling.BILINEAR, fillcolor=paper))
    apart = rng.integers(3, 5)  # what lies between the dots shows the paper
    pixels[::apart] = paper
    pixels[:, ::apart] = paper
    if upside_down:
        pixels = pixels[::-1, ::-1]
    width = min(WIDTH, size[0] * HEIGHT // size[1])
    image = np.zeros((3, HEIGHT, WIDTH), np.float32)
    scaled = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, HEIGHT))
    image[:, :, :width] = np.asarray(scaled, np.float32) / 127.5 - 1
    return image


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "tune-out")))
