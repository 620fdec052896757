"""Problems with limits, codecs and streams, made from one that has none: each limit binds.

A limit lies half-way between what the best plan without limits takes and the least that any
plan takes, so that it forbids the former and allows the latter. All of these at once often clash;
"all, met" raises each to what the plan for the cloud's limit takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from jointdnn_tvm.placement import (
    Codec,
    Limits,
    Problem,
    SideSeconds,
    Tensor,
    all_baselines,
    evaluate,
    solve,
)

# Of a codec: its share of the bytes, bytes/s to encode or decode on each side, and its error.
_CODECS = {
    "int8": (0.25, SideSeconds(0.4e9, 4e9), 1.0),
    "lossless": (0.8, SideSeconds(0.2e9, 2e9), 0.0),
}


KINDS = (
    "max_energy_j",
    "max_cloud_s",
    "max_mobile_bytes",
    "max_mobile_peak_bytes",
    "max_latency_s",
    "all, met",
    "all, clashing",
    "codecs",
    "throughput",
)


def limited_problems(problem: Problem) -> Iterator[tuple[str, Problem]]:
    """Problems by the name of what limits them; less those that nothing would limit."""
    fast, frugal = solve(problem), solve(replace(problem, objective="energy"))
    ends = all_baselines(problem).values()
    limits = {
        "max_energy_j": (fast.energy_j, frugal.energy_j),
        "max_cloud_s": (fast.cloud_s, 0.0),
        "max_mobile_bytes": (fast.mobile_bytes, 0.0),
        "max_mobile_peak_bytes": (
            fast.mobile_peak_bytes, min(end.mobile_peak_bytes for end in ends),
        ),
    }  # fmt: skip
    middles = {name: (most + least) / 2 for name, (most, least) in limits.items() if least < most}
    for name, value in middles.items():
        yield name, replace(problem, limits=Limits(**{name: value}))
    if fast.latency_s < frugal.latency_s:
        deadline_s = (fast.latency_s + frugal.latency_s) / 2
        yield (
            "max_latency_s",
            replace(problem, objective="energy", limits=Limits(max_latency_s=deadline_s)),
        )
    yield "all, clashing", replace(problem, limits=Limits(**middles))
    allowed = solve(replace(problem, limits=Limits(max_cloud_s=middles.get("max_cloud_s"))))
    takes = evaluate(problem, allowed.placement)
    met = {name: max(value, takes.limited(name)) for name, value in middles.items()}
    yield "all, met", replace(problem, limits=Limits(**met))
    encoded = replace(problem, tensors=tuple(map(_with_codecs, problem.tensors)))
    error = solve(encoded).error
    if error:
        yield "codecs", replace(encoded, limits=Limits(max_error=error / 2))
    yield "throughput", replace(problem, objective="throughput")


def _with_codecs(tensor: Tensor) -> Tensor:
    codecs = (
        Codec(name, share * tensor.size_bytes, taken, taken, error)
        for name, (share, rate, error) in _CODECS.items()
        for taken in [SideSeconds(tensor.size_bytes / rate.mobile, tensor.size_bytes / rate.cloud)]
    )
    return replace(tensor, codecs=tuple(codecs))
