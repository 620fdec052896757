"""Time several libraries against each other on one device, in turns.

A device that is busy or hot for a moment is so for all of them, so what each takes is given as a
share of what the first one takes. What disturbs a device only adds time, so the shortest times
tell most.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jointdnn_tvm.cost.bench import Bench, Workload
from jointdnn_tvm.cost.confidence import median_interval
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.runtime.remote import told_by_device

_TRIAL_ROUNDS = 3  # then those that are clearly behind drop out
_BEHIND = 1.15
_HELD_BYTES = 256 << 20  # arguments that are on the device at a time
_LIVES = 2  # sessions that an entrant may take down, before that counts as its own fault


@dataclass(frozen=True)
class Entrant:
    """A library, and the workload in it that is timed."""

    library: Path
    workload: Workload

    @property
    def size_bytes(self) -> int:
        """Of its arguments, about."""
        return sum(4 * math.prod(shape) for shape, _ in self.workload.arguments)


@dataclass(frozen=True)
class Outcome:
    """An entrant's times, s, in each round beside those of the first one, or why it has none."""

    times: tuple[float, ...]
    first_times: tuple[float, ...]
    reason: str | None = None

    @property
    def share(self) -> float:
        """The shortest time over the first one's; infinite for a failure."""
        return min(self.times) / min(self.first_times) if self.times else math.inf

    @property
    def median_share(self) -> float:
        """The median of the rounds' shares; infinite for a failure."""
        return statistics.median(self._shares) if self.times else math.inf

    @property
    def surely_below(self) -> float:
        """What that median is below with 95 % confidence; infinite for too few rounds."""
        interval = median_interval(self._shares) if self.times else None
        return math.inf if interval is None else interval[1]

    @property
    def _shares(self) -> list[float]:
        return [a / b for a, b in zip(self.times, self.first_times, strict=True)]


def failure(reason: str) -> Outcome:
    """Of one that does not run."""
    return Outcome((), (), reason)


def race(
    bench: Bench, entrants: Sequence[Entrant], rounds: int, min_repeat_ms: int, deadline_s: float
) -> list[Outcome]:
    """Time all entrants in turns; `deadline_s` bounds each call of the device.

    One that fails is out, and so is one that takes the session down twice. CostError when the
    first one fails, DeviceError when no device can be had any more.
    """
    falls: Counter[int] = Counter()
    outcomes: dict[int, Outcome] = {0: Outcome((1.0,), (1.0,))}
    for heat in _heats(entrants):
        while left := [i for i in heat if i not in outcomes]:
            running = _Race(bench, entrants, (min_repeat_ms, deadline_s))
            try:
                outcomes |= running.run(left, rounds)
            except DeviceError as error:
                if bench.alive:
                    raise
                bench.reopen()
                falls[running.at] += 1
                if falls[running.at] == _LIVES:
                    outcomes[running.at] = failure(str(error))
                    if running.at == 0:
                        raise CostError(f"the kernel by the rules does not run: {error}") from error
    for entrant in entrants:
        bench.forget(entrant.library)
    return [outcomes[i] for i in range(len(entrants))]


def _heats(entrants: Sequence[Entrant]) -> list[list[int]]:
    """All but the first, a few at a time where their arguments are large."""
    heats: list[list[int]] = []
    held = math.inf
    for i, entrant in enumerate(entrants[1:], 1):
        if held + entrant.size_bytes > _HELD_BYTES:
            heats.append([])
            held = entrants[0].size_bytes
        heats[-1].append(i)
        held += entrant.size_bytes
    return heats


class _Race:
    """One race in one session; `at` is the entrant whose turn it is."""

    def __init__(
        self, bench: Bench, entrants: Sequence[Entrant], limits: tuple[int, float]
    ) -> None:
        self.at = 0
        self._bench = bench
        self._entrants = entrants
        self._min_repeat_ms, self._deadline_s = limits
        self._tensors: dict[Any, list[Any]] = {}
        self._numbers: dict[int, int] = {}

    def run(self, others: Sequence[int], rounds: int) -> dict[int, Outcome]:
        """The outcomes of these, beside the first."""
        failed = self._load((0, *others))
        for i in (0, *others):
            if i not in failed and (reason := self._prepare(i)) is not None:
                failed[i] = failure(reason)
        if 0 in failed:
            raise CostError(f"the kernel by the rules does not run: {failed[0].reason}")
        racing = [0, *(i for i in others if i not in failed)]
        times: dict[int, list[float]] = {i: [] for i in racing}
        for lap in range(rounds):
            for i in racing:
                times[i].append(self._time(i))
            if lap + 1 == _TRIAL_ROUNDS:
                best = min(min(values) for values in times.values())
                racing = [i for i in racing if i == 0 or min(times[i]) <= _BEHIND * best]
        first = times.pop(0)
        return failed | {i: Outcome(tuple(t), tuple(first[: len(t)])) for i, t in times.items()}

    def _load(self, entrants: Sequence[int]) -> dict[int, Outcome]:
        """Load all libraries into one session; those that do not load."""
        failed: dict[int, Outcome] = {}
        session = None
        while session is not self._bench.session:  # loading may have taken another one
            session = self._bench.session
            for i in entrants:
                try:
                    self._bench.machine(self._entrants[i].library)
                except CostError as error:
                    failed[i] = failure(str(error))
        return failed

    def _prepare(self, i: int) -> str | None:
        """Set the inputs and find how often to call it; says why that fails."""
        self.at = i
        entrant = self._entrants[i]
        try:
            machine = self._bench.machine(entrant.library)
            with self._bench.session.deadline(self._deadline_s, f"trying {entrant.library.name}"):
                machine.set_input(entrant.workload.function, *self._arguments(entrant))
                once = self._bench.timer(machine, 1, 1, self._min_repeat_ms)
                seconds = once(entrant.workload.function).results[0]
        except DeviceError as error:
            if not self._bench.alive:
                raise
            return told_by_device(error) or str(error)
        self._numbers[i] = max(1, round(1e-3 * self._min_repeat_ms / max(seconds, 1e-9)))
        return None

    def _time(self, i: int) -> float:
        self.at = i
        entrant = self._entrants[i]
        machine = self._bench.machine(entrant.library)
        with self._bench.session.deadline(self._deadline_s, f"timing {entrant.library.name}"):
            timer = self._bench.timer(machine, self._numbers[i], 1, 0)
            return float(timer(entrant.workload.function).results[0])

    def _arguments(self, entrant: Entrant) -> list[Any]:
        """Entrants share tensors of the same shape; one entrant's own are all different."""
        used: Counter[Any] = Counter()
        taken = []
        for argument in entrant.workload.arguments:
            held = self._tensors.setdefault(argument, [])
            if used[argument] == len(held):
                held.append(self._bench.tensor(argument))
            taken.append(held[used[argument]])
            used[argument] += 1
        return taken
