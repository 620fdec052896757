"""Inputs from files and seeds, outputs to files, quantiles."""

from __future__ import annotations

import errno
import io
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.cli.tensors import quantiles, random_inputs, read_inputs, write_outputs
from jointdnn_tvm.errors import RunError

SIGNATURE = [
    ("image", (1, 3, 4), "float32"),
    ("ids", (2, 5), "int64"),
    ("mask", (7,), "bool"),
    ("half", (), "float16"),
    ("none", (0, 3), "uint8"),
]


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_random_inputs_fit_the_signature_and_repeat() -> None:
    first, again, other = (random_inputs(SIGNATURE, seed) for seed in (1, 1, 2))
    for name, shape, dtype in SIGNATURE:
        assert (first[name].shape, first[name].dtype.name) == (shape, dtype)
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["image"], other["image"])
    assert len(np.unique(first["image"])) == 12
    assert set(np.unique(first["ids"])) <= {0, 1}


def test_given_inputs_replace_random_ones(tmp_path: Path) -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 4), "float32")
    plain = tmp_path / "image.npy"
    np.save(plain, image)
    inputs = read_inputs(SIGNATURE, [f"image={plain}"], seed=5)
    np.testing.assert_array_equal(inputs["image"], image)
    np.testing.assert_array_equal(inputs["ids"], random_inputs(SIGNATURE, 5)["ids"])
    assert list(inputs) == [name for name, _, _ in SIGNATURE]


def test_names_may_hold_equal_signs(tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    np.save(file, np.zeros(2, "float32"))
    assert read_inputs([("a=b", (2,), "float32")], [f"a=b={file}"])["a=b"].shape == (2,)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("image", "--input 'image' is not NAME=FILE.npy"),
        ("", "--input '' is not NAME=FILE.npy"),
        ("picture=x.npy", "has no input 'picture'; it has image, ids"),
        ("=x.npy", "has no input ''"),
        ("image=/nowhere/x.npy", r"/nowhere/x\.npy is no \.npy file .*\(No such file"),
        ("image=/proc", r"/proc is no \.npy file .*\(Is a directory\)"),
        ("image=", r" is no \.npy file"),
        ("image=a\0b", r"is no \.npy file"),
    ],
)
def test_input_that_is_not_one(given: str, why: str) -> None:
    with pytest.raises(RunError, match=why):
        read_inputs(SIGNATURE, [given])


def _zip() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


WHOLE = npy(np.arange(12, dtype="float32"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"PK\x03\x04 and no more",
        _zip(),
        WHOLE[:5],
        WHOLE[:40],
        WHOLE[:-1],
        WHOLE.replace(b"(12,)", b"(12,"),
        WHOLE.replace(b"(12,)", b"(-1,)"[:5]),
        WHOLE.replace(b"(12,),", b"(10**9"),
        WHOLE.replace(b"'<f4'", b"'|O8'"),
        WHOLE.replace(b"'<f4'", b"'zz9'"),
        WHOLE.replace(b"{", b"["),
        npy(np.zeros((1,))).replace(b"(1,), }" + b" " * 12, b"(" + b"9" * 13 + b",), }"),
    ],
)
def test_file_that_holds_no_array(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"x\.npy is no \.npy file of one array") as caught:
        read_inputs(SIGNATURE, [f"image={file}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(200))
def test_flipped_bytes_in_a_file(tmp_path: Path, seed: int) -> None:
    draw, content = random.Random(seed), bytearray(WHOLE)
    for _ in range(draw.randint(1, 3)):
        content[draw.randrange(128)] = draw.randrange(256)
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    try:
        found = read_inputs(SIGNATURE, [f"image={file}"])["image"]
    except RunError:
        return
    assert found.nbytes <= len(content)


def test_outputs_are_written(tmp_path: Path) -> None:
    outputs = {
        "scores": np.arange(4.0),
        "a/b": np.array(3),
        "a_b": np.array([True]),
        "../../up": np.zeros((0, 2)),
        "...": np.ones(1),
        "": np.ones(2),
    }
    written = write_outputs(tmp_path / "deep" / "out", outputs)
    assert written.keys() == outputs.keys()
    assert len(set(written.values())) == len(outputs)
    for name, file in written.items():
        assert Path(file).resolve().parent == (tmp_path / "deep" / "out").resolve()
        np.testing.assert_array_equal(np.load(file), outputs[name])
    assert len(os.listdir(tmp_path / "deep" / "out")) == len(outputs)


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=r"cannot be written to .*choose another --output"):
            write_outputs(folder, {"x": np.zeros(1)})
    with pytest.raises(RunError, match="File name too long"):
        write_outputs(tmp_path, {"n" * 300: np.zeros(1)})


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101])
def test_quantiles_are_nearest_ranks(count: int) -> None:
    seconds = [index / 7 for index in range(count)]
    random.Random(count).shuffle(seconds)
    ordered = sorted(seconds)
    found = quantiles(seconds)
    assert found == {
        "min": ordered[0],
        **{
            f"p{percent}": ordered[math.ceil(percent * count / 100) - 1] for percent in (50, 90, 99)
        },
    }
    assert list(found.values()) == sorted(found.values())


def test_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(file: Any, array: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_outputs(tmp_path, {"x": np.zeros(3)})
    before = (tmp_path / "x.npy").read_bytes()
    monkeypatch.setattr(np, "save", fill)
    with pytest.raises(RunError, match=r"No space left on device.*another --output"):
        write_outputs(tmp_path, {"x": np.ones(3), "y": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    assert (tmp_path / "x.npy").read_bytes() == before
