"""Time the workloads of compiled libraries on a device, one after the other, come what may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jointdnn_tvm.cost.bench import Bench, EvaluatorConfig, Workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import Device
from jointdnn_tvm.runtime.remote import RemoteSession

DRIFT = 0.05
"""A device whose speed changes by more does not run as it did when measuring began."""

_CHECKS = 2


@dataclass(frozen=True)
class Batch:
    """Functions of one library that are timed in a row."""

    library: Path
    workloads: Sequence[Workload]


def measure(
    batches: Iterable[Batch],
    connect: Callable[[], RemoteSession],
    device_kind: str,
    record: Callable[[Workload, Measurement, Device], None],
    config: EvaluatorConfig | None = None,
    deadline_s: float = 120.0,
) -> float:
    """Time every workload on a device and hand each result to `record` at once.

    `connect` opens a session; it is called again when one was lost, so that a device that is gone
    is waited for, or another of its kind takes its place. A workload may take a session down twice
    before that counts as its own failure. `device_kind` is that of the target, such as ``cpu`` or
    ``cuda``. `deadline_s` bounds each workload.

    Between the batches the first workload is timed again: returns the largest change of its time,
    as a share of the first, such as 0.1 for a device that got 10 % slower.

    DeviceError when no session can be had, CostError when a library does not load.
    """
    bench = Bench(connect, device_kind, config or EvaluatorConfig())
    reference = Reference()
    try:
        for batch in batches:
            for workload in batch.workloads:
                measurement = _measure(bench, batch.library, workload, deadline_s)
                record(workload, measurement, bench.device)
                reference.offer(bench.device, batch.library, workload, measurement)
            reference.check(bench, deadline_s)
    finally:
        bench.close()
    return reference.drift


def _measure(bench: Bench, library: Path, workload: Workload, deadline_s: float) -> Measurement:
    measurement = bench.measure(library, workload, deadline_s)
    if not bench.alive:  # its own fault, or the device's? A second chance tells
        bench.reopen()
        measurement = bench.measure(library, workload, deadline_s)
        if not bench.alive:
            bench.reopen()
    return measurement


class Reference:
    """One workload that is timed again and again: does the device still run as it did at first?

    A phone that gets hot slows down, and so does a device that others use.
    """

    def __init__(self) -> None:
        self.drift = 0.0
        self._first: tuple[Device, Path, Workload, float] | None = None

    def offer(
        self, device: Device, library: Path, workload: Workload, measurement: Measurement
    ) -> None:
        """Take it when it is steady and there is none yet for this device."""
        if measurement.latency_s is None or not measurement.steady:
            return
        if self._first is None or self._first[0] != device:
            self._first = device, library, workload, measurement.latency_s

    def check(self, bench: Bench, deadline_s: float) -> None:
        """Time it again; a change that does not last is none."""
        if self._first is None or self._first[0] != bench.device:
            return
        _, library, workload, first_s = self._first
        changes = []
        for _ in range(_CHECKS):
            again = bench.time(library, workload, deadline_s)
            if not bench.alive:
                bench.reopen()
                return
            if again.latency_s is None:
                return
            changes.append(again.latency_s / first_s - 1)
            if abs(changes[-1]) <= DRIFT:
                return
        self.drift = max(self.drift, min(changes, key=abs), key=abs)
