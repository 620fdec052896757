"""Every codec on every kind of tensor: exact ones to the bit, others within their step."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from jointdnn_tvm.codec.frame import MAX_TENSOR_BYTES
from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor
from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.runtime.dtypes import DTYPES
from tests.hard_arrays import KINDS, SHAPES, Array, bits, hard_array

STEPS = {"u8": 255, "u8-tensor": 255, "u6": 63, "u4": 15}
ON_FLOATS = [name for name, codec in CODECS.items() if "float32" in codec.dtypes]


def check(name: str, array: Array) -> None:
    found = decode_tensor(encode_tensor(name, array))
    assert (found.shape, found.dtype.name) == (array.shape, array.dtype.name)
    if CODECS[name].exact or (name != "f16" and not np.isfinite(array).all()):
        assert bits(found) == bits(array)
        return
    if name == "jpeg":
        return  # `test_picture_file.py` has its error
    exact = array.astype(np.float64)
    if name == "f16":
        allowed = np.abs(exact) * 2.0**-11 + 2.0**-25
    else:
        range_ = exact.max(initial=-np.inf) - exact.min(initial=np.inf)
        ends = np.abs(exact).max(initial=0)
        allowed = np.full(array.shape, range_ / STEPS[name] / 2 * 1.001 + ends * 2.0**-22)
    same = (found == array) | (np.isnan(found) & np.isnan(array))
    with np.errstate(invalid="ignore"):
        assert (same | (np.abs(found - exact) <= allowed)).all()


@pytest.mark.parametrize("name", ON_FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(name: str, kind: str) -> None:
    for seed, shape in enumerate(SHAPES):
        check(name, hard_array(kind, shape, seed))


@pytest.mark.parametrize("name", ON_FLOATS)
def test_memory_in_any_order(name: str) -> None:
    array = hard_array("normal", (1, 40, 30, 16))
    foreign = array.astype(array.dtype.newbyteorder())
    for view in (array[:, ::3, ::-1], array.T, array[..., 3:7], array[:, :0], foreign):
        check(name, view)
    array.flags.writeable = False
    check(name, array)


@pytest.mark.parametrize("name", ["none", "bytes", "planes", "rises", "nibbles"])
def test_other_types(name: str) -> None:
    rng = np.random.default_rng(3)
    for dtype in sorted(DTYPES & CODECS[name].dtypes):
        for shape in SHAPES:
            check(name, np.asarray(rng.integers(0, 5, shape)).astype(dtype))


def test_each_channel_has_its_own_range() -> None:
    array = hard_array("normal", (1, 20, 20, 32)) * np.logspace(-3, 3, 32, dtype=np.float32)
    found = decode_tensor(encode_tensor("u8", array))
    step = (array.max((0, 1, 2)) - array.min((0, 1, 2))) / 255
    assert (np.abs(found - array) <= 0.51 * step).all()
    coarse = decode_tensor(encode_tensor("u8-tensor", array))
    assert np.abs(coarse - array)[..., 0].max() > 100 * step[0]


def test_what_does_not_pay_crosses_as_it_is() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 64, 64, 16), np.uint8)
    assert len(encode_tensor("bytes", noise)) < noise.nbytes + 100
    floats = rng.integers(0, 2**32, (1, 64, 64, 16), np.uint32).view(np.float32)
    assert len(encode_tensor("f32", floats)) < floats.nbytes + 100


@pytest.mark.parametrize(
    ("name", "most"),
    [("f32", 0.9), ("f16", 0.5), ("u8", 0.25), ("u8-tensor", 0.25), ("u6", 0.19), ("u4", 0.126)],
)
def test_smaller_by_what_is_dropped(name: str, most: float) -> None:
    array = hard_array("rectified", (1, 56, 56, 64))
    assert len(encode_tensor(name, array)) < most * array.nbytes


def test_codec_that_is_not_there() -> None:
    with pytest.raises(CodecError, match="there is no codec 'u7'; this version has none, f32"):
        encode_tensor("u7", np.zeros(3, np.float32))
    with pytest.raises(CodecError, match="'u8' is not for tensors of type int64"):
        encode_tensor("u8", np.zeros(3, np.int64))


def sealed(frame: bytes) -> bytes:
    """The frame with the checksum that its content has now."""
    return frame[:4] + struct.pack("<I", zlib.crc32(frame[8:])) + frame[8:]


def mutated(frame: bytes, draw: random.Random) -> bytes:
    changed = bytearray(frame)
    for _ in range(draw.choice([1, 1, 2, 5])):
        kind = draw.randrange(4)
        at = draw.randrange(8, min(len(changed), draw.choice([60, 1 << 20])))
        if kind == 0:
            changed[at] = draw.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del changed[at : at + draw.randint(1, 9)]
        else:
            changed[at:at] = draw.choice([b"\xff" * 8, draw.randbytes(draw.randint(1, 9))])
        if len(changed) < 20:
            break
    return sealed(bytes(changed)) if draw.random() < 0.9 else bytes(changed)


def fuzz(rounds: int, seed: int) -> None:
    """Damaged frames are errors or other small tensors; never a crash, never much memory."""
    cap = 1 << 16
    draw = random.Random(seed)
    floats = [
        hard_array(k, s) for k in ("rectified", "bytes") for s in ((1, 9, 9, 16), (1, 3, 8, 8))
    ]
    frames = [encode_tensor(name, array) for name in ON_FLOATS for array in floats]
    frames.append(encode_tensor("bytes", np.arange(99)))
    indices = np.arange(1296, dtype=np.uint8).reshape(1, 9, 9, 16) % 7
    frames += [encode_tensor(name, indices) for name in ("planes", "rises", "nibbles")]
    tracemalloc.start()
    kept = 0
    for _ in range(rounds):
        try:
            found = decode_tensor(mutated(draw.choice(frames), draw), cap)
        except CodecError:
            continue
        kept += 1
        assert found.nbytes <= cap
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * cap
    assert 0 < kept < rounds


def test_damaged_frames() -> None:
    fuzz(3_000, seed=1)


@pytest.mark.slow
def test_many_damaged_frames() -> None:
    fuzz(100_000, seed=2)


@pytest.mark.parametrize("name", ON_FLOATS)
def test_declared_size_is_capped(name: str) -> None:
    frame = encode_tensor(name, hard_array("rectified", (1, 20, 20, 16)))
    with pytest.raises(CodecError, match="declares 25600 bytes, over the 25599 expected"):
        decode_tensor(frame, 25_599)
    decode_tensor(frame, 25_600)
    claimed = frame.replace(struct.pack("<Q", 20), struct.pack("<Q", 1 << 20))
    assert claimed != frame
    tracemalloc.start()
    with pytest.raises(CodecError, match=f"over the {MAX_TENSOR_BYTES} expected"):
        decode_tensor(sealed(claimed))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24
