from __future__ import annotations

from pathlib import Path

from onnx import helper

from tests.onnx_models import assert_same_answers, make_model, operators, random_like, simplified


def test_unused_nodes_and_constants_go(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["unused"]),
        helper.make_node("Relu", ["unused"], ["also"]),
        helper.make_node("Abs", ["x"], ["y"]),
    ]
    constants = {"k": random_like((2, 1)), "never": random_like((5,))}
    graph = simplified(make_model(nodes, {"x": (2, 3)}, ["y"], constants), tmp_path)
    assert operators(graph) == ["Abs"]
    assert not graph.constants


def test_unread_outputs_lose_their_name(tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])
    model = make_model([node], {"x": (1, 2, 4, 4)}, ["y"])
    assert simplified(model, tmp_path).nodes[0].outputs == ["y", ""]


def test_outputs_that_are_counted_stay(tmp_path: Path) -> None:
    node = helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)
    graph = assert_same_answers(make_model([node], {"x": (2, 4)}, ["b"]), tmp_path)
    assert graph.nodes[0].outputs == ["a", "b"]


def test_what_a_branch_reads_stays(tmp_path: Path) -> None:
    then = helper.make_graph([helper.make_node("Relu", ["a"], ["t"])], "t", [], [])
    then.output.add().name = "t"
    other = helper.make_graph([helper.make_node("Neg", ["a"], ["e"])], "e", [], [])
    other.output.add().name = "e"
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=9),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    graph = simplified(make_model(nodes, {"x": (2, 3)}, ["y"]), tmp_path)
    assert "Abs" in operators(graph)
