"""How long the codecs take on a device: its own clock's word on three tensors.

What compresses well is encoded and decoded sooner, so that a codec takes t = a + b * (bytes of the
tensor) + c * (bytes of its frame).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jointdnn_tvm import codec
from jointdnn_tvm.codec import clock
from jointdnn_tvm.codec.registry import CODECS, NONE, encode_tensor
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import Device
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession

TIME_CODEC = "jointdnn.time_codec"
Probe = tuple[int, float]

_SOURCE = "measured:codec clock"
_PROBES = ((1 << 13, 1.0), (1 << 18, 1.0), (1 << 18, 1 / 64))
"""Small, large, and large but nearly all 0: numbers and share of `codec.clock.probe`."""

_DIRECTIONS = ("encode", "decode")
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Seconds:
    """What encoding or decoding takes, by what goes in and out."""

    fixed_s: float
    s_per_byte: float
    s_per_frame_byte: float

    def at(self, size_bytes: float, frame_bytes: float) -> float:
        """Seconds for a tensor of that size whose frame has so many bytes."""
        return self.fixed_s + self.s_per_byte * size_bytes + self.s_per_frame_byte * frame_bytes


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
                answer = ask(name, *probe, 1e-3 * device.shortest_repeat_ms)
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


def workload(name: str, direction: str, probe: Probe) -> str:
    """The key of a measurement."""
    count, share = probe
    return f"{direction} {count} numbers by {name}, {share:.0%} not 0"


def probe_bytes(name: str) -> dict[Probe, int]:
    """The bytes of the tensors on which a codec is timed."""
    itemsize = 4 if "float32" in CODECS[name].dtypes else 1
    return {probe: itemsize * probe[0] for probe in _PROBES}


@cache
def _frame_bytes(name: str) -> tuple[int, ...]:
    """The bytes of their frames."""
    return tuple(len(encode_tensor(name, clock.probe(name, *probe))) for probe in _PROBES)


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
    """Through the three times; nothing in it is negative."""
    small_s, large_s, sparse_s = (
        measurements[workload(name, direction, probe)].latency_s or 0.0 for probe in _PROBES
    )
    small, large, _ = probe_bytes(name).values()
    in_small, in_large, in_sparse = _frame_bytes(name)
    per_frame_byte = max(0.0, (large_s - sparse_s) / (in_large - in_sparse))
    rest_s = large_s - small_s - per_frame_byte * (in_large - in_small)
    per_byte = max(0.0, rest_s / (large - small))
    fixed_s = small_s - per_byte * small - per_frame_byte * in_small
    return Seconds(max(0.0, fixed_s), per_byte, per_frame_byte)
