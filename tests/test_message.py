"""Messages of a crossing: round trips, and damage that is an error and never an allocation."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.codec.registry import decode_tensor, encode_tensor
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.dtypes import DTYPES
from jointdnn_tvm.runtime.message import decode, encode

HEADER = {"request": 3, "stage": "stage_1_cloud", "wanted": ["t", "ü"], "last": True}


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    shapes: list[tuple[int, ...]] = [(), (3,), (0, 4), (2, 3, 5)]
    return {
        f"{dtype}{i}": np.array(rng.integers(-9, 9, shape)).astype(dtype)
        for dtype in sorted(DTYPES)
        for i, shape in enumerate(shapes)
    }


def message(text: Any, data: bytes = b"") -> bytes:
    raw = text if isinstance(text, bytes) else json.dumps(text).encode()
    return b"JDM1" + len(raw).to_bytes(4, "little") + raw + data


def one(dtype: Any, shape: Any, data: bytes = bytes(16)) -> bytes:
    return message({"header": {}, "tensors": [["t", dtype, shape]]}, data)


def test_round_trip() -> None:
    sent = tensors()
    header, found = decode(encode(HEADER, sent))
    assert header == HEADER
    assert list(found) == list(sent)
    for name, array in sent.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_frames_cross_as_they_are() -> None:
    array = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float32)
    frame = encode_tensor("u8", array)
    _, found = decode(encode({}, {"first": frame, "second": array}, {"first": "f32"}))
    np.testing.assert_array_equal(found["first"], decode_tensor(frame))
    np.testing.assert_array_equal(found["second"], array)


def test_round_trip_of_nothing() -> None:
    assert decode(encode({}, {})) == ({}, {})


def test_arrays_in_any_memory_order() -> None:
    array = np.random.default_rng(1).standard_normal((4, 6))
    _, found = decode(encode({}, {"turned": array.T, "part": array[1:, ::2]}))
    np.testing.assert_array_equal(found["turned"], array.T)
    np.testing.assert_array_equal(found["part"], array[1:, ::2])


def test_tensors_with_codecs() -> None:
    sent = {
        "a": np.arange(999, dtype="float32"),
        "b": np.arange(5),
        "c": np.zeros((0, 3), "float32"),
    }
    codecs = {"a": "u8", "b": "bytes", "c": "f32", "elsewhere": "u4"}
    packed = encode(HEADER, sent, codecs)
    header, found = decode(packed)
    assert (header, list(found)) == (HEADER, list(sent))
    assert len(packed) < sum(a.nbytes for a in sent.values()) / 2
    np.testing.assert_allclose(found["a"], sent["a"], atol=0.51 * 998 / 255)
    np.testing.assert_array_equal(found["b"], sent["b"])
    assert found["c"].shape == (0, 3)


def test_frames_of_one_message_share_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = {str(i): np.zeros(1000, "float32") for i in range(3)}
    packed = encode({}, zeros, dict.fromkeys(zeros, "f32"))
    monkeypatch.setattr("jointdnn_tvm.runtime.message.MAX_TENSOR_BYTES", 12_000)
    decode(packed)
    monkeypatch.setattr("jointdnn_tvm.runtime.message.MAX_TENSOR_BYTES", 11_999)
    with pytest.raises(RunError, match="declares 4000 bytes, over the 3999 expected"):
        decode(packed)


def test_received_tensors_are_views() -> None:
    received = encode({}, {"t": np.arange(9)})
    _, found = decode(received)
    assert not found["t"].flags.writeable
    assert np.shares_memory(found["t"], np.frombuffer(received, "uint8"))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"J",
        b"JDM1",
        b"JDM2" + encode({}, {})[4:],
        b"JDM1\xff\xff\xff\xff{}",
        message(b""),
        message(b"{"),
        message(b"\xff\xfe\xfa\xfb"),
        message(b"[" * 200_000),
        message([]),
        message(None),
        message({"header": {}}),
        message({"tensors": []}),
        message({"header": 5, "tensors": []}),
        message({"header": {}, "tensors": 5}),
        message({"header": {}, "tensors": [5]}),
        message({"header": {}, "tensors": [["t", "float32"]]}),
        message({"header": {}, "tensors": []}, b"more"),
        message({"header": {}, "tensors": [["t", 4]]}, b"none"),
        message({"header": {}, "tensors": [["t", 5]]}, b"none"),
        message({"header": {}, "tensors": [["t", -1]]}, b"none"),
        message({"header": {}, "tensors": [["t", "4"]]}, b"none"),
        message({"header": {}, "tensors": [["t"]]}),
        message({"header": {}, "tensors": [["t", 0.0]]}),
        message({"header": {}, "tensors": [["t", "float32", [1], 4]]}, bytes(4)),
        one("float32", [5]),
        one("float32", [3]),
        one("float32", [-4]),
        one("float32", [-2, -2]),
        one("float32", None),
        one("float32", 4),
        one("float32", [4.0]),
        one("float32", ["4"]),
        one("float32", [float("inf")]),
        one("float32", [10**30]),
        one("float32", [0, 10**30], b""),
        one("float32", [1] * 99, bytes(4)),
        one("object", [2]),
        one("O", [2]),
        one("V8", [2]),
        one("S0", [2]),
        one("float33", [4]),
        one("f4,f4", [2]),
        one(None, [4]),
        one(["float32"], [4]),
    ],
)
def test_damage_is_an_error(damaged: bytes) -> None:
    with pytest.raises(RunError, match=f"a message of {len(damaged)} bytes is damaged"):
        decode(damaged)


def test_declared_sizes_allocate_nothing() -> None:
    huge = one("float64", [1 << 40], bytes(64))
    tracemalloc.start()
    with pytest.raises(RunError, match="cut short"):
        decode(huge)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("seed", range(300))
def test_flipped_bytes_are_an_error_or_another_message(seed: int) -> None:
    draw = random.Random(seed)
    sent = {"a": np.arange(5), "b": np.ones((2, 3), "float32"), "c": np.ones(9, "float32")}
    content = bytearray(encode(HEADER, sent, {"c": "f32"}))
    for _ in range(draw.randint(1, 4)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    cut = content[: draw.choice([len(content), draw.randrange(len(content))])]
    try:
        _, found = decode(bytes(cut))
    except RunError:
        return
    assert sum(a.nbytes for name, a in found.items() if name != "c") <= len(cut)
