"""How long codecs should take on a processor that is not at hand: so many cycles a byte."""

from __future__ import annotations

from jointdnn_tvm.cost.codec_times import probe_bytes, timed_codecs, workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.targets import TargetProfile

SOURCE = "model:cycles of codecs"

_CYCLES = {
    "f32": (5.9, 2.5),
    "bytes": (4.0, 1.5),
    "planes": (6.2, 3.2),
    "rises": (6.5, 4.5),
    "nibbles": (5.5, 4.0),
    "pixels": (7.0, 3.0),
    "f16": (6.0, 2.7),
    "u8": (2.2, 1.3),
    "u8-tensor": (2.2, 1.3),
    "u6": (2.2, 1.3),
    "u4": (1.8, 1.2),
    "jpeg": (3.0, 2.5),
}
"""A byte of the tensor, to encode and to decode it, of one x86-64 core."""

_FIXED_CYCLES = 1e5
_GPUS_HOST_HZ = 2.5e9


def model_codecs(profile: TargetProfile) -> dict[str, Measurement]:
    """Estimates in place of `codec_times.measure_codecs`; beside a GPU codecs run on its host."""
    clock_hz = profile.clock_hz if profile.kind == "cpu" else _GPUS_HOST_HZ
    return {
        workload(name, direction, probe): Measurement(
            (_FIXED_CYCLES + cycles * size_bytes) / clock_hz, 0.0, 0, None, SOURCE
        )
        for name in timed_codecs()
        for direction, cycles in zip(("encode", "decode"), _CYCLES[name], strict=True)
        for probe, size_bytes in probe_bytes(name).items()
    }
