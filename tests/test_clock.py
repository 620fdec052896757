"""Times of codecs: of all of them, and by a clock that can be checked."""

from __future__ import annotations

import pytest

from jointdnn_tvm.codec import clock
from jointdnn_tvm.codec.frame import read_frame
from jointdnn_tvm.codec.registry import CODECS, NONE, encode_tensor
from jointdnn_tvm.errors import CodecError


@pytest.mark.parametrize("name", sorted(CODECS.keys() - {NONE}))
def test_every_codec_has_a_time(name: str) -> None:
    encode_s, decode_s = clock.time_codec(name, 1 << 12, 0.0)
    assert encode_s > 0
    assert decode_s > 0


@pytest.mark.parametrize("name", sorted(CODECS.keys() - {NONE}))
def test_probes_are_of_the_codecs_kind(name: str) -> None:
    """They are encoded by the codec itself, and get smaller."""
    probe = clock.probe(name, 1 << 14)
    frame = encode_tensor(name, probe)
    assert read_frame(frame).codec == name
    assert len(frame) < 0.9 * probe.nbytes


def test_unknown_codec() -> None:
    with pytest.raises((CodecError, KeyError)):
        clock.time_codec("u7", 1 << 12, 0.0)


def test_calls_are_repeated_until_they_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that moves by a quarter of a second a call, each lasts that long."""
    now = 0.0
    calls = 0

    def call() -> None:
        nonlocal now, calls
        now += 0.25
        calls += 1

    monkeypatch.setattr("time.perf_counter", lambda: now)
    assert clock._repeat(call, 0.9) == 0.25
    assert calls == 5  # the first is not counted
