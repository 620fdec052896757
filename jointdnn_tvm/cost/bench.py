"""Time one compiled function on a device, and its energy, over plain TVM RPC.

A failure is a result: a function that does not run on a device, or that takes the whole session
down with it, gives a measurement with the reason.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.cost.confidence import FEWEST, half_interval, until_steady
from jointdnn_tvm.cost.database import Energy, Measurement
from jointdnn_tvm.cost.device import SHORTEST_REPEAT_MS, Device, describe_device
from jointdnn_tvm.cost.energy import RemoteMeter
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession, told_by_device

NO_SENSOR = "no sensor that can be used"
_FLUSH_BYTES = 64 << 20  # over any last-level cache that one core fills
_UPLOAD_S_PER_BYTE = 1e-6  # a twentieth of the usual rate
_WEIGHTY_FEWEST, _WEIGHTY_REPEATS, _WEIGHTY_MS = 10, 40, 2000
_WEIGHTY_TIMES = 4  # as long as another repeat: a median of few rounds of a rhythm is one or other
_ATTEMPTS = 3  # to open a session, or to load a library, on a device that goes away meanwhile


@dataclass(frozen=True)
class Workload:
    """One function to time: the code of all groups that have the same key."""

    key: str
    function: str
    arguments: tuple[tuple[tuple[int, ...], str], ...]
    """Shape and dtype of every parameter."""
    weighty: bool = False
    """Other costs rest on this one: it is timed for long enough to outlast what disturbs it."""


@dataclass(frozen=True)
class EvaluatorConfig:
    """How often a function runs, named as in TVM's MetaSchedule.

    A first repeat is dropped, so `repeat` counts those that are used. Until their median is known
    within 2 %, more follow: up to `max_repeat`, and while they have run `budget_ms` together at
    most. Where a device's speed is emulated by a duty cycle, `min_repeat_ms` must be long against
    its period. `enable_energy` adds a window of the sensor's own length after the repeats, where
    the device has a sensor.
    """

    number: int = 1
    repeat: int = FEWEST
    min_repeat_ms: int = SHORTEST_REPEAT_MS
    enable_cpu_cache_flush: bool = False
    max_repeat: int = 16
    budget_ms: int = 100
    enable_energy: bool = False


class Bench:
    """A session with a device, the libraries loaded in it, and the means to open another one."""

    def __init__(
        self, connect: Callable[[], RemoteSession], kind: str, config: EvaluatorConfig
    ) -> None:
        self.device: Device
        self._connect = connect
        self._kind = kind
        self._config = config
        self._open()

    def _open(self) -> None:
        for attempt in range(_ATTEMPTS):
            self.session = self._connect()
            try:
                self.device = describe_device(self.session)
                self._remote = self.session.device(self._kind)
                self._machines: dict[Path, Any] = {}
                self._uploaded: set[str] = set()
                self._fill = self._find_fill()
                self._find_meter()
                return
            except BaseException as error:
                again = isinstance(error, DeviceError) and not self.alive
                self.close()
                if not again or attempt + 1 == _ATTEMPTS:
                    raise

    @property
    def alive(self) -> bool:
        """Whether the session survived so far."""
        return self.session.alive

    def reopen(self) -> None:
        """Open a new session in place of a dead one; DeviceError when none can be had.

        The device that was lost may come back, or one of the same kind may take its place.
        """
        self.close()
        kind = self.device.kind
        self._open()
        if self.device.kind != kind:
            self.close()
            raise DeviceError(
                f"in place of a device that was lost came one of another kind, {self.device.kind} "
                f"for {kind}; give each kind of device its own key"
            )

    def close(self) -> None:
        """End the session."""
        self.session.close()

    def machine(self, library: Path) -> Any:
        """A virtual machine of the device that holds the library; CostError if it won't load."""
        if library not in self._machines:
            self._machines[library] = self._load(library)
        return self._machines[library]

    def forget(self, library: Path) -> None:
        """Let go of a library that is no longer wanted."""
        self._machines.pop(library, None)

    def _load(self, library: Path) -> Any:
        data = library.read_bytes()
        name = f"{hashlib.sha256(data).hexdigest()[:40]}.so"  # a name is loaded once a process
        deadline_s = 30.0 + len(data) * _UPLOAD_S_PER_BYTE
        for attempt in range(_ATTEMPTS):
            try:
                with self.session.deadline(deadline_s, f"taking and loading {library.name}"):
                    if name not in self._uploaded:  # overwritten, a loaded one ends the session
                        self.session.upload(data, name)
                        self._uploaded.add(name)
                    return VirtualMachine(self.session.load_module(name), self._remote)
            except DeviceError as error:
                if self.session.alive or attempt + 1 == _ATTEMPTS:
                    raise CostError(
                        f"the compiled library does not load on the device: {error}; "
                        f"check that the target fits the device"
                    ) from error
                self.reopen()
        raise AssertionError("the last attempt returns or raises")

    def _find_fill(self) -> Callable[[Any], None]:
        """A function of the device that fills a tensor with random numbers."""
        for name in ("tvm.contrib.random.random_fill", "jointdnn.random_fill"):
            if self.session.has_function(name):
                return self.session.function(name)
        return lambda tensor: tensor.copyfrom(np.random.default_rng(0).random(tensor.shape))

    def _find_meter(self) -> None:
        """The device's sensor, or why the one that it has cannot be used."""
        self._meter: RemoteMeter | None = None
        self._no_energy: Energy | None = None
        if self._config.enable_energy:
            try:
                self._meter = RemoteMeter.find(self.session, self._kind)
            except DeviceError as error:
                if not self.alive:
                    raise
                self._no_energy = Energy.failure(str(error), NO_SENSOR)

    def measure(self, library: Path, workload: Workload, deadline_s: float) -> Measurement:
        """Time one workload, then its energy; a failure is a result too. Raises as `time` does."""
        timed = self.time(library, workload, deadline_s)
        if timed.latency_s is None:
            return timed
        machine = self.machine(library)
        return replace(timed, energy=self._energy(machine, workload, timed.latency_s, deadline_s))

    def time(self, library: Path, workload: Workload, deadline_s: float) -> Measurement:
        """Time one workload; a failure is a result too. CostError when the library won't load."""
        machine = self.machine(library)
        source = self.device.source
        try:
            with self.session.deadline(deadline_s, f"measuring {workload.function}"):
                times = self._times(machine, workload)
        except DeviceError as error:
            return Measurement.failure(told_by_device(error) or str(error), source)
        except (RuntimeError, TypeError, ValueError) as error:  # a type that cannot be sent
            return Measurement.failure(str(error), source)
        return summarise(times, source)

    def _times(self, machine: Any, workload: Workload) -> Sequence[float]:
        machine.set_input(workload.function, *map(self.tensor, workload.arguments))
        config = self._config
        shortest_ms = config.min_repeat_ms * (_WEIGHTY_TIMES if workload.weighty else 1)
        first = self.timer(machine, config.number, config.repeat + 1, shortest_ms)
        times = list(first(workload.function).results)[1:]
        if not _is_time(times):
            return times
        number = max(config.number, round(1e-3 * shortest_ms / statistics.median(times)))
        more = self.timer(machine, number, 1, 0)
        most, budget_ms, fewest = config.max_repeat, config.budget_ms, config.repeat
        if workload.weighty:
            most, budget_ms, fewest = _WEIGHTY_REPEATS, _WEIGHTY_MS, _WEIGHTY_FEWEST
        budget_s = 1e-3 * budget_ms / number
        return until_steady(
            times, lambda: more(workload.function).results[0], most, budget_s, fewest
        )

    def _energy(
        self, machine: Any, workload: Workload, latency_s: float, deadline_s: float
    ) -> Energy | None:
        """Of the workload whose inputs are set; None where the device has no sensor."""
        if self._meter is None:
            return self._no_energy

        def run(number: int) -> int:
            evaluate = machine.module.time_evaluator
            evaluate("invoke_stateful", self._remote, number=number, repeat=1)(workload.function)
            return number + 1  # TVM calls it once before

        try:
            return self._meter.measure(run, latency_s, deadline_s)
        except DeviceError as error:
            return Energy.failure(told_by_device(error) or str(error), self._meter.source)

    def timer(self, machine: Any, number: int, repeat: int, min_repeat_ms: int) -> Any:
        """A function of the device that times the workload whose inputs are set."""
        return machine.module.time_evaluator(
            "invoke_stateful",
            self._remote,
            number=number,
            repeat=repeat,
            min_repeat_ms=min_repeat_ms,
            cache_flush_bytes=_FLUSH_BYTES if self._config.enable_cpu_cache_flush else 0,
        )

    def tensor(self, argument: tuple[tuple[int, ...], str]) -> Any:
        """A tensor of that shape and dtype, filled on the device: random numbers, or zeros."""
        shape, dtype = argument
        tensor = tvm.runtime.empty(shape, dtype, self._remote)
        if math.prod(shape) and dtype.startswith("float"):
            self._fill(tensor)
        else:  # valid indices, flags and counts
            tensor.copyfrom(np.zeros(shape, dtype))
        return tensor


def summarise(times: Sequence[float], source: str) -> Measurement:
    """Median and range of the middle half of the repeats."""
    if not _is_time(times):
        return Measurement.failure(f"the device's clock gave {list(times)}", source)
    if len(times) == 1:
        return Measurement(times[0], 0.0, 1, None, source)
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return Measurement(
        statistics.median(times), high - low, len(times), None, source, half_interval(times)
    )


def _is_time(times: Sequence[float]) -> bool:
    return bool(times) and all(math.isfinite(t) and t > 0 for t in times)
