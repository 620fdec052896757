"""Placements that the user names, and what a plan says of itself."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import (
    SIDES,
    Codec,
    InfeasibleError,
    Limits,
    Link,
    Operator,
    Problem,
    Side,
    SideCost,
    Tensor,
    evaluate,
    fixed_placement,
    solve,
)
from jointdnn_tvm.planning import answer_by_stages, answer_problem
from tests.tiny_models import plan_of, random_placement

NAMES = ("a", "b", "c", "d", "e", "f")


def problem(*, only_mobile: str = "", only_cloud: str = "") -> Problem:
    """A chain that is quick on the cloud, some of which runs on one side only."""
    operators = [
        Operator(
            name,
            None if name in only_cloud else SideCost(1.0, 0.5, 10),
            None if name in only_mobile else SideCost(0.1),
        )
        for name in NAMES
    ]
    tensors = [Tensor("in", None, ("a",), 1000)]
    tensors += [Tensor(f"t{n}", n, (m,), 100) for n, m in itertools.pairwise(NAMES)]
    tensors += [Tensor("out", NAMES[-1], (), 10, output=True)]
    return Problem(tuple(operators), tuple(tensors), Link(8e3, 8e3))


def test_auto_is_the_optimum_and_no_worse_than_the_baselines() -> None:
    answer, baselines = answer_problem(problem())
    assert answer.status == "optimal"
    assert answer.placement == solve(problem()).placement
    assert set(baselines) == {"mobile-only", "cloud-only", "neurosurgeon", "dads"}
    assert answer.objective <= min(b.objective for b in baselines.values())


@pytest.mark.parametrize("seed", range(40))
def test_stages_that_are_known_are_priced_as_wholes(seed: int) -> None:
    draw = random.Random(seed)
    plain, placements = problem(), itertools.product(SIDES, repeat=len(NAMES))
    takes = {sides: draw.choice([1.0, draw.uniform(0.3, 3)]) for sides in placements}

    def factor(placement: Mapping[str, Side]) -> float:
        return takes[tuple(placement[name] for name in NAMES)]

    def really_s(placement: Mapping[str, Side]) -> float:
        on = [o.cost(placement[o.name]) for o in plain.operators]
        more_s = (factor(placement) - 1) * sum(cost.latency_s for cost in on if cost)
        return evaluate(plain, placement).latency_s + more_s

    own, answer, baselines = answer_by_stages(
        plain, "auto", lambda placement: dict.fromkeys(NAMES, factor(placement))
    )
    assert answer.latency_s == pytest.approx(evaluate(own, answer.placement).latency_s)
    assert answer.latency_s == pytest.approx(really_s(answer.placement))
    for baseline in baselines.values():
        assert baseline.latency_s == pytest.approx(really_s(baseline.placement))
        assert answer.latency_s <= baseline.latency_s
    assert answer.latency_s <= really_s(solve(plain).placement) + 1e-12


def test_nothing_known_of_stages_changes_nothing() -> None:
    own, answer, _ = answer_by_stages(problem(), "auto", lambda _: dict.fromkeys(NAMES, 1.0))
    assert own == problem()
    assert answer.status == "optimal"
    assert answer.placement == solve(problem()).placement


def test_a_placement_that_is_given_is_priced_by_its_stages() -> None:
    own, answer, _ = answer_by_stages(problem(), "random:3", lambda _: dict.fromkeys(NAMES, 2.0))
    plain, _ = answer_problem(problem(), "random:3")
    assert answer.placement == plain.placement
    on = [o.cost(plain.placement[o.name]) for o in problem().operators]
    more_s = sum(cost.latency_s for cost in on if cost)
    assert answer.latency_s == pytest.approx(plain.latency_s + more_s)
    assert own != problem()


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_one_side_only(side: str) -> None:
    answer, baselines = answer_problem(problem(), f"{side}-only")
    assert set(answer.placement.values()) == {side}
    assert answer.placement == baselines[f"{side}-only"].placement


@pytest.mark.parametrize("choice", ["file", "cloud-only"])
def test_given_placement_has_its_best_codecs(choice: str, tmp_path: Path) -> None:
    plain = problem()
    coarse, fine = Codec("u4", 200, error=0.3), Codec("u8", 300, error=0.1)
    tensors = [replace(t, codecs=(coarse, fine)) if t.name == "in" else t for t in plain.tensors]
    (tmp_path / "p.json").write_text(json.dumps(dict.fromkeys(NAMES, "cloud")))
    placement = str(tmp_path / "p.json") if choice == "file" else choice
    for limits, codec in ((Limits(), "u4"), (Limits(max_error=0.2), "u8")):
        answer, _ = answer_problem(replace(plain, tensors=tuple(tensors), limits=limits), placement)
        assert answer.codecs == {"in": codec, "out": "none"}


def test_baseline_that_cannot_run() -> None:
    stuck = problem(only_mobile="c", only_cloud="d")
    answer, baselines = answer_problem(stuck)
    assert set(baselines) == {"neurosurgeon", "dads"}
    assert (answer.placement["c"], answer.placement["d"]) == ("mobile", "cloud")
    with pytest.raises(ProblemError, match="group 'd' cannot run on the mobile side; use auto"):
        answer_problem(stuck, "mobile-only")
    with pytest.raises(ProblemError, match="group 'c' cannot run on the cloud side; use auto"):
        answer_problem(stuck, "cloud-only")


def test_random_placement_follows_its_seed() -> None:
    drawn = [answer_problem(problem(), f"random:{seed}")[0].placement for seed in range(20)]
    assert drawn[3] == answer_problem(problem(), "random:3")[0].placement
    assert len({tuple(p.items()) for p in drawn}) > 10
    stuck = problem(only_mobile="c", only_cloud="d")
    for seed in range(10):
        placement = answer_problem(stuck, f"random:{seed}")[0].placement
        assert (placement["c"], placement["d"]) == ("mobile", "cloud")


@pytest.mark.parametrize("seed", ["", "x", "1.5", " "])
def test_random_needs_a_whole_number(seed: str) -> None:
    with pytest.raises(ProblemError, match=r"needs a whole number, such as random:1"):
        answer_problem(problem(), f"random:{seed}")


def test_file_with_a_placement_or_an_answer(tmp_path: Path) -> None:
    placement = random_placement(NAMES, 4)
    expected = fixed_placement(problem(), placement)
    file = tmp_path / "placement.json"
    for document in (placement, {"placement": placement, "status": "optimal"}):
        file.write_text(json.dumps(document))
        answer, baselines = answer_problem(problem(), str(file))
        assert answer.placement == placement
        assert answer.latency_s == expected.latency_s
        assert len(baselines) == 4


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds no placement; write an object of group name to side"),
        (b"null", "holds no placement"),
        (b'{"a": 1}', "holds no placement"),
        (b'{"placement": ["a"]}', "holds no placement"),
        (b"{}", "placement has no side for operator 'a'"),
        (b'{"a": "mobile"}', "placement has no side for operator 'b'"),
    ],
)
def test_file_that_holds_none(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "placement.json"
    file.write_bytes(content)
    with pytest.raises(ProblemError, match=why):
        answer_problem(problem(), str(file))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"z": "cloud"}, "names operator 'z', which the problem lacks"),
        ({"a": "edge"}, "puts operator 'a' on 'edge'"),
        ({"a": "cloud"}, "operator 'a' cannot run on the cloud side"),
    ],
)
def test_placement_that_does_not_fit(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    file = tmp_path / "placement.json"
    file.write_text(json.dumps({**dict.fromkeys(NAMES, "mobile"), **change}))
    with pytest.raises(ProblemError, match=why):
        answer_problem(problem(only_mobile="a"), str(file))


@pytest.mark.parametrize(
    "text", ["", "mobile", "Auto", "/nowhere/p.json", "/proc", "x" * 5000, "\0"]
)
def test_placement_that_is_unknown(text: str) -> None:
    with pytest.raises(ProblemError, match=r"is unknown; use auto, mobile-only, .* JSON file"):
        answer_problem(problem(), text)


def test_plan_as_a_document(branching: Network) -> None:
    placement = random_placement([g.name for g in branching.graph.groups], 1)
    plan = plan_of(branching, placement)
    document = json.loads(json.dumps(plan.to_json()))
    assert document["placement"] == placement
    assert document["latency_s"] == plan.answer.latency_s > 0
    assert (document["mobile"], document["cloud"]) == ("host", "host")
    assert document["link"] == "huang2012-wifi"
    assert document["newly_measured"] == 0


def test_limits_bind_the_optimum_and_bar_what_breaks_them() -> None:
    limited = replace(problem(), limits=Limits(max_cloud_s=0.35))
    answer, baselines = answer_problem(limited)
    assert answer.cloud_s == pytest.approx(0.3)
    assert set(baselines) == {"mobile-only", "neurosurgeon"}
    with pytest.raises(ProblemError) as caught:
        answer_problem(limited, "cloud-only")
    assert str(caught.value) == (
        "placement cloud-only breaks max_cloud_s 0.35 (takes 0.6): raise the limit, or use auto"
    )
    with pytest.raises(InfeasibleError, match=r"no placement meets max_latency_s 0\.1: raise"):
        answer_problem(replace(problem(), limits=Limits(max_latency_s=0.1)))
