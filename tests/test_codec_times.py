"""Codecs timed on devices, and the lines through their times."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from jointdnn_tvm import codec
from jointdnn_tvm.codec.clock import probe
from jointdnn_tvm.codec.registry import CODECS, NONE
from jointdnn_tvm.cost import codec_times as subject
from jointdnn_tvm.cost.codec_times import (
    Seconds,
    codec_times,
    codec_workloads,
    measure_codecs,
)
from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession, connect
from tests.deployment import DeviceServerKind

Answer = Callable[[str, int], object]


class Clock:
    """Stands for a session with a device that says what its clock said."""

    def __init__(self, answer: Answer) -> None:
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


def measured(answer: Answer, slowdown: float = 1.0) -> dict[str, Any]:
    session = cast(RemoteSession, Clock(answer))
    return dict(measure_codecs(session, Device("it", slowdown=slowdown)))


def test_the_line_of_which_times_were_made() -> None:
    def seconds(name: str, count: int) -> str:
        encode_s = 1e-4 + 2e-9 * probe(name, count).nbytes
        return json.dumps([encode_s, 2 * encode_s])

    times = codec_times(measured(seconds))
    assert times.keys() == CODECS.keys() - {NONE}
    for time in times.values():
        assert time.encode.at(4000) == pytest.approx(1e-4 + 8e-6, 1e-2)
        assert time.encode.at(4000, effort=3.0) == pytest.approx(1e-4 + 24e-6, 1e-2)
        assert time.decode.at(0) == pytest.approx(2e-4, 1e-2)


def test_no_time_is_negative() -> None:
    noisy = codec_times(measured(lambda name, count: json.dumps([5 / count, 5 / count])))
    assert noisy["u8"].encode.s_per_byte == 0
    assert noisy["u8"].encode.at(0) == 5 / (1 << 13)
    steep = codec_times(measured(lambda name, count: json.dumps([count**2, count**2])))
    assert steep["u8"].encode.fixed_s == 0


def test_effort_is_what_makes_the_time() -> None:
    line = Seconds(1e-4, 2e-9)
    for effort in (0.25, 1.0, 7.0):
        assert line.effort(4000, line.at(4000, effort)) == pytest.approx(effort)
    assert line.effort(4000, 0.5e-4) == 0
    assert line.effort(0, 1e-3) == Seconds(1e-4, 0.0).effort(4000, 1e-3) == 1


def test_a_codec_that_the_device_lacks() -> None:
    found = measured(lambda name, count: "null" if name == "jpeg" else "[1, 1]")
    assert found.keys() == set(codec_workloads())
    assert codec_times(found).keys() == CODECS.keys() - {NONE, "jpeg"}


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
    with serve_device(tmp_path) as (_, address), connect(address, deadline_s=20) as session:
        found = measure_codecs(session, describe_device(session))
    assert found.keys() == set(codec_workloads())
    known = codec_times(found).keys()
    assert known == CODECS.keys() - ({NONE} if serve_device.is_python else {NONE, "jpeg"})


def test_digest_changes_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "__path__", [str(tmp_path)])
    digests = set()
    for text in ("one", "other"):
        (tmp_path / "half.py").write_text(text)
        digests.add(subject.codecs_digest.__wrapped__())
    assert len(digests) == 2
