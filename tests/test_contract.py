"""Contraction: it changes the size of the cut's model, never its answer."""

from __future__ import annotations

import random

import pytest

from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor
from jointdnn_tvm.placement.contract import contract
from jointdnn_tvm.placement.cut_model import CutModel, cut_model
from jointdnn_tvm.placement.min_cut import _Cut
from jointdnn_tvm.placement.prices import in_units, price


def random_network(seed: int) -> Problem:
    """Mostly a chain, with branches: large enough that nodes merge over several rounds."""
    rng = random.Random(seed)
    count = rng.randint(5, 60)
    names = [f"op{index}" for index in range(count)]
    tensors = [Tensor("in", None, tuple(rng.sample(names, rng.choice((1, 2)))), rng.random())]
    for index, name in enumerate(names[:-1]):
        consumers = {names[index + 1], rng.choice(names[index + 1 : index + 6])}
        size_bytes = rng.choice((0.0, 1.0, 2.0, 4 * rng.random()))
        tensors.append(Tensor(f"t{index}", name, tuple(sorted(consumers)), size_bytes))
    tensors.append(Tensor("out", names[-1], (), rng.random(), output=True))
    operators = [
        Operator(name, SideCost(rng.random()), SideCost(rng.choice((0.5, rng.random()))))
        for name in names
    ]
    return Problem(tuple(operators), tuple(tensors), Link(rng.choice((8, 80)), 16, 0.1))


def model_of(problem: Problem) -> CutModel:
    prices, _ = in_units(price(problem), finer=len(problem.operators) + 2)
    return cut_model(problem, prices)


@pytest.mark.parametrize("seed", range(100))
def test_the_least_cut_and_its_sides_stay_the_same(seed: int) -> None:
    model = model_of(random_network(seed))
    whole = _Cut(model)
    optimum = whole.minimise()
    smaller, nodes = contract(model, margin=len(model.mobile) + 1)
    cut = _Cut(smaller)
    assert cut.minimise() == optimum
    for each in (whole, cut):
        each.charge_switches(1)
    sides = cut.sides()
    assert [sides[node] for node in nodes] == whole.sides()


def test_a_chain_of_large_tensors_is_one_node() -> None:
    names = [f"op{index}" for index in range(50)]
    problem = Problem(
        tuple(Operator(name, SideCost(2.0), SideCost(1.0)) for name in names),
        tuple(
            Tensor(f"t{index}", names[index], (names[index + 1],), 1000 + index)
            for index in range(49)
        ),
        Link(8, 8),
        outputs_on="any",
    )
    smaller, nodes = contract(model_of(problem), margin=100)
    assert len(smaller.mobile) == 1
    assert set(nodes) == {0}
    assert not smaller.nets
    assert not smaller.neighbours


def test_tensors_that_cost_nothing_join_nothing() -> None:
    problem = Problem(
        tuple(Operator(name, SideCost(2.0), SideCost(1.0)) for name in "abc"),
        (Tensor("t", "a", ("b",), 0), Tensor("u", "b", ("c",), 0)),
        Link(8, 8),
    )
    smaller, nodes = contract(model_of(problem), margin=5)
    assert nodes == [0, 1, 2]
    assert len(smaller.mobile) == 3


def test_operators_pinned_to_different_sides_are_never_one_node() -> None:
    problem = Problem(
        (Operator("a", SideCost(1e-6), None), Operator("b", None, SideCost(1e-6))),
        (Tensor("t", "a", ("b",), 1e9),),
        Link(8, 8),
    )
    _, nodes = contract(model_of(problem), margin=5)
    assert nodes == [0, 1]
