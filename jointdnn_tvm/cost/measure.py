"""Time compiled functions on a device, over plain TVM RPC.

A failure is a result: a function that does not run on a device, or that takes the whole session
down with it, is recorded with the reason, and the next one is measured in a new session.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.cost.confidence import FEWEST, half_interval, until_steady
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.deploy.throttle import period_s
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession, told_by_device

SOURCE = "measured:time_evaluator"
SHORTEST_REPEAT_MS = 10
_IDENTITY = ("hostname", "cpu", "machine", "cores", "accelerator", "slowdown")
_FLUSH_BYTES = 64 << 20  # over any last-level cache that one core fills
_UPLOAD_S_PER_BYTE = 1e-6  # a twentieth of the usual rate


@dataclass(frozen=True)
class Workload:
    """One function to time: the code of all groups that have the same key."""

    key: str
    function: str
    arguments: tuple[tuple[tuple[int, ...], str], ...]
    """Shape and dtype of every parameter."""


@dataclass(frozen=True)
class EvaluatorConfig:
    """How often a function runs, named as in TVM's MetaSchedule.

    A first repeat is dropped, so `repeat` counts those that are used. Until their median is known
    within 2 %, more follow: up to `max_repeat`, and while they have run `budget_ms` together at
    most. Where a device's speed is emulated by a duty cycle, `min_repeat_ms` must be long against
    its period.
    """

    number: int = 1
    repeat: int = FEWEST
    min_repeat_ms: int = SHORTEST_REPEAT_MS
    enable_cpu_cache_flush: bool = False
    max_repeat: int = 16
    budget_ms: int = 150


@dataclass(frozen=True)
class Device:
    """Who the other side of a session is.

    `target` is the profile that it was started with, None for a stock TVM server; `slowdown` is
    over 1 where its speed is emulated.
    """

    identity: str
    target: str | None = None
    slowdown: float = 1.0

    @property
    def source(self) -> str:
        """How a time measured there was got."""
        return SOURCE if self.slowdown == 1 else f"{SOURCE} emulated slowdown {self.slowdown:g}x"

    @property
    def shortest_repeat_ms(self) -> int:
        """How long a repeat must last to mean something there; for `EvaluatorConfig`.

        The number of calls is found by trying, often in an instant in which a slowed device runs
        freely, so that a repeat then lasts up to `slowdown` times as long.
        """
        if self.slowdown == 1:
            return SHORTEST_REPEAT_MS
        return max(2 * SHORTEST_REPEAT_MS, round(1e3 * period_s(self.slowdown)))


def describe_device(session: RemoteSession) -> Device:
    """Ask the device who it is; a stock TVM server is known by its key and address only."""
    if not session.has_function("jointdnn.device_info"):
        return Device(f"{session.key} at {session.address}")
    ask = session.function("jointdnn.device_info")
    with session.deadline(10.0, "asking who it is"):
        info = json.loads(ask())
    known = {name: info[name] for name in _IDENTITY if info.get(name) is not None}
    return Device(json.dumps(known, sort_keys=True), info["target"], info["slowdown"])


def measure(
    workloads: Sequence[Workload],
    library: Path,
    connect: Callable[[], RemoteSession],
    device_kind: str,
    record: Callable[[Workload, Measurement], None],
    config: EvaluatorConfig | None = None,
    deadline_s: float = 120.0,
) -> None:
    """Time every workload of `library` on a device and hand each result to `record` at once.

    `connect` opens a session; it is called again after a workload has taken the session down,
    which it may do twice before that counts as its own failure. `device_kind` is that of the
    target, such as ``cpu`` or ``cuda``. `deadline_s` bounds each workload. DeviceError when no
    session can be had, CostError when the library does not load.
    """
    bench = _Bench(connect, library, device_kind, config or EvaluatorConfig())
    try:
        for workload in workloads:
            measurement = bench.measure(workload, deadline_s)
            if not bench.alive:  # its own fault, or the device's? A second chance tells
                bench.reopen()
                measurement = bench.measure(workload, deadline_s)
                if not bench.alive:
                    bench.reopen()
            record(workload, measurement)
    finally:
        bench.close()


class _Bench:
    """A session with the library loaded, and the means to open another one."""

    def __init__(
        self,
        connect: Callable[[], RemoteSession],
        library: Path,
        kind: str,
        config: EvaluatorConfig,
    ) -> None:
        self._connect = connect
        self._library = library
        self._kind = kind
        self._config = config
        self._open()

    def _open(self) -> None:
        self.session = self._connect()
        try:
            self._source = describe_device(self.session).source
            self._device = self.session.device(self._kind)
            self._machine = self._load(self._library)
            self._fill = self._find_fill()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the session survived so far."""
        return self.session.alive

    def reopen(self) -> None:
        """A new session in place of a dead one."""
        self.close()
        self._open()

    def close(self) -> None:
        """End the session."""
        self.session.close()

    def _load(self, library: Path) -> Any:
        data = library.read_bytes()
        name = f"{hashlib.sha256(data).hexdigest()[:40]}.so"  # a name is loaded once a process
        deadline_s = 30.0 + len(data) * _UPLOAD_S_PER_BYTE
        try:
            with self.session.deadline(deadline_s, f"taking and loading {library.name}"):
                self.session.upload(data, name)
                return VirtualMachine(self.session.load_module(name), self._device)
        except DeviceError as error:
            raise CostError(
                f"the compiled library does not load on the device: {error}; "
                f"check that the target fits the device"
            ) from error

    def _find_fill(self) -> Callable[[Any], None]:
        """A function of the device that fills a tensor with random numbers."""
        for name in ("tvm.contrib.random.random_fill", "jointdnn.random_fill"):
            if self.session.has_function(name):
                return self.session.function(name)
        return lambda tensor: tensor.copyfrom(np.random.default_rng(0).random(tensor.shape))

    def measure(self, workload: Workload, deadline_s: float) -> Measurement:
        """Time one workload; a failure is a result too."""
        try:
            with self.session.deadline(deadline_s, f"measuring {workload.function}"):
                times = self._times(workload)
        except DeviceError as error:
            return Measurement.failure(told_by_device(error) or str(error), self._source)
        except (RuntimeError, TypeError, ValueError) as error:  # a type that cannot be sent
            return Measurement.failure(str(error), self._source)
        return summarise(times, self._source)

    def _times(self, workload: Workload) -> Sequence[float]:
        machine = self._machine
        machine.set_input(workload.function, *map(self._argument, workload.arguments))
        config = self._config
        first = self._timer(config.number, config.repeat + 1, config.min_repeat_ms)
        times = list(first(workload.function).results)[1:]
        if not _is_time(times):
            return times
        number = max(config.number, round(1e-3 * config.min_repeat_ms / statistics.median(times)))
        more = self._timer(number, 1, 0)
        budget_s = 1e-3 * config.budget_ms / number
        return until_steady(
            times, lambda: more(workload.function).results[0], config.max_repeat, budget_s
        )

    def _timer(self, number: int, repeat: int, min_repeat_ms: int) -> Any:
        return self._machine.module.time_evaluator(
            "invoke_stateful",
            self._device,
            number=number,
            repeat=repeat,
            min_repeat_ms=min_repeat_ms,
            cache_flush_bytes=_FLUSH_BYTES if self._config.enable_cpu_cache_flush else 0,
        )

    def _argument(self, argument: tuple[tuple[int, ...], str]) -> Any:
        shape, dtype = argument
        tensor = tvm.runtime.empty(shape, dtype, self._device)
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
