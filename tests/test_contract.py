"""Contraction: it changes the size of the cut's model, never its answer."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor
from jointdnn_tvm.placement import contract as contracting
from jointdnn_tvm.placement.contract import contract
from jointdnn_tvm.placement.cut_model import Contracted, uncontracted
from jointdnn_tvm.placement.min_cut import EQUAL_PARTS, cheapest_sides, minimum_cut, one_way_cut
from jointdnn_tvm.placement.prices import Prices, price
from tests.exhaustive import best_by_search, exact
from tests.random_problems import random_problem


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract also what is small, as far as it goes."""
    monkeypatch.setattr(contracting, "_FEW", 0)
    monkeypatch.setattr(contracting, "_WORTH", 10**6)


def random_network(seed: int) -> Problem:
    """Mostly a chain, with branches and some that run on one side alone."""
    rng = random.Random(seed)
    count = rng.randint(5, 60)
    names = [f"op{index}" for index in range(count)]
    tensors = [Tensor("in", None, tuple(rng.sample(names, rng.choice((1, 2)))), rng.random())]
    for index, name in enumerate(names[:-1]):
        consumers = {names[index + 1], rng.choice(names[index + 1 : index + 6])}
        size_bytes = rng.choice((0.0, 1.0, 2.0, 4 * rng.random()))
        tensors.append(
            Tensor(f"t{index}", name, tuple(sorted(consumers)), size_bytes, rng.random() < 0.05)
        )
    tensors.append(Tensor("out", names[-1], (), rng.random(), output=True))
    alone = rng.choice((0.0, 0.2))

    def operator(name: str) -> Operator:
        mobile = SideCost(rng.random(), rng.random())
        cloud = SideCost(rng.choice((0.5, rng.random())))
        only = rng.random()
        return Operator(
            name, None if only < alone / 2 else mobile, None if only > 1 - alone / 2 else cloud
        )

    link = Link(rng.choice((8, 80)), 16, rng.choice((0.0, 0.1)), 1.0, 0.5, 0.3, 0.1)
    for index in range(rng.choice((0, 0, count // 4))):  # weights, updated in reverse order
        reader, maker = sorted(rng.sample(range(count), 2))
        readers = tuple(rng.sample((names[reader], names[maker]), rng.choice((1, 2))))
        weight = Tensor(f"w{index}", names[maker], readers, 4 * rng.random(), carried=True)
        tensors.append(weight)
    return Problem(
        tuple(operator(name) for name in names),
        tuple(tensors),
        link,
        objective=rng.choice(("latency", "energy")),
        outputs_on=rng.choice(("mobile", "any")),
    )


def whole(problem: Problem, *_prices: object, one_way: bool = False) -> Contracted:
    """No contraction at all."""
    del one_way
    return uncontracted(problem)


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("one_way", [False, True])
@pytest.mark.parametrize("part", range(10))
def test_the_least_cut_and_its_sides_stay_the_same(
    part: int, one_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = range(part * 60, part * 60 + 60)
    problems = [random_network(seed) for seed in seeds]
    found = [cheapest_sides(p, price(p), one_way=one_way) for p in problems]
    monkeypatch.setattr("jointdnn_tvm.placement.min_cut.contract", whole)
    for seed, problem, (sides, cost) in zip(seeds, problems, found, strict=True):
        expected, least = cheapest_sides(problem, price(problem), one_way=one_way)
        assert cost == least, f"seed {seed}"
        if cost is not None:
            assert sides == expected, f"seed {seed}"


@pytest.mark.usefixtures("to_the_end")
@pytest.mark.parametrize("block", range(5))
def test_the_contracted_cut_is_the_best_of_all_placements(block: int) -> None:
    for seed in range(block * 200, (block + 1) * 200):
        codecs = seed % 4 == 0
        problem = random_problem(
            seed, codecs=codecs, most=4 if codecs else 7, carried=seed % 5 == 0
        )
        solution = minimum_cut(problem)
        cost = exact(problem, solution.placement, solution.codecs)
        found = cost.objective(problem.objective), cost.switches
        assert found == best_by_search(problem), f"seed {seed}"


def chain(tensors: tuple[Tensor, ...], mobile_s: float = 2.0, count: int = 50) -> Problem:
    names = [f"op{index}" for index in range(count)]
    operators = tuple(Operator(name, SideCost(mobile_s), SideCost(1.0)) for name in names)
    return Problem(operators, tensors, Link(8, 8), outputs_on="any")


def contracted(problem: Problem) -> Contracted:
    return contract(problem, price(problem), EQUAL_PARTS)


def test_a_chain_of_large_tensors_is_one_node() -> None:
    tensors = [Tensor(f"t{i}", f"op{i}", (f"op{i + 1}",), 1000) for i in range(49)]
    nodes, left = contracted(chain(tuple(tensors)))
    assert set(nodes) == {0}
    assert left == []


def test_equal_sides_that_nothing_joins_are_not_decided() -> None:
    free = [Tensor(f"t{i}", f"op{i}", (f"op{i + 1}",), 0.0) for i in range(49)]
    nodes, _ = contracted(chain(tuple(free), mobile_s=1.0))
    assert nodes == list(range(50))


@pytest.mark.usefixtures("to_the_end")
def test_what_a_margin_cannot_tell_apart_is_not_decided() -> None:
    problem = chain((), mobile_s=1.0 + 1e-12)
    assert contracted(problem).nodes == list(range(50))
    assert set(contracted(chain((), mobile_s=1.0 + 1e-6)).nodes) == {0}


@pytest.mark.usefixtures("to_the_end")
def test_operators_pinned_to_different_sides_are_never_one_node() -> None:
    problem = Problem(
        (Operator("a", SideCost(1e-6), None), Operator("b", None, SideCost(1e-6))),
        (Tensor("t", "a", ("b",), 1e9),),
        Link(8, 8),
    )
    assert contracted(problem) == ([0, 1], [0])


def test_inputs_and_outputs_are_left_to_the_cut() -> None:
    tensors = [Tensor(f"t{i}", f"op{i}", (f"op{i + 1}",), 1000) for i in range(49)]
    ends = [Tensor("in", None, ("op0",), 8), Tensor("out", "op49", (), 8, output=True)]
    problem = replace(chain((*tensors, *ends)), outputs_on="mobile")
    assert contracted(problem) == ([0] * 50, [49, 50])


@pytest.mark.usefixtures("to_the_end")
def test_one_way_that_cannot_be_gone_is_still_none() -> None:
    names = ("a", "b")
    back = Problem(
        (Operator("a", None, SideCost(1.0)), Operator("b", SideCost(1.0), None)),
        (Tensor("t", names[0], (names[1],), 8),),
        Link(8, 8),
    )
    assert one_way_cut(back) is None


@pytest.mark.usefixtures("to_the_end")
def test_free_prices_leave_everything_open() -> None:
    problem = chain((), mobile_s=1.0)
    zero = Prices([0.0] * 50, [0.0] * 50, [], [], 0.0)
    assert contract(problem, zero, EQUAL_PARTS).nodes == list(range(50))
