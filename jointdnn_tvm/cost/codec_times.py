"""How long the codecs take on a device: its own clock's word on two tensors of usual numbers.

A codec takes t = a + b * effort * (bytes of the tensor). The effort is the tensor's, and no
function of how small it gets: numbers that are half 0 may take a compressor twice as long as those
without a 0, whose last bits it leaves alone. It is measured on this machine, see `encoding_effort`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
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
_PROBES = (1 << 13, 1 << 18)
"""Numbers of `codec.clock.probe`."""

_DIRECTIONS = ("encode", "decode")
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Seconds:
    """What encoding or decoding takes: a line, of usual numbers."""

    fixed_s: float
    s_per_byte: float

    @classmethod
    def through(cls, sizes_bytes: Sequence[int], seconds: Sequence[float]) -> Seconds:
        """The line through a small and a large tensor; nothing in it is negative."""
        (small, large), (small_s, large_s) = sizes_bytes, seconds
        s_per_byte = max(0.0, (large_s - small_s) / (large - small))
        return cls(max(0.0, small_s - s_per_byte * small), s_per_byte)

    def at(self, size_bytes: float, effort: float = 1.0) -> float:
        """Seconds for a tensor of that size whose bytes take so many times the usual."""
        return self.fixed_s + self.s_per_byte * effort * size_bytes

    def effort(self, size_bytes: float, seconds: float) -> float:
        """The effort of a tensor of that size which took so long; 1 where that cannot be told."""
        usual_s = self.s_per_byte * size_bytes
        return max(0.0, seconds - self.fixed_s) / usual_s if usual_s else 1.0


@dataclass(frozen=True)
class Effort:
    """What a byte of a tensor takes, in bytes of usual numbers."""

    encode: float
    decode: float


USUAL = Effort(1.0, 1.0)


@dataclass(frozen=True)
class CodecTime:
    """What a codec takes on one device."""

    encode: Seconds
    decode: Seconds


def codec_workloads() -> list[str]:
    """What is timed of every codec, as the keys of measurements."""
    return [key for name in timed_codecs() for key in _workloads_of(name)]


def measure_codecs(session: RemoteSession, device: Device) -> dict[str, Measurement]:
    """The times of `codec_workloads` on a device; none where its server has no codecs.

    A codec that it lacks is a measurement that failed.
    """
    if not session.has_function(TIME_CODEC):
        return {}
    ask = session.function(TIME_CODEC)
    emulated = "" if device.slowdown == 1 else f" emulated slowdown {device.slowdown:g}x"
    found = {}
    for name in timed_codecs():
        for probe in _PROBES:
            with session.deadline(_DEADLINE_S, f"timing codec {name}"):
                answer = ask(name, probe, 1e-3 * device.shortest_repeat_ms)
            for direction, latency_s in zip(_DIRECTIONS, _two_times(answer, session), strict=True):
                time = Measurement(latency_s, 0.0, 1, None, _SOURCE + emulated)
                if latency_s is None:
                    time = Measurement.failure("the device lacks the codec", _SOURCE)
                found[workload(name, direction, probe)] = time
    return found


def codec_times(measurements: Mapping[str, Measurement]) -> dict[str, CodecTime]:
    """The codecs' times, of those that were measured."""
    return {
        name: CodecTime(*(_seconds(name, d, measurements) for d in _DIRECTIONS))
        for name in timed_codecs()
        if all(_is_known(measurements.get(key)) for key in _workloads_of(name))
    }


@cache
def codecs_digest() -> str:
    """Hash of the codecs' own code: other code takes another time."""
    digest = hashlib.sha256()
    for path in sorted(Path(codec.__path__[0]).rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def timed_codecs() -> list[str]:
    """The codecs that take time."""
    return [name for name in CODECS if name != NONE]


def _workloads_of(name: str) -> list[str]:
    return [workload(name, direction, probe) for direction in _DIRECTIONS for probe in _PROBES]


def _is_known(measurement: Measurement | None) -> bool:
    return measurement is not None and measurement.latency_s is not None


def workload(name: str, direction: str, count: int) -> str:
    """The key of a measurement."""
    return f"{direction} {count} numbers by {name}"


def probe_bytes(name: str) -> dict[int, int]:
    """The bytes of the tensors on which a codec is timed, by their numbers."""
    itemsize = 4 if "float32" in CODECS[name].dtypes else 1
    return {count: itemsize * count for count in _PROBES}


def _two_times(answer: object, session: RemoteSession) -> tuple[float, float] | tuple[None, None]:
    try:
        seconds = json.loads(str(answer))
        if seconds is None:
            return None, None
        encode_s, decode_s = (float(number) for number in seconds)
    except (TypeError, ValueError) as error:
        raise DeviceError(f"{session} does not time codecs as it should ({error})") from error
    return encode_s, decode_s


def _seconds(name: str, direction: str, measurements: Mapping[str, Measurement]) -> Seconds:
    sizes = probe_bytes(name)
    keys = [workload(name, direction, count) for count in sizes]
    return Seconds.through([*sizes.values()], [measurements[key].latency_s or 0.0 for key in keys])
