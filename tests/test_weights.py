"""Weights files: what is written is read, by others too, and damage is an error."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.dtypes import DTYPES
from jointdnn_tvm.runtime.weights import PADDING, map_weights, write_weights

Array = np.ndarray[Any, Any]

SHAPES: list[tuple[int, ...]] = [
    (),
    (1,),
    (3,),
    (7, 5),
    (0,),
    (2, 0, 3),
    (64,),
    (1, 3, 5, 2),
    (0, 0),
]


def every_kind() -> dict[str, Array]:
    """Every type in every shape, in an order that leaves every kind of gap."""
    rng = np.random.default_rng(7)
    arrays = {
        f"{dtype}_{i}": np.array(rng.integers(-40, 40, shape)).astype(dtype)
        for dtype in sorted(DTYPES)
        for i, shape in enumerate(SHAPES)
    }
    names = list(arrays)
    random.Random(3).shuffle(names)
    return {name: arrays[name] for name in names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mobile.safetensors"


def check_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_round_trip(path: Path) -> None:
    arrays = every_kind()
    write_weights(path, arrays)
    check_same(map_weights(path), arrays)


def test_order_is_kept(path: Path) -> None:
    arrays = every_kind()
    write_weights(path, arrays)
    assert list(map_weights(path)) == list(arrays)


def test_arrays_are_aligned_views_that_may_be_written(path: Path) -> None:
    write_weights(path, every_kind())
    before = path.read_bytes()
    for array in map_weights(path).values():
        assert array.ctypes.data % 64 == 0 or array.size == 0
        assert array.flags.writeable
        assert not array.flags.owndata
        array[...] = 1
    assert path.read_bytes() == before


def test_safetensors_reads_the_same(path: Path) -> None:
    arrays = every_kind()
    write_weights(path, arrays)
    found = safetensors.numpy.load_file(path)
    check_same({n: a for n, a in found.items() if not n.startswith(PADDING)}, arrays)


def test_what_safetensors_writes_is_read(path: Path) -> None:
    arrays = every_kind()
    safetensors.numpy.save_file(arrays, path, {"format": "np"})
    check_same(map_weights(path), arrays)


def test_no_weights(path: Path) -> None:
    write_weights(path, {})
    assert map_weights(path) == {}


def test_arrays_in_any_memory_order(path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((6, 4, 5)).astype("float32")
    arrays = {"turned": array.T, "every_other": array[::2], "backwards": array[..., ::-1]}
    write_weights(path, arrays)
    check_same(map_weights(path), arrays)


@pytest.mark.parametrize("dtype", ["complex64", ">f4", "U3", "object"])
def test_types_that_cannot_be_stored(path: Path, dtype: str) -> None:
    with pytest.raises(BundleError, match="weight 'w' has type"):
        write_weights(path, {"w": np.zeros(3).astype(dtype)})
    assert not path.exists()


def damaged(header: Any, data: bytes = bytes(64)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        bytes(7),
        (2**63).to_bytes(8, "little") + b"{}",
        (3).to_bytes(8, "little") + b"{}",
        damaged(b"{"),
        damaged(b"\xff\xfe\xfa"),
        damaged(b"[" * 100_000),
        damaged([1, 2]),
        damaged("text"),
        damaged(None),
        damaged({"w": None}),
        damaged({"w": [1]}),
        damaged({"w": {}}),
        damaged(entry("F31")),
        damaged(entry(None)),
        damaged(entry(["F32"])),
        damaged(entry(shape=None)),
        damaged(entry(shape=5)),
        damaged(entry(shape=("a",))),
        damaged(entry(shape=(5,))),
        damaged(entry(shape=(-4,))),
        damaged(entry(shape=(-2, -2))),
        damaged(entry(shape=(float("inf"),))),
        damaged(entry(shape=(float("nan"),))),
        damaged(entry(shape=(10**30,))),
        damaged(entry(shape=(0, 10**30), offsets=(0, 0))),
        damaged(entry(shape=(1,) * 100, offsets=(0, 4))),
        damaged(entry(offsets=(0,))),
        damaged(entry(offsets=(0, 1, 2))),
        damaged(entry(offsets=(16, 0))),
        damaged(entry(offsets=(-16, 0))),
        damaged(entry(offsets=(56, 72))),
        damaged(entry(offsets=(10**20, 10**20 + 16))),
        damaged(entry(offsets=(0, 10**400))),
        damaged(entry(), data=bytes(8)),
    ],
)
def test_damage_is_an_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"mobile\.safetensors is no weights file, or damaged"):
        map_weights(path)


def test_missing_file_is_an_error(path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot be read \(No such file"):
        map_weights(path)


@pytest.mark.parametrize("seed", range(300))
def test_flipped_bytes_are_an_error_or_other_weights(path: Path, seed: int) -> None:
    arrays = {"a": np.arange(5, dtype="int16"), "b": np.ones((2, 3), "float32")}
    write_weights(path, arrays)
    draw, content = random.Random(seed), bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 4)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
    try:
        found = map_weights(path)
    except BundleError:
        return
    assert sum(a.nbytes for a in found.values()) <= len(content)
    for array in found.values():
        array.tobytes()  # it can be read to its end
