"""Stages and other views of the plain-data graph, on random graphs, against exhaustive search."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.graph import (
    Graph,
    Group,
    Placement,
    Tensor,
    check_placement,
    size_bytes,
    split_into_stages,
    stage_key,
    whole_network,
)
from jointdnn_tvm.placement import SIDES, Side

SEEDS = range(150)


def random_graph(seed: int, groups: int = 12) -> Graph:
    """Groups in topological order that read inputs, weights and earlier groups' tensors."""
    draw = random.Random(seed)
    inputs = tuple(f"in{i}" for i in range(draw.randint(1, 2)))
    made: list[Group] = []
    there = list(inputs)
    for index in range(draw.randint(1, groups)):
        reads = draw.sample(there, min(len(there), draw.randint(0 if index else 1, 3)))
        weights = draw.sample(["w0", "w1", "w2"], draw.randint(0, 2))
        outputs = tuple(f"t{index}_{i}" for i in range(draw.choice((1, 1, 2))))
        made.append(Group(f"g{index}", ("op",), tuple(reads), tuple(weights), outputs, 0, "key"))
        there += outputs
    producer = {t: g.name for g in made for t in g.outputs}
    consumers = {t: tuple(g.name for g in made if t in g.inputs) for t in there}
    tensors = tuple(
        Tensor(t, (index + 1, 2), "float32", producer.get(t), consumers[t])
        for index, t in enumerate(there)
    )
    unread = {t.name for t in tensors if t.producer and not t.consumers}
    outputs = tuple(t for t in there if t in unread or draw.random() < 0.1)
    tensors = tuple(replace(t, output=t.name in outputs) for t in tensors)
    return Graph(tuple(made), tensors, inputs, outputs)


def random_placement(graph: Graph, seed: int) -> dict[str, Side]:
    draw = random.Random(seed)
    return {g.name: draw.choice(SIDES) for g in graph.groups}


def fewest_switches(graph: Graph, placement: Placement) -> int:
    """Over all orders in which the groups can run, starting on the mobile."""
    producer = {t.name: t.producer for t in graph.tensors}
    needs = {g.name: {producer[t] for t in g.inputs} - {None} for g in graph.groups}
    reached: dict[tuple[frozenset[str], Side], int] = {(frozenset(), "mobile"): 0}
    for _ in graph.groups:
        following: dict[tuple[frozenset[str], Side], int] = {}
        for (done, side), switches in reached.items():
            for name, needed in needs.items():
                if name not in done and needed <= done:
                    state = done | {name}, placement[name]
                    count = switches + (placement[name] != side)
                    following[state] = min(count, following.get(state, count))
        reached = following
    return min(reached.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_stages_can_run_in_order_and_pass_on_what_others_need(seed: int) -> None:
    graph = random_graph(seed)
    placement = random_placement(graph, seed)
    stages = split_into_stages(graph, placement)
    groups = {g.name: g for g in graph.groups}
    assert sorted(n for s in stages for n in s.groups) == sorted(groups)
    there = set(graph.inputs)
    for stage in stages:
        assert {placement[name] for name in stage.groups} == {stage.side}
        assert set(stage.inputs) <= there
        inside = set(stage.inputs)
        for name in stage.groups:
            assert set(groups[name].inputs) <= inside
            inside |= set(groups[name].outputs)
        assert set(stage.weights) == {w for n in stage.groups for w in groups[n].weights}
        there |= set(stage.outputs)
    assert set(graph.outputs) <= there
    for stage in stages:
        wanted = {t for s in stages if s is not stage for t in s.inputs} | set(graph.outputs)
        made = {t for n in stage.groups for t in groups[n].outputs}
        assert set(stage.outputs) == made & wanted
        for names in (stage.inputs, stage.weights, stage.outputs):
            assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", SEEDS)
def test_stages_alternate_and_are_as_few_as_can_be(seed: int) -> None:
    graph = random_graph(seed, groups=7)
    placement = random_placement(graph, seed)
    stages = split_into_stages(graph, placement)
    walk = ["mobile", *(s.side for s in stages)]
    switches = sum(a != b for a, b in itertools.pairwise(walk))
    assert all(a.side != b.side for a, b in itertools.pairwise(stages))
    assert switches == fewest_switches(graph, placement)
    assert len({s.name for s in stages}) == len(stages)


def test_one_side_is_one_stage() -> None:
    graph = random_graph(3)
    for side in SIDES:
        (stage,) = split_into_stages(graph, dict.fromkeys((g.name for g in graph.groups), side))
        assert stage.name == f"stage_0_{side}"
        assert stage.groups == tuple(g.name for g in graph.groups)


def test_no_groups_make_no_stages() -> None:
    assert split_into_stages(Graph((), (), (), ()), {}) == ()


def test_placement_must_name_every_group_and_no_other() -> None:
    graph = random_graph(5)
    good = random_placement(graph, 5)
    check_placement(graph, good)
    with pytest.raises(ProblemError, match=r"no side for group 'g0'"):
        check_placement(graph, {n: s for n, s in good.items() if n != "g0"})
    with pytest.raises(ProblemError, match=r"names group 'other'"):
        check_placement(graph, {**good, "other": "cloud"})
    with pytest.raises(ProblemError, match=r"'g0' is placed on 'edge'"):
        split_into_stages(graph, {**good, "g0": "edge"})  # type: ignore[dict-item]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint64", "bool"])
def test_size_is_numpys(dtype: str) -> None:
    for shape in ((), (3,), (2, 0, 4), (5, 7, 2)):
        assert size_bytes(shape, dtype) == np.zeros(shape, dtype).nbytes


@pytest.mark.parametrize(
    ("dtype", "size"), [("int4", 4), ("bfloat16", 14), ("float8_e4m3fn", 7), ("float4_e2m1fn", 4)]
)
def test_size_of_types_that_numpy_lacks(dtype: str, size: int) -> None:
    assert size_bytes((7,), dtype) == size


def test_networkx_graph_has_groups_and_what_their_edges_carry() -> None:
    for seed in range(20):
        graph = random_graph(seed)
        digraph = graph.to_networkx()
        assert [digraph.nodes[n]["group"] for n in digraph] == list(graph.groups)
        carried = {
            (t.producer, c): [
                u for u in graph.tensors if u.producer == t.producer if c in u.consumers
            ]
            for t in graph.tensors
            if t.producer
            for c in t.consumers
        }
        assert set(digraph.edges) == set(carried)
        for edge, tensors in carried.items():
            assert digraph.edges[edge]["tensors"] == [t.name for t in tensors]
            assert digraph.edges[edge]["size_bytes"] == sum(t.size_bytes for t in tensors)


def test_tensor_is_found_by_name() -> None:
    graph = random_graph(1)
    assert graph.tensor("in0").name == "in0"
    with pytest.raises(KeyError):
        graph.tensor("nothing")


@pytest.mark.parametrize("seed", range(20))
def test_a_stage_is_known_by_what_it_computes(seed: int) -> None:
    graph = random_graph(seed)
    whole = whole_network(graph)
    (only,) = split_into_stages(graph, {g.name: "mobile" for g in graph.groups})
    assert whole == only
    key = stage_key(graph, whole)
    assert stage_key(graph, replace(whole, name="x", side="cloud")) == key

    def called(name: str) -> str:
        return f"other_{name}"

    renamed = Graph(
        tuple(
            replace(
                g,
                name=called(g.name),
                inputs=tuple(map(called, g.inputs)),
                outputs=tuple(map(called, g.outputs)),
            )
            for g in graph.groups
        ),
        tuple(
            replace(
                t,
                name=called(t.name),
                producer=t.producer and called(t.producer),
                consumers=tuple(map(called, t.consumers)),
            )
            for t in graph.tensors
        ),
        tuple(map(called, graph.inputs)),
        tuple(map(called, graph.outputs)),
    )
    assert stage_key(renamed, whole_network(renamed)) == key
    changed = replace(graph, groups=(replace(graph.groups[0], key="x"), *graph.groups[1:]))
    assert stage_key(changed, whole) != key
    parts = {stage_key(graph, s) for s in split_into_stages(graph, random_placement(graph, seed))}
    assert (parts == {key}) == (len(set(random_placement(graph, seed).values())) == 1)
