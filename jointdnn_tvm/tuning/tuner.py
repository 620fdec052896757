"""The search: kernel after kernel, choices compiled and raced on the devices until time is up."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jointdnn_tvm.cost.bench import Bench
from jointdnn_tvm.cost.database import CostDatabase, CostKey, Measurement
from jointdnn_tvm.cost.race import Outcome, failure, race
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.tuning.candidates import Candidate, build_candidate
from jointdnn_tvm.tuning.climb import Climb
from jointdnn_tvm.tuning.crew import Crew
from jointdnn_tvm.tuning.judge import GAIN, Pair, Verdict, build_pair, judge
from jointdnn_tvm.tuning.records import Record, target_text, versions
from jointdnn_tvm.tuning.space import Space, with_choice
from jointdnn_tvm.tuning.subjects import Subject

logger = logging.getLogger(__name__)

SOURCE = "measured:beside the rule's kernel"
_BATCH = 16  # choices that are tried together: what is lost when the process is killed
_FEWEST = 4  # that are handed to a device that has nothing to do; the rule's runs beside them
_ROUNDS = 7
_JUDGED = "judged"
_DEADLINE_S = 60.0


@dataclass
class Progress:
    """How far tuning has come. Times in s; `gained_s` is of the network's `network_s`.

    Of the `kernels` those count as `done` in which no step gains any more.
    """

    kernels: int
    network_s: float
    limit_s: float
    done: int = 0
    trials: int = 0
    known: int = 0
    gained_s: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def passed_s(self) -> float:
        """Since the search began."""
        return time.monotonic() - self.began

    @property
    def left_s(self) -> float:
        """Until the expected end: at the limit, or when all kernels are done at this pace."""
        left_s = self.limit_s - self.passed_s
        if self.done:
            left_s = min(left_s, self.passed_s / self.done * (self.kernels - self.done))
        return max(0.0, left_s)


@dataclass(frozen=True)
class _Search:
    subject: Subject
    space: Space
    climb: Climb


class Tuner:
    """Tunes kernels of one network for one target, on a crew of devices that are alike."""

    def __init__(
        self,
        network: Network,
        profile: TargetProfile,
        costs: CostDatabase,
        crew: Crew,
        folder: Path,
        keep: Callable[[str, Record], None],
    ) -> None:
        self._network = network
        self._profile = profile
        self._costs = costs
        self._crew = crew
        self._folder = folder
        self._keep = keep
        self._target = target_text(profile)

    def run(self, subjects: Sequence[Subject], state: Progress, report: Callable[[], None]) -> None:
        """Tune these, the first ones first; `keep` gets what is faster, as soon as it is known."""
        self._waiting = deque(subjects)
        self._state = state
        self._in_work = 0
        while self._start_some() or self._crew.busy:
            self._crew.step()
            report()

    @property
    def _time_is_up(self) -> bool:
        return self._state.passed_s >= self._state.limit_s

    def _start_some(self) -> bool:
        """As many kernels as keep all busy: each is either compiled or measured."""
        while self._waiting and self._in_work < self._crew.places and not self._time_is_up:
            subject = self._waiting.popleft()
            space = Space(subject.kernel, self._profile, subject.joined)
            self._in_work += 1
            climb = Climb(space.starts(), space.neighbours)
            climb.tell(space.rule, 1.0)
            self._go_on(_Search(subject, space, climb))
        return self._in_work > 0

    def _go_on(self, search: _Search) -> None:
        """Try the next choices that are not known from before; else judge the best."""
        while True:
            choices = search.climb.ask()
            new = [choice for choice in choices if not self._tell_known(search, choice)]
            if new or not choices:
                break
        if not new:
            self._state.done += 1
        if new and not self._time_is_up:
            batch = new[:_BATCH]
            self._crew.compile(partial(self._build, search, batch), partial(self._race, search))
        elif search.climb.tried and search.climb.best[1] <= 1 - GAIN:
            self._judge(search)
        else:
            self._finish()

    def _finish(self) -> None:
        self._in_work -= 1

    def _tell_known(self, search: _Search, choice: Choice) -> bool:
        """Whether a choice was tried before, on one of these devices."""
        for device in self._crew.devices:
            measurement = self._costs.get(self._cost_key(search, choice, device))
            if measurement is not None:
                self._state.known += 1
                self._tell(search, choice, measurement)
                return True
        return False

    def _tell(self, search: _Search, choice: Choice, measurement: Measurement) -> None:
        latency_s = measurement.latency_s
        share = float("inf") if latency_s is None else latency_s / search.subject.latency_s
        search.climb.tell(choice, share)

    def _build(self, search: _Search, choices: Sequence[Choice]) -> list[_Built]:
        """The rule's kernel, and one for each choice or why it does not build.

        Fewer when a device waits for them, or time is up.
        """
        built: list[_Built] = []
        for choice in [search.space.rule, *choices]:
            if self._time_is_up or (len(built) > _FEWEST and self._crew.idle):
                break
            built.append(self._candidate(search, choice))
        return built

    def _candidate(self, search: _Search, choice: Choice) -> _Built:
        self._crew.check()
        profile = with_choice(self._profile, search.subject.kernel, choice)
        path = Path(tempfile.mkdtemp(dir=self._folder)) / "candidate.so"
        try:
            built = build_candidate(self._network, search.subject.group, profile, path)
        except LinkError:
            raise
        except BuildError as error:
            return _Built(choice, None, str(error))
        return _Built(choice, built, None)

    def _race(self, search: _Search, built: Sequence[_Built]) -> None:
        """Try what was built, if there is time left when a device is free."""
        if self._time_is_up:
            self._go_on(search)
            return
        first, *others = built
        if first.candidate is None:
            raise BuildError(str(first.reason))
        running = [b for b in others if b.candidate is not None]
        entrants = [b.candidate.entrant for b in (first, *running) if b.candidate is not None]

        def work(bench: Bench) -> tuple[list[Outcome], str] | None:
            if self._time_is_up:
                return None
            outcomes = race(bench, entrants, _ROUNDS, self._crew.repeat_ms, _DEADLINE_S)
            return outcomes, bench.device.identity

        def then(result: tuple[list[Outcome], str] | None) -> None:
            for entrant in entrants:
                entrant.library.unlink()
            if result is not None:
                learn(*result)
            self._go_on(search)

        def learn(outcomes: list[Outcome], device: str) -> None:
            failed = [(b.choice, failure(str(b.reason))) for b in others if b.candidate is None]
            tried = zip([b.choice for b in running], outcomes[1:], strict=True)
            for choice, outcome in [*tried, *failed]:
                measurement = _measurement(outcome, search.subject.latency_s)
                self._costs.put(self._cost_key(search, choice, device), measurement)
                self._tell(search, choice, measurement)
                self._state.trials += 1

        self._crew.measure(work, then)

    def _judge(self, search: _Search) -> None:
        """Compare the best choice with the rule's once more, unless that was done before."""
        best, _ = search.climb.best
        for device in self._crew.devices:
            verdict = self._costs.get(self._cost_key(search, best, device, _JUDGED))
            if verdict is not None:
                self._decide(search, best, verdict)
                return
        group, kernel = search.subject.group, search.subject.kernel
        profiles = self._profile, with_choice(self._profile, kernel, best)

        def work(pair: Pair, bench: Bench) -> tuple[Verdict, str]:
            return judge(bench, pair, self._crew.repeat_ms), bench.device.identity

        def then(result: tuple[Verdict, str]) -> None:
            verdict, device = result
            taken_s, why = verdict.share * search.subject.latency_s, verdict.objection
            source = f"{SOURCE} on {verdict.device}"
            known = Measurement(taken_s, 0.0, 1, None, source)
            known = known if why is None else Measurement.failure(why, source)
            self._costs.put(self._cost_key(search, best, device, _JUDGED), known)
            self._decide(search, best, known)

        def compiled(pair: Pair) -> None:
            self._crew.measure(partial(work, pair), then)

        self._crew.compile(
            partial(build_pair, self._network, group, profiles, self._folder), compiled
        )

    def _decide(self, search: _Search, best: Choice, verdict: Measurement) -> None:
        kernel = repr(search.subject.kernel)
        if verdict.latency_s is None:
            logger.debug("%s stays by the rule, not %s: %s", kernel, best, verdict.reason)
        else:
            share = verdict.latency_s / search.subject.latency_s
            device = verdict.source.removeprefix(f"{SOURCE} on ")
            self._keep(kernel, Record(best, round(share, 4), device))
            self._state.gained_s += (1 - share) * search.subject.total_s
        self._finish()

    def _cost_key(
        self, search: _Search, choice: Choice, device: str, what: str = "tried"
    ) -> CostKey:
        """Under which a trial is kept, or a verdict."""
        group, _ = search.subject.group
        tried = f"{what} {group} {search.subject.kernel!r} {json.dumps(choice, sort_keys=True)}"
        return CostKey(tried, self._target, device, versions())


@dataclass(frozen=True)
class _Built:
    choice: Choice
    candidate: Candidate | None
    reason: str | None


def _measurement(outcome: Outcome, rule_s: float) -> Measurement:
    """A share as a time: that of the rule's kernel, as it was measured, times the share."""
    if outcome.reason is not None:
        return Measurement.failure(outcome.reason, SOURCE)
    return Measurement(outcome.share * rule_s, 0.0, len(outcome.times), None, SOURCE)
