"""A plan: where every group runs, for which targets and link, and its predicted cost."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import SIDES, Answer, Problem, Side, all_on, fixed_placement, solve
from jointdnn_tvm.targets import LinkProfile, TargetProfile

AUTO = "auto"


@dataclass(frozen=True)
class Plan:
    """A placement with its predicted costs, and the baselines under the same cost model.

    `sources` says how each kind of number was got: measured, modelled, emulated. `newly_measured`
    counts the groups whose costs were not in the database before.
    """

    answer: Answer
    baselines: Mapping[str, Answer]
    mobile: TargetProfile
    cloud: TargetProfile
    link: LinkProfile
    sources: Mapping[str, str]
    newly_measured: int

    def to_json(self) -> dict[str, Any]:
        """Return the answer, with what it rests on beside it."""
        return {
            **self.answer.to_json(),
            "link": self.link.name,
            "mobile": self.mobile.name,
            "cloud": self.cloud.name,
            "baselines": {n: _brief(a) for n, a in self.baselines.items()},
            "sources": dict(self.sources),
            "newly_measured": self.newly_measured,
        }


def answer_problem(problem: Problem, placement: str = AUTO) -> tuple[Answer, dict[str, Answer]]:
    """Find the answer that `placement` asks for, and the baselines that can run at all.

    `placement` is ``auto`` (the optimum), ``mobile-only``, ``cloud-only``, ``random:SEED``, or the
    path of a JSON file: an object of group to side, or an answer that has one as `placement`.
    """
    sides: dict[str, Side] = {f"{side}-only": side for side in SIDES}
    answers = {name: all_on(problem, side) for name, side in sides.items()}
    baselines = {name: answer for name, answer in answers.items() if answer is not None}
    if placement == AUTO:
        return solve(problem), baselines
    if placement in sides:
        if placement not in baselines:
            side = sides[placement]
            stuck = next(o.name for o in problem.operators if o.cost(side) is None)
            raise ProblemError(f"group {stuck!r} cannot run on the {side} side; use auto")
        return baselines[placement], baselines
    return fixed_placement(problem, _given(problem, placement)), baselines


def check_placement_choice(placement: str) -> None:
    """Raise ProblemError for a `placement` that no network has; call it before the long work."""
    if placement not in (AUTO, *(f"{side}-only" for side in SIDES)):
        _read(placement)


def _given(problem: Problem, placement: str) -> dict[str, str]:
    found = _read(placement)
    return found if isinstance(found, dict) else _random(problem, found)


def _read(placement: str) -> int | dict[str, str]:
    """The seed of a random placement, or what the file says."""
    kind, _, seed = placement.partition(":")
    if kind == "random":
        try:
            return int(seed)
        except ValueError:
            raise ProblemError(f"random:{seed} needs a whole number, such as random:1") from None
    path = Path(placement)
    if not os.path.isfile(placement):  # unlike `Path.is_file`, for any text
        raise ProblemError(
            f"placement {placement!r} is unknown; use auto, mobile-only, cloud-only, random:SEED, "
            "or the path of a JSON file"
        )
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ProblemError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{path} is not JSON ({error}); write group names and sides") from error
    found = document.get("placement", document) if isinstance(document, dict) else document
    if not isinstance(found, dict) or not all(isinstance(s, str) for s in found.values()):
        raise ProblemError(f"{path} holds no placement; write an object of group name to side")
    return found


def _random(problem: Problem, seed: int) -> dict[str, str]:
    """Put each group on a side at random, of those that can run it."""
    draw = random.Random(seed)
    return {
        o.name: draw.choice([s for s in SIDES if o.cost(s) is not None]) for o in problem.operators
    }


def _brief(answer: Answer) -> dict[str, Any]:
    return {
        "latency_s": answer.latency_s,
        "energy_j": answer.energy_j,
        "objective": answer.objective,
    }
