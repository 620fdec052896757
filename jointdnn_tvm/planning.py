"""A plan: where every group runs, for which targets and link, and its predicted cost."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jointdnn_tvm.agreement import Agreement
from jointdnn_tvm.boundary import InModule
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import (
    SIDES,
    Answer,
    Operator,
    Problem,
    Side,
    SideCost,
    all_baselines,
    evaluate,
    fixed_placement,
    solve,
)
from jointdnn_tvm.placement.fixed_codecs import best_codecs
from jointdnn_tvm.placement.solution import InfeasibleError, broken_limits
from jointdnn_tvm.targets import LinkProfile, TargetProfile

AUTO = "auto"
_ONE_SIDED: dict[str, Side] = {f"{side}-only": side for side in SIDES}


@dataclass(frozen=True)
class Plan:
    """A placement with its predicted costs, and the baselines under the same cost model.

    `placement.explain(problem, answer)` says why. `sources` says how each kind of number was got:
    measured, modelled, emulated. `newly_measured` counts the groups whose costs were not in the
    database before. `transfer` is what crossings cost the devices, which `problem.link` has in it.
    `agreement` is that of a plan with lossy codecs, on samples held out; `in_module` is how
    its compiled stages quantise, by tensor.
    """

    problem: Problem
    answer: Answer
    baselines: Mapping[str, Answer]
    mobile: TargetProfile
    cloud: TargetProfile
    link: LinkProfile
    sources: Mapping[str, str]
    newly_measured: int
    transfer: Transfer | None = None
    agreement: Agreement | None = None
    in_module: Mapping[str, InModule] = field(default_factory=dict)

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
            **({"agreement": self.agreement.to_json()} if self.agreement else {}),
        }


def answer_problem(problem: Problem, placement: str = AUTO) -> tuple[Answer, dict[str, Answer]]:
    """Find the answer that `placement` asks for, and the baselines that can be taken.

    `placement` is ``auto`` (the optimum), ``mobile-only``, ``cloud-only``, ``random:SEED``, or the
    path of a JSON file: an object of group to side, or an answer that has one as `placement`. The
    codecs are the best for it.
    Raises `ProblemError` for one that cannot run or breaks a limit, and `InfeasibleError` when
    every placement breaks one.
    """
    baselines = all_baselines(problem)
    if placement == AUTO:
        return solve(problem), baselines
    if placement in baselines and placement in _ONE_SIDED:
        return baselines[placement], baselines
    given = fixed_placement(problem, _given(problem, placement)).placement
    answer = fixed_placement(problem, given, best_codecs(problem, given))
    broken = broken_limits(problem.limits, evaluate(problem, answer.placement, answer.codecs))
    if broken:
        raise ProblemError(
            f"placement {placement} breaks {', '.join(broken)}: raise the limit, or use auto"
        )
    return answer, baselines


def answer_by_stages(
    problem: Problem, placement: str, factors: Callable[[Mapping[str, Side]], Mapping[str, float]]
) -> tuple[Problem, Answer, dict[str, Answer]]:
    """`answer_problem` where what stages take as wholes is known of some placements.

    `factors` gives, for a placement, what each group takes in its stage over what the problem has
    for it. The best placement of the problem is priced by its own stages; then the problem in which
    they cost that is solved in turn, until a placement comes again. Returns the best of all these
    and of the baselines, each as its own stages price it, with the problem that prices it so;
    it is optimal where that problem has no better one. Raises as `answer_problem` does.
    """
    best, baselines = answer_problem(problem, placement)

    def by_stages(answer: Answer) -> tuple[Problem, Answer]:
        priced = _priced(problem, answer.placement, factors)
        return priced, answer if priced == problem else _answer_of(priced, answer)

    of_baselines = {name: by_stages(answer) for name, answer in baselines.items()}
    told = {name: answer for name, (_, answer) in of_baselines.items()}
    if placement != AUTO:
        return (*by_stages(best), told)
    found = [by_stages(best)]
    seen = [best.placement]
    while found[0][0] != problem:  # else the optimum has its own prices
        priced, _ = found[-1]
        try:
            best = solve(priced)
        except InfeasibleError:
            break
        if best.placement == seen[-1]:  # the best one at its own prices
            found[-1] = priced, best
        if best.placement in seen:
            break
        seen.append(best.placement)
        found.append(by_stages(best))
    found += of_baselines.values()
    allowed = [
        (own, answer)
        for own, answer in found
        if not broken_limits(own.limits, evaluate(own, answer.placement, answer.codecs))
    ]
    return (*min(allowed or found, key=lambda pair: pair[1].objective), told)


def _priced(
    problem: Problem,
    placement: Mapping[str, Side],
    factors: Callable[[Mapping[str, Side]], Mapping[str, float]],
) -> Problem:
    """The problem in which each group costs what it takes in its stage of that placement."""
    of_group = factors(placement)

    def scaled(cost: SideCost | None, factor: float) -> SideCost | None:
        if cost is None:
            return None
        return replace(cost, latency_s=cost.latency_s * factor, energy_j=cost.energy_j * factor)

    operators = []
    for operator in problem.operators:
        side = placement[operator.name]
        cost = scaled(operator.cost(side), of_group[operator.name])
        mobile, cloud = (cost, operator.cloud) if side == "mobile" else (operator.mobile, cost)
        operators.append(Operator(operator.name, mobile, cloud))
    return replace(problem, operators=tuple(operators))


def _answer_of(problem: Problem, answer: Answer) -> Answer:
    """The same placement at that problem's prices."""
    codecs = best_codecs(problem, answer.placement)
    return fixed_placement(problem, answer.placement, codecs)


def check_placement_choice(placement: str) -> None:
    """Raise ProblemError for a `placement` that no network has; call it before the long work."""
    if placement not in (AUTO, *_ONE_SIDED):
        _read(placement)


def _given(problem: Problem, placement: str) -> Mapping[str, str]:
    if placement in _ONE_SIDED:
        return _all_on(problem, _ONE_SIDED[placement])
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


def _all_on(problem: Problem, side: Side) -> dict[str, Side]:
    for operator in problem.operators:
        if operator.cost(side) is None:
            raise ProblemError(f"group {operator.name!r} cannot run on the {side} side; use auto")
    return {operator.name: side for operator in problem.operators}


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
        "bottleneck_s": answer.bottleneck_s,
        "objective": answer.objective,
    }
