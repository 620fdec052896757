"""Tuning where a formula says how fast a choice is; also a program that tunes so.

    python -m tests.tuning_bed TRACKER DATABASE

Devices are real servers, but nothing is compiled, and a race only asks who they are. The program
says each choice that it races.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from jointdnn_tvm.cost.bench import Bench, Workload
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.race import Entrant, Outcome
from jointdnn_tvm.errors import BuildError
from jointdnn_tvm.measuring import Measured
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.tuning import tune_network, tuner
from jointdnn_tvm.tuning.candidates import Candidate
from jointdnn_tvm.tuning.judge import Verdict
from jointdnn_tvm.tuning.subjects import Subject
from jointdnn_tvm.tuning.tune_network import Tuning, tune
from tests.tiny_models import branching_model

KERNELS = [Convolution((1, 14, 14, c), (1, 1, c, 96)) for c in (32, 48, 64)]

Share = Callable[[Choice], float]
Raced = Callable[[Bench, Sequence[Choice]], None]
"""Told what is raced or judged, with the kernel's depth."""


def bowl(choice: Choice) -> float:
    """Best with six rows and three vectors; not to be built with one vector."""
    if choice["vectors"] == 1:
        raise BuildError("one vector is none")
    return 0.6 + abs(choice["rows"] - 6) / 20 + abs(choice["vectors"] - 3) / 10


@contextmanager
def bed(
    share: Share, raced: Raced, whole: Callable[[int], float], difference: float
) -> Iterator[None]:
    """Have choices take that share of the rule's time, and their answers differ so; `whole`, of
    how many tuned kernels, is the share of the network's."""

    def candidate(
        network: Network, group: tuple[str, str], profile: TargetProfile, path: Path
    ) -> Candidate:
        (choice,) = profile.tuned.values()
        share(choice)  # it may not build
        path.write_text(json.dumps(choice))
        return Candidate(Entrant(path, Workload(*group, ())), ())

    def race(bench: Bench, entrants: Sequence[Entrant], *_: Any) -> list[Outcome]:
        first, *others = (json.loads(e.library.read_text()) for e in entrants)
        raced(bench, [{"depth": _depth(entrants[0].workload.key), **other} for other in others])
        times = [share(choice) / share(first) for choice in (first, *others)]
        return [Outcome((time,) * 9, (1.0,) * 9) for time in times]

    def pair(network: Network, group: tuple[str, str], profiles: Any, folder: Path) -> Any:
        (choice,) = profiles[1].tuned.values()
        return {"depth": _depth(group[0]), **choice}

    def judge(bench: Bench, choice: Any, *_: Any) -> Verdict:
        raced(bench, [{"judged": 1, **choice}])
        return Verdict(share(choice), share(choice), difference, bench.device.name)

    def whole_share(*arguments: Any) -> float:
        *_, before, after = arguments
        return whole(len(after.tuned) - len(before.tuned))

    subjects = [Subject(k, (f"key {k!r}", "name"), False, 1e-3, 1e-3, 1e-3) for k in KERNELS]
    timed = Measurement(1e-3, 0.0, 6, None, "measured")

    def measure_side(network: Network, *_: Any) -> Measured:
        return Measured({g.key: timed for g in network.graph.groups}, 0, (), {}, 1.0)

    with ExitStack() as stack:
        for module, name, value in (
            (tuner, "build_candidate", candidate),
            (tuner, "build_pair", pair),
            (tuner, "judge", judge),
            (tuner, "race", race),
            (tune_network, "_whole_share", whole_share),
            (tune_network, "measure_side", measure_side),
            (tune_network, "find_subjects", lambda *_: subjects),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def _depth(key: str) -> int:
    """Tells the kernels apart."""
    return next(k.kernel[2] for k in KERNELS if repr(k) in key)


def tune_in_bed(
    network: Network,
    tracker: str,
    database: Path,
    *,
    share: Share = bowl,
    raced: Raced = lambda bench, choices: None,
    whole: Callable[[int], float] = lambda kernels: 0.9,
    difference: float = 0.0,
    **options: Any,
) -> Tuning:
    """`tune` there."""
    with bed(share, raced, whole, difference):
        return tune(network, tracker=tracker, key="phone", database=database, **options)


def main() -> None:
    """Tune, slowly enough to be killed, and say what is raced."""
    tracker, database = sys.argv[1:]
    saying = threading.Lock()

    def say(bench: Bench, choices: Sequence[Choice]) -> None:
        time.sleep(0.2)
        with saying:
            for choice in choices:
                print(json.dumps(choice, sort_keys=True), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        network = load_network(branching_model(Path(folder)))
        result = tune_in_bed(network, tracker, Path(database), raced=say)
    print("done", result.trials, result.known, len(result.records), flush=True)


if __name__ == "__main__":
    main()
