"""Codecs timed on devices, and the lines through their times."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from jointdnn_tvm import codec
from jointdnn_tvm.codec.registry import CODECS, NONE
from jointdnn_tvm.cost import codec_times as subject
from jointdnn_tvm.cost.codec_times import codec_times, codec_workloads, measure_codecs
from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from tests.deployment import DeviceServerKind


class Clock:
    """Stands for a session with a device that says what its clock said."""

    def __init__(self, answer: Callable[[str, int], object]) -> None:
        self._answer = answer

    def has_function(self, name: str) -> bool:
        return name == subject.TIME_CODEC

    def function(self, name: str) -> Callable[..., object]:
        return lambda codec, count, shortest_s: self._answer(codec, count)

    @contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        yield

    def __str__(self) -> str:
        return "device somewhere:1"


def measured(answer: Callable[[str, int], object], slowdown: float = 1.0) -> dict[str, Any]:
    session = cast(RemoteSession, Clock(answer))
    return dict(measure_codecs(session, Device("it", slowdown=slowdown)))


def test_times_lie_on_a_line() -> None:
    times = codec_times(measured(lambda name, count: json.dumps([1 + count, 2 * count])))
    assert times.keys() == CODECS.keys() - {NONE}
    assert times["f32"].encode.at(4000) == pytest.approx(1001)
    assert times["f32"].decode.at(4000) == pytest.approx(2000)
    assert times["bytes"].decode.at(4000) == pytest.approx(8000)


def test_no_time_is_negative() -> None:
    noisy = codec_times(measured(lambda name, count: json.dumps([5 / count, 5 / count])))
    assert noisy["u8"].encode.s_per_byte == 0
    assert noisy["u8"].encode.at(0) == 5 / (1 << 18)
    steep = codec_times(measured(lambda name, count: json.dumps([count**2, count**2])))
    assert steep["u8"].encode.fixed_s == 0


def test_emulated_times_say_so() -> None:
    found = measured(lambda name, count: "[1, 1]", slowdown=3)
    assert {m.source for m in found.values()} == {"measured:codec clock emulated slowdown 3x"}
    assert found.keys() == set(codec_workloads())


@pytest.mark.parametrize("answer", ["", "[1]", "[1, null]", '["a", 1]', "{}", "7"])
def test_nonsense(answer: str) -> None:
    with pytest.raises(DeviceError, match="device somewhere:1 does not time codecs as it should"):
        measured(lambda name, count: answer)


def test_nothing_was_measured() -> None:
    assert codec_times({}) == {}


def test_device_server(serve_device: DeviceServerKind, tmp_path: Path) -> None:
    """The one in Python times its codecs; the one in C++ has none."""
    with serve_device(tmp_path) as (_, address), connect(address, deadline_s=20) as session:
        found = measure_codecs(session, describe_device(session))
    if serve_device.is_python:
        assert found.keys() == set(codec_workloads())
        assert all(m.latency_s and m.latency_s > 0 for m in found.values())
    else:
        assert found == {}


def test_digest_changes_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "__path__", [str(tmp_path)])
    digests = set()
    for text in ("one", "other"):
        (tmp_path / "half.py").write_text(text)
        digests.add(subject.codecs_digest.__wrapped__())
    assert len(digests) == 2
