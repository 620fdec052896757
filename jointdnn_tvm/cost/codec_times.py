"""How long the codecs take on a device: its own clock's word on a small and a large tensor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jointdnn_tvm import codec
from jointdnn_tvm.codec.registry import CODECS, NONE
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import Device
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession

TIME_CODEC = "jointdnn.time_codec"
_SOURCE = "measured:codec clock"
_COUNTS = (1 << 13, 1 << 18)  # numbers in the two tensors
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Line:
    """Seconds over bytes of the plain tensor."""

    fixed_s: float
    s_per_byte: float

    def at(self, size_bytes: float) -> float:
        """Seconds for a tensor of that size."""
        return self.fixed_s + self.s_per_byte * size_bytes


@dataclass(frozen=True)
class CodecTime:
    """What a codec takes on one device."""

    encode: Line
    decode: Line


def codec_workloads() -> list[str]:
    """What is timed of every codec, as the keys of measurements."""
    return [_workload(n, d, c) for n in _timed() for d in ("encode", "decode") for c in _COUNTS]


def measure_codecs(session: RemoteSession, device: Device) -> dict[str, Measurement]:
    """The times of `codec_workloads` on a device; none where its server has no codecs."""
    if not session.has_function(TIME_CODEC):
        return {}
    ask = session.function(TIME_CODEC)
    emulated = "" if device.slowdown == 1 else f" emulated slowdown {device.slowdown:g}x"
    found = {}
    for name in _timed():
        for count in _COUNTS:
            with session.deadline(_DEADLINE_S, f"timing codec {name}"):
                seconds = _two_times(ask(name, count, 1e-3 * device.shortest_repeat_ms), session)
            for direction, latency_s in zip(("encode", "decode"), seconds, strict=True):
                time = Measurement(latency_s, 0.0, 1, None, _SOURCE + emulated)
                found[_workload(name, direction, count)] = time
    return found


def codec_times(measurements: Mapping[str, Measurement]) -> dict[str, CodecTime]:
    """The codecs' times, on lines through the two sizes; none without their measurements."""
    if not measurements:
        return {}
    return {
        name: CodecTime(*(_line(name, d, measurements) for d in ("encode", "decode")))
        for name in _timed()
    }


@cache
def codecs_digest() -> str:
    """Hash of the codecs' own code: other code takes another time."""
    digest = hashlib.sha256()
    for path in sorted(Path(codec.__path__[0]).rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _timed() -> list[str]:
    return [name for name in CODECS if name != NONE]


def _workload(name: str, direction: str, count: int) -> str:
    return f"{direction} {count} numbers by {name}"


def _two_times(answer: object, session: RemoteSession) -> tuple[float, float]:
    try:
        encode_s, decode_s = (float(number) for number in json.loads(str(answer)))
    except (TypeError, ValueError) as error:
        raise DeviceError(f"{session} does not time codecs as it should ({error})") from error
    return encode_s, decode_s


def _line(name: str, direction: str, measurements: Mapping[str, Measurement]) -> Line:
    small_s, large_s = (measurements[_workload(name, direction, c)].latency_s for c in _COUNTS)
    assert small_s is not None, "measured"
    assert large_s is not None, "measured"
    itemsize = 4 if "float32" in CODECS[name].dtypes else 1
    small, large = (itemsize * count for count in _COUNTS)
    slope = max(0.0, (large_s - small_s) / (large - small))
    return Line(max(0.0, large_s - slope * large), slope)
