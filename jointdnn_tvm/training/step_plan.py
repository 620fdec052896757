"""Which groups of a training step run where: a plan like that of a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from jointdnn_tvm.cost.table import CostTable, Encodings, make_problem
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.offering import Offer
from jointdnn_tvm.placement import Answer, InfeasibleError, Limits, Operator, Problem, all_baselines
from jointdnn_tvm.placement.problem import MOBILE
from jointdnn_tvm.planning import AUTO, Plan, answer_problem
from jointdnn_tvm.targets import LinkProfile, load_link
from jointdnn_tvm.training.privacy import private_tensors
from jointdnn_tvm.training.residuals import with_residuals
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_codecs import offer_step_codecs
from jointdnn_tvm.training.step_memory import mobile_memory_bytes
from jointdnn_tvm.training.step_tensors import placement_tensors, step_tensors

_TIGHTER = 0.99  # at least so much, each time that a plan takes more memory than it may


def plan_training(
    step: TrainingStep,
    costs: CostTable,
    *,
    link: str | LinkProfile = "huang2012-wifi",
    objective: str = "latency",
    limits: Limits | None = None,
    private: Collection[str] = (),
    placement: str = AUTO,
    codecs: str | Offer = "none",
) -> Plan:
    """Place every group of a step by its costs and the link; what it costs is that of one step.

    Args:
        step: what is trained, with its batch size.
        costs: of its groups, by `measure` or `estimate`.
        link: a profile, or its name or path.
        objective: ``latency`` or ``energy`` (the mobile's).
        limits: what a step may take; of memory, its stages as they are compiled, for which the
            plan's problem may have a tighter limit on tensors between groups.
        private: ``inputs``, ``labels`` or both: those never cross the link, nor what is computed
            from them alone; see `privacy.private_tensors`.
        placement: ``auto``, or one that `planning.answer_problem` knows.
        codecs: one of `step_codecs.CHOICES`, for which a step is taken here on noise, or what
            `offer_step_codecs` gave. Those that lose bits are used where that is faster.

    Raises:
        CodecError: such codecs cannot be offered.
        CostError: a group runs on neither side.
        InfeasibleError: no placement meets the limits.
        ProblemError: another argument cannot be met.
    """
    profile = load_link(link) if isinstance(link, str) else link
    offer = offer_step_codecs(step, costs, codecs) if isinstance(codecs, str) else codecs
    problem = step_problem(step, costs, profile, objective, limits, private, offer.encodings)
    answer, baselines = answer_problem(problem, placement)
    memory = {}
    if problem.limits.max_mobile_peak_bytes is not None:
        most_bytes = problem.limits.max_mobile_peak_bytes
        problem, answer, taken_bytes = _within_memory(step, costs, problem, answer, placement)
        baselines = all_baselines(problem)
        memory = {"mobile memory": f"{taken_bytes:.4g} of {most_bytes:.4g} bytes, as compiled"}
    sources = {
        **costs.sources(),
        **costs.stated_corrections(step.graph),
        "link": profile.how,
        "codecs": offer.source,
        **({"private": ", ".join(sorted(set(private)))} if private else {}),
        **memory,
    }
    mobile, cloud = costs.mobile, costs.cloud
    return Plan(
        *(problem, answer, baselines, mobile, cloud, profile, sources),
        newly_measured=costs.measured,
        transfer=costs.transfer,
    )


def _within_memory(
    step: TrainingStep, costs: CostTable, problem: Problem, answer: Answer, placement: str
) -> tuple[Problem, Answer, int]:
    """The problem and answer whose compiled stages keep the limit on memory, and what they take.

    They take more than the tensors between groups: the limit on these is made tighter by as much.
    """
    most_bytes = problem.limits.max_mobile_peak_bytes or 0.0
    while True:
        taken_bytes = mobile_memory_bytes(step, answer.placement, costs.mobile)
        taken_bytes += _residual_bytes(step, answer)
        if taken_bytes <= most_bytes:
            return problem, answer, taken_bytes
        tighter = answer.mobile_peak_bytes * min(most_bytes / taken_bytes, _TIGHTER)
        limits = replace(problem.limits, max_mobile_peak_bytes=tighter)
        problem = replace(problem, limits=limits)
        try:
            answer, _ = answer_problem(problem, placement)
        except InfeasibleError as error:
            raise ProblemError(
                f"no placement was found whose compiled stages take {most_bytes:.6g} bytes of the "
                f"mobile or less: raise max_mobile_peak_bytes, to {taken_bytes:.6g} for the least"
            ) from error


def _residual_bytes(step: TrainingStep, answer: Answer) -> int:
    """What the mobile keeps of gradients that it sends, of the last step and of the present one."""
    kept = with_residuals(step, answer.placement, answer.codecs)
    own = (t.size_bytes for t in kept if t.producer and answer.placement[t.producer] == MOBILE)
    return 2 * sum(own)


def step_problem(
    step: TrainingStep,
    costs: CostTable,
    link: LinkProfile,
    objective: str = "latency",
    limits: Limits | None = None,
    private: Collection[str] = (),
    encodings: Encodings | None = None,
) -> Problem:
    """The placement problem of a step; raises as `plan_training` does, but for the limits."""
    if objective == "throughput":
        raise ProblemError("a step of training waits for the one before: use latency or energy")
    problem = make_problem(step.graph, costs, link, objective, limits, encodings)
    codecs = {tensor.name: tensor.codecs for tensor in problem.tensors}
    stays = private_tensors(step, private)
    pinned = {g.name for g in step.graph.groups if not stays.isdisjoint(g.inputs)}
    kept_bytes = _mask_bytes(step)
    return replace(
        problem,
        operators=tuple(
            _operator(o, kept_bytes.get(o.name, 0), pinned=o.name in pinned)
            for o in problem.operators
        ),
        tensors=tuple(replace(t, codecs=codecs[t.name]) for t in placement_tensors(step)),
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
