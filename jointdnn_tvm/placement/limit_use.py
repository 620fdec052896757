"""How much of each limit an answer takes, and whether a looser one would give a better plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.evaluate import evaluate
from jointdnn_tvm.placement.min_cut import EQUAL_PARTS
from jointdnn_tvm.placement.problem import Limits, Problem
from jointdnn_tvm.placement.solve import Answer, solve


@dataclass(frozen=True)
class LimitUse:
    """What an answer takes of a limit, in the limit's unit.

    ``share`` is of the limit (None where that is 0). ``objective_without`` is the best that can be
    had with the other limits alone, and the limit is ``binding`` when that is better than the
    optimum; both are None where that was not proved in time.
    """

    taken: float
    limit: float
    share: float | None
    objective_without: float | None
    binding: bool | None


def limit_uses(
    problem: Problem, answer: Answer, optimum: float, time_limit_s: float
) -> Mapping[str, LimitUse]:
    """The use of each limit that is set, by its name; ``optimum`` is the objective within all.

    ``time_limit_s`` is for each limit.
    """
    metrics = evaluate(problem, answer.placement, answer.codecs)
    uses = {}
    for name, limit in problem.limits.active.items():
        without, binding = _without(problem, name, optimum, time_limit_s)
        taken = metrics.limited(name)
        uses[name] = LimitUse(taken, limit, taken / limit if limit else None, without, binding)
    return uses


def _without(
    problem: Problem, name: str, optimum: float, time_limit_s: float
) -> tuple[float, bool] | tuple[None, None]:
    """The best objective without a limit and whether it is better, or None for not known."""
    rest = {other: value for other, value in problem.limits.active.items() if other != name}
    looser = Limits(**rest, latency_sigmas=problem.limits.latency_sigmas)
    try:
        best = solve(replace(problem, limits=looser), time_limit_s)
    except ProblemError:  # the time is up: what fewer limits leave cannot be infeasible
        return None, None
    if best.objective < optimum * (1 - 1 / EQUAL_PARTS):
        return best.objective, True
    return (best.objective, False) if best.status == "optimal" else (None, None)
