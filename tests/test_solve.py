"""The answer: optimal and given placements, in the one format."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import (
    Link,
    Operator,
    Problem,
    SideCost,
    Tensor,
    fixed_placement,
    solve,
)
from jointdnn_tvm.placement.baselines import cloud_only, mobile_only

KEYS = {
    "status", "objective", "bound", "latency_s", "energy_j", "cloud_s", "mobile_bytes", "error",
    "deadline_s", "mobile_peak_bytes",
    "bottleneck_s", "switches", "placement", "codecs", "solver", "solve_s",
}  # fmt: skip

# 1000 bytes are 8000 bits: 1 s up, 0.5 s down.
LINK = Link(8000, 16000, rtt_s=0.2, transmit_w=3.0, receive_w=2.0, idle_w=0.5)
PROBLEM = Problem(
    operators=(
        Operator("a", SideCost(1.0, 4.0, 100), SideCost(0.25)),
        Operator("b", SideCost(9.0, 36.0, 50), SideCost(0.75)),
        Operator("c", SideCost(0.5, 2.0, 25), SideCost(0.125)),
    ),
    tensors=(
        Tensor("x", None, ("a",), 10000),
        Tensor("ab", "a", ("b", "c"), 1000),
        Tensor("bc", "b", ("c",), 500),
        Tensor("y", "c", (), 8000, output=True),
    ),
    link=LINK,
)


def test_metrics_of_a_placement_worked_out_by_hand() -> None:
    answer = fixed_placement(PROBLEM, {"a": "mobile", "b": "cloud", "c": "mobile"})
    # a 1 + up ab 1 + b 0.75 + down bc 0.25 + c 0.5, and two switches of 0.1
    assert answer.latency_s == pytest.approx(1 + 1 + 0.75 + 0.25 + 0.5 + 0.2)
    assert answer.energy_j == pytest.approx(4 + 2 + 3 * 1 + 2 * 0.25 + 0.5 * (0.75 + 0.2))
    assert answer.cloud_s == 0.75
    assert answer.mobile_bytes == 125
    assert answer.bottleneck_s == 1.5
    assert answer.switches == 2
    assert answer.codecs == {"ab": "none", "bc": "none"}
    assert (answer.status, answer.bound, answer.objective) == ("feasible", None, answer.latency_s)


def test_the_optimum_is_proved() -> None:
    answer = solve(PROBLEM)
    assert answer.placement == {"a": "mobile", "b": "cloud", "c": "mobile"}
    assert answer.status == "optimal"
    assert answer.objective == answer.bound == answer.latency_s


def test_the_objective_may_be_energy() -> None:
    answer = solve(replace(PROBLEM, objective="energy"))
    assert answer.objective == answer.energy_j == answer.bound


def test_outputs_may_stay_on_the_cloud() -> None:
    problem = replace(PROBLEM, outputs_on="any")
    everything = cloud_only(problem)
    assert everything is not None
    assert everything.switches == 1
    assert everything.codecs == {"x": "none"}


def test_a_network_without_inputs_may_start_anywhere() -> None:
    problem = replace(PROBLEM, tensors=PROBLEM.tensors[1:])
    everything = cloud_only(problem)
    assert everything is not None
    assert everything.switches == 1  # the end, on the mobile
    assert solve(problem).placement == dict.fromkeys("ab", "cloud") | {"c": "mobile"}


def test_what_costs_the_same_everywhere_stays_on_the_mobile() -> None:
    nothing = SideCost(0.0)
    problem = Problem((Operator("a", nothing, nothing),), (), LINK, outputs_on="any")
    assert solve(problem).placement == {"a": "mobile"}


def test_decimal_ties_take_fewest_switches() -> None:
    # 0.1 + 0.2 is a little more than 0.3 in binary, yet nobody means that to decide
    operator = Operator("a", SideCost(0.1 + 0.2), SideCost(0.3))
    problem = Problem((operator,), (Tensor("x", None, ("a",), 0),), LINK)
    problem = replace(problem, link=replace(LINK, rtt_s=0.0))
    assert solve(problem).switches == 0


def test_baselines_are_never_better() -> None:
    optimum = solve(PROBLEM).objective
    for side, only in (("mobile", mobile_only), ("cloud", cloud_only)):
        baseline = only(PROBLEM)
        assert baseline is not None
        assert set(baseline.placement.values()) == {side}
        assert baseline.objective >= optimum


def test_no_baseline_where_an_operator_cannot_run() -> None:
    pinned = replace(PROBLEM.operators[0], cloud=None)
    problem = replace(PROBLEM, operators=(pinned, *PROBLEM.operators[1:]))
    assert cloud_only(problem) is None
    assert mobile_only(problem) is not None
    assert solve(problem).placement["a"] == "mobile"


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ({"a": "mobile", "b": "mobile"}, "no side for operator 'c'"),
        ({"a": "mobile", "b": "mobile", "c": "gpu"}, "operator 'c' on 'gpu': use 'mobile' or"),
        ({"a": "mobile", "b": "mobile", "c": "mobile", "d": "cloud"}, "names operator 'd'"),
    ],
)
def test_a_wrong_placement_is_one_clear_line(placement: dict[str, str], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        fixed_placement(PROBLEM, placement)


def test_a_placement_where_an_operator_cannot_run() -> None:
    problem = replace(PROBLEM, operators=(replace(PROBLEM.operators[0], mobile=None),), tensors=())
    with pytest.raises(ProblemError, match="operator 'a' cannot run on the mobile side"):
        fixed_placement(problem, {"a": "mobile"})


def test_the_answer_as_json() -> None:
    document = json.loads(json.dumps(solve(PROBLEM).to_json()))
    assert set(document) == KEYS
    assert document["placement"]["b"] == "cloud"


@pytest.mark.parametrize("scale", [1e-90, 1e-9, 1.0, 1e9, 1e90])
def test_any_unit_is_exact(scale: float) -> None:
    operators = tuple(
        Operator(o.name, SideCost(o.mobile.latency_s * scale), SideCost(o.cloud.latency_s * scale))
        for o in PROBLEM.operators
        if o.mobile and o.cloud
    )
    link = Link(LINK.uplink_bps / scale, LINK.downlink_bps / scale, LINK.rtt_s * scale)
    answer = solve(replace(PROBLEM, operators=operators, link=link))
    assert answer.placement == solve(PROBLEM).placement
    assert answer.objective == pytest.approx(scale * solve(PROBLEM).objective, rel=1e-12, abs=0)
    assert answer.bound == pytest.approx(answer.objective, rel=1e-12, abs=0)


def densenet_like(seed: int) -> Problem:
    """Some 400 operators: four dense blocks whose concatenations read all that came before."""
    rng = random.Random(seed)
    operators: list[Operator] = []
    tensors: list[tuple[str | None, list[str], int]] = [(None, [], 602112)]

    def add(size_bytes: int, inputs: list[tuple[str | None, list[str], int]]) -> None:
        name = f"op{len(operators)}"
        operators.append(
            Operator(name, SideCost(rng.random() * 5e-3), SideCost(rng.random() * 1e-3))
        )
        for _, consumers, _ in inputs:
            consumers.append(name)
        tensors.append((name, [], size_bytes))

    add(3211264, tensors[:1])
    for block, layers in enumerate((6, 12, 24, 16)):
        pixels, features = (56 >> block) ** 2, [tensors[-1]]
        for layer in range(layers):
            add(4 * pixels * (64 + 32 * layer), features)
            for channels in (64, 128, 128, 128, 32):
                add(4 * pixels * channels, tensors[-1:])
            features.append(tensors[-1])
        add(pixels * 1024, features)
    return Problem(
        tuple(operators),
        tuple(
            Tensor(f"t{index}", producer, tuple(consumers), size_bytes, output=not consumers)
            for index, (producer, consumers, size_bytes) in enumerate(tensors)
        ),
        Link(1e9, 1e9, 0.001, 2.0, 1.0, 0.5),
    )


@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_a_network_as_large_as_densenet121(objective: str) -> None:
    problem = replace(densenet_like(0), objective=objective)
    answer = solve(problem)
    assert answer.objective == pytest.approx(answer.bound, rel=1e-10)
    for operator in problem.operators:  # no single move is better
        other = "cloud" if answer.placement[operator.name] == "mobile" else "mobile"
        moved = fixed_placement(problem, {**answer.placement, operator.name: other})
        assert moved.objective >= answer.objective
