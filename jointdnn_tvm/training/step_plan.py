"""Which groups of a training step run where: a plan like that of a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from jointdnn_tvm.cost.table import CostTable, make_problem
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Limits, Operator, Problem
from jointdnn_tvm.planning import AUTO, Plan, answer_problem
from jointdnn_tvm.targets import LinkProfile, load_link
from jointdnn_tvm.training.privacy import private_tensors
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import placement_tensors, step_tensors


def plan_training(
    step: TrainingStep,
    costs: CostTable,
    *,
    link: str | LinkProfile = "huang2012-wifi",
    objective: str = "latency",
    limits: Limits | None = None,
    private: Collection[str] = (),
    placement: str = AUTO,
) -> Plan:
    """Place every group of a step by its costs and the link; what it costs is that of one step.

    Args:
        step: what is trained, with its batch size.
        costs: of its groups, by `measure` or `estimate`.
        link: a profile, or its name or path.
        objective: ``latency`` or ``energy`` (the mobile's).
        limits: what a step may take.
        private: ``inputs``, ``labels`` or both: those never cross the link, nor what is computed
            from them alone; see `privacy.private_tensors`.
        placement: ``auto``, or one that `planning.answer_problem` knows.

    Raises:
        CostError: a group runs on neither side.
        InfeasibleError: no placement meets the limits.
        ProblemError: another argument cannot be met.
    """
    profile = load_link(link) if isinstance(link, str) else link
    problem = step_problem(step, costs, profile, objective, limits, private)
    answer, baselines = answer_problem(problem, placement)
    sources = {
        **costs.sources(),
        **costs.stated_corrections(step.graph),
        "link": profile.how,
        **({"private": ", ".join(sorted(set(private)))} if private else {}),
    }
    mobile, cloud = costs.mobile, costs.cloud
    return Plan(
        *(problem, answer, baselines, mobile, cloud, profile, sources),
        newly_measured=costs.measured,
        transfer=costs.transfer,
    )


def step_problem(
    step: TrainingStep,
    costs: CostTable,
    link: LinkProfile,
    objective: str = "latency",
    limits: Limits | None = None,
    private: Collection[str] = (),
) -> Problem:
    """The placement problem of a step; raises as `plan_training` does, but for the limits."""
    if objective == "throughput":
        raise ProblemError("a step of training waits for the one before: use latency or energy")
    problem = make_problem(step.graph, costs, link, objective, limits)
    stays = private_tensors(step, private)
    pinned = {g.name for g in step.graph.groups if not stays.isdisjoint(g.inputs)}
    kept_bytes = _mask_bytes(step)
    return replace(
        problem,
        operators=tuple(
            _operator(o, kept_bytes.get(o.name, 0), pinned=o.name in pinned)
            for o in problem.operators
        ),
        tensors=placement_tensors(step),
    )


def _mask_bytes(step: TrainingStep) -> Mapping[str, int]:
    """Bytes of the masks that are there while a step runs, by the first group that reads each."""
    masks = step_tensors(step).masks
    found: dict[str, int] = {}
    for tensor in step.graph.tensors:
        if tensor.name in masks and tensor.consumers:
            first = tensor.consumers[0]
            found[first] = found.get(first, 0) + tensor.size_bytes
    return found


def _operator(operator: Operator, kept_bytes: int, *, pinned: bool) -> Operator:
    mobile = operator.mobile
    if mobile is None:
        if pinned:
            raise ProblemError(
                f"group {operator.name!r} reads what is private, and the mobile cannot run it: "
                "allow it to cross, or choose another mobile target"
            )
        return operator
    mobile = replace(mobile, memory_bytes=mobile.memory_bytes + kept_bytes)
    return replace(operator, mobile=mobile, cloud=None if pinned else operator.cloud)
