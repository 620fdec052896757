"""Zstandard: the declared size is checked before it is believed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zstandard

from jointdnn_tvm.codec.compression import compress, decompress
from jointdnn_tvm.errors import CodecError


def test_there_and_back() -> None:
    data = np.random.default_rng(0).integers(0, 9, 100_000, np.uint8)
    packed = compress(data)
    assert len(packed) < 0.5 * data.nbytes
    assert zstandard.decompress(packed) == data.tobytes()
    np.testing.assert_array_equal(decompress(packed, data.size), data)


def test_nothing() -> None:
    assert decompress(compress(b""), 0).size == 0


def test_other_size() -> None:
    with pytest.raises(CodecError, match="does not hold 11 bytes"):
        decompress(compress(b"ten bytes!"), 11)


def test_size_that_is_not_told() -> None:
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(b"ten bytes!")
    with pytest.raises(CodecError, match="does not hold 10 bytes"):
        decompress(packed, 10)


@pytest.mark.parametrize(
    "packed", [b"", b"no zstd", compress(b"abc" * 99)[:-3], compress(b"a") * 2]
)
def test_damage(packed: bytes) -> None:
    with pytest.raises(CodecError, match="payload"):
        decompress(packed, 297 if len(packed) > 20 else 1)


def test_threads_do_not_disturb_each_other() -> None:
    def work(seed: int) -> bool:
        data = np.random.default_rng(seed).integers(0, 20, 30_000, np.uint8)
        return all(np.array_equal(decompress(compress(data), data.size), data) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
