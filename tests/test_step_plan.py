"""Plans of training steps: costs that are estimated and measured, limits, privacy, memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import jointdnn_tvm as jd
from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.placement import InfeasibleError, Limits, explain, fixed_placement
from jointdnn_tvm.targets import load_link
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import AdamW, Sgd
from jointdnn_tvm.training.residuals import with_residuals
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_memory import mobile_memory_bytes
from jointdnn_tvm.training.step_plan import step_problem
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import TASKS, small_mlp

FAST = "up=1e9,down=1e9,rtt=0.0001"


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    network = load_trainable(TASKS["small_cnn"].model(tmp_path_factory.mktemp("cnn")))
    return training_step(network, CrossEntropy(), AdamW())


@pytest.fixture(scope="module")
def costs(step: TrainingStep) -> CostTable:
    return jd.estimate(step, mobile="raspberry-pi-4", cloud="cuda-sm90")


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_the_plan_is_optimal_and_never_worse_than_one_side_alone(
    step: TrainingStep, costs: CostTable, objective: str
) -> None:
    for link in ("huang2012-wifi", "lan-1g", FAST):
        plan = jd.plan_training(step, costs, link=link, objective=objective)
        answer = plan.answer
        assert (answer.status, answer.solver) == ("optimal", "min-cut")
        assert {"mobile-only", "cloud-only"} <= set(plan.baselines)
        for baseline in plan.baselines.values():
            assert answer.objective <= baseline.objective * (1 + 1e-9)
        for operator in plan.problem.operators:
            other = "cloud" if answer.placement[operator.name] == "mobile" else "mobile"
            moved = fixed_placement(plan.problem, {**answer.placement, operator.name: other})
            assert moved.objective >= answer.objective * (1 - 1e-9)


def test_private_labels_make_a_step_go_up_and_down(step: TrainingStep, costs: CostTable) -> None:
    slow_phone = replace(
        costs, on_mobile={key: _times(cost, 1000) for key, cost in costs.on_mobile.items()}
    )
    free = jd.plan_training(step, slow_phone, link=FAST)
    assert set(free.answer.placement.values()) == {"cloud"}
    plan = jd.plan_training(step, slow_phone, link=FAST, private=["labels"])
    assert "cloud-only" not in plan.baselines
    readers = [g.name for g in step.graph.groups if "label" in g.inputs]
    assert readers
    assert {plan.answer.placement[name] for name in readers} == {"mobile"}
    assert plan.answer.switches > free.answer.switches == 2
    assert plan.sources["private"] == "labels"
    assert plan.answer.objective >= free.answer.objective


def _times(cost: Measurement, factor: float) -> Measurement:
    assert cost.latency_s is not None
    return replace(cost, latency_s=cost.latency_s * factor)


def test_limits_hold_for_the_state_too(step: TrainingStep, costs: CostTable) -> None:
    everything = jd.plan_training(step, costs, placement="mobile-only").answer
    state_bytes = sum(step.weights[name].nbytes for name in step.state)
    assert everything.mobile_bytes >= 2 * state_bytes
    for limits in (
        Limits(max_mobile_bytes=everything.mobile_bytes / 2),
        Limits(max_mobile_peak_bytes=everything.mobile_peak_bytes / 2),
    ):
        plan = jd.plan_training(step, costs, limits=limits)
        ((name, limit),) = limits.active.items()
        assert plan.answer.status == "optimal"
        assert getattr(plan.answer, name.removeprefix("max_")) <= limit * (1 + 1e-9)
        if name == "max_mobile_peak_bytes":
            taken = mobile_memory_bytes(step, plan.answer.placement, costs.mobile)
            assert 0 < taken <= limit
            assert plan.sources["mobile memory"].startswith(f"{taken:.4g} of {limit:.4g} bytes")
    with pytest.raises(InfeasibleError, match="max_latency_s"):
        jd.plan_training(step, costs, limits=Limits(max_latency_s=1e-9))


def test_memory_that_no_plan_keeps_to_is_one_clear_line(
    step: TrainingStep, costs: CostTable
) -> None:
    limits = Limits(max_mobile_peak_bytes=1000)
    with pytest.raises(ProblemError, match="max_mobile_peak_bytes"):
        jd.plan_training(step, costs, private=["inputs"], limits=limits)


@pytest.fixture(scope="module")
def host(step: TrainingStep) -> HostNetwork:
    return HostNetwork(step)


@pytest.fixture
def _compiled_once(host: HostNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jointdnn_tvm.training.step_codecs.HostNetwork", lambda step: host)


SLOW = "up=1e5,down=1e5,rtt=0.001"


@pytest.mark.usefixtures("_compiled_once")
def test_codecs_make_a_slow_link_faster(step: TrainingStep, costs: CostTable) -> None:
    plain = jd.plan_training(step, costs, link=SLOW, placement="random:3")
    assert set(plain.answer.codecs.values()) == {"none"}
    assert plain.sources["codecs"] == "none"
    taken = {"none": plain.answer.latency_s}
    for codecs in ("lossless", "f16", "u8"):
        plan = jd.plan_training(step, costs, link=SLOW, placement="random:3", codecs=codecs)
        used = set(plan.answer.codecs.values())
        assert (codecs in used) == (codecs != "lossless")
        assert all(CODECS[codec].exact or codec == codecs for codec in used)
        assert (plan.answer.error > 0) == (codecs != "lossless")
        assert plan.answer.placement == plain.answer.placement
        taken[codecs] = plan.answer.latency_s
    assert taken["u8"] < taken["f16"] < taken["lossless"] < taken["none"]
    assert taken["u8"] < 0.7 * taken["none"]


@pytest.mark.usefixtures("_compiled_once")
def test_a_fast_link_takes_no_codec(step: TrainingStep, costs: CostTable) -> None:
    link = "up=1e11,down=1e11,rtt=0"
    fast = jd.plan_training(step, costs, link=link, placement="random:3", codecs="u8")
    assert "u8" not in fast.answer.codecs.values()


@pytest.mark.usefixtures("_compiled_once")
def test_what_is_left_of_gradients_takes_memory(step: TrainingStep, costs: CostTable) -> None:
    limits = Limits(max_mobile_peak_bytes=1e9)
    told = []
    for codecs in ("none", "u8"):
        plan = jd.plan_training(
            step, costs, link=SLOW, placement="random:3", codecs=codecs, limits=limits
        )
        told.append(plan)
    sides, chosen = told[1].answer.placement, told[1].answer.codecs
    left_bytes = 2 * sum(
        t.size_bytes
        for t in with_residuals(step, sides, chosen)
        if sides[t.producer or ""] == "mobile"
    )
    assert left_bytes > 0
    taken = [float(plan.sources["mobile memory"].split()[0]) for plan in told]
    assert taken[1] - taken[0] == pytest.approx(left_bytes, abs=2e-3 * taken[1])


def test_a_plan_can_be_explained(step: TrainingStep, costs: CostTable) -> None:
    plan = jd.plan_training(step, costs, link=FAST)
    why = explain(plan.problem, plan.answer)
    total_s = sum(part.latency_s for part in why.parts.values())
    assert total_s == pytest.approx(plan.answer.latency_s)


def test_masks_are_there_while_a_step_runs(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path), dropout=True)
    step = training_step(network, CrossEntropy(), Sgd())
    costs = jd.estimate(step)
    problem = step_problem(step, costs, load_link("lan-1g"))
    kept = sum(o.mobile.memory_bytes for o in problem.operators if o.mobile)
    assert kept == sum(group.weight_bytes for group in step.graph.groups) + 4 * 8


def test_what_cannot_be_planned_is_one_clear_line(step: TrainingStep, costs: CostTable) -> None:
    with pytest.raises(ProblemError, match="a step of training waits for the one before"):
        jd.plan_training(step, costs, objective="throughput")
    broken = replace(
        costs,
        on_mobile={key: Measurement.failure("no", "here") for key in costs.on_mobile},
    )
    with pytest.raises(ProblemError, match="reads what is private, and the mobile cannot run it"):
        jd.plan_training(step, broken, private=["inputs"])


def test_groups_of_a_step_are_measured(tmp_path: Path) -> None:
    network = load_trainable(small_mlp(tmp_path), dropout=True)
    step = training_step(network, CrossEntropy(), Sgd(momentum=0.9))
    costs = jd.measure(step, database=tmp_path / "costs")
    assert costs.measured == 1 + len({group.key for group in step.graph.groups})
    again = jd.measure(step, database=tmp_path / "costs")
    assert again.measured == 0
    plan = jd.plan_training(step, again, link=FAST)
    assert plan.answer.status == "optimal"
    assert "correction" in plan.sources
