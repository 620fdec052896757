"""Time the workloads of compiled libraries on a device, one after the other, come what may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jointdnn_tvm.cost.bench import Bench, EvaluatorConfig, Workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.device import Device
from jointdnn_tvm.runtime.remote import RemoteSession

DRIFT = 0.05
"""A device whose speed changes by more does not run as it did when measuring began."""

_CHECKS = 2
_TIMES = 3


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

    What is weighty is timed again after each batch, three times at least, and the median handed
    over in the end: a moment in which the device was busy is outvoted. So it belongs into the first
    batch.

    Between the batches the first workload is timed again: returns the largest change of its time,
    as a share of the first, such as 0.1 for a device that got 10 % slower.

    DeviceError when no session can be had, CostError when a library does not load.
    """
    bench = Bench(connect, device_kind, config or EvaluatorConfig())
    reference, weighty = Reference(), list[Weighty]()
    try:
        for batch in batches:
            for workload in batch.workloads:
                measurement = _measure(bench, batch.library, workload, deadline_s)
                if workload.weighty and measurement.latency_s is not None:
                    weighty.append(Weighty(batch.library, workload, bench.device, measurement))
                    continue
                record(workload, measurement, bench.device)
                reference.offer(bench.device, batch.library, workload, measurement)
            for each in weighty:
                each.time_again(bench, deadline_s)
            reference.check(bench, deadline_s)
        for each in weighty:
            record(each.workload, each.measurement(bench, deadline_s), each.device)
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


@dataclass
class Weighty:
    """One that is timed several times, apart from each other."""

    library: Path
    workload: Workload
    device: Device
    first: Measurement
    again: list[Measurement] = field(default_factory=list)

    def time_again(self, bench: Bench, deadline_s: float) -> None:
        """Time it once more, where it is the same device still."""
        if bench.device != self.device:
            return
        timed = bench.time(self.library, self.workload, deadline_s)
        if not bench.alive:
            bench.reopen()
        if timed.latency_s is not None:
            self.again.append(timed)

    def measurement(self, bench: Bench, deadline_s: float) -> Measurement:
        """The median of an odd number of times, three at least where the device allows it."""
        missing = max(_TIMES - 1 - len(self.again), len(self.again) % 2)
        for _ in range(missing):
            self.time_again(bench, deadline_s)
        timed = sorted([self.first, *self.again], key=lambda m: m.latency_s or 0.0)
        return replace(timed[(len(timed) - 1) // 2], energy=self.first.energy)


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
