"""Indices in range give onnxruntime's answer; others an error, and nothing worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from jointdnn_tvm.building import build
from jointdnn_tvm.errors import ModelError, RunError
from jointdnn_tvm.network import load_network
from jointdnn_tvm.runtime.session import Session, open_session
from tests.onnx_models import Array, assert_same_answers, make_model, random_like, run_onnx, save
from tests.tiny_models import plan_of


@dataclass(frozen=True)
class Case:
    """An operator over `x`, with indices that come with the query."""

    op: str
    shape: tuple[int, ...]
    indices: Any
    wrong: Any
    updates: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def feeds(self, indices: Any) -> dict[str, Array]:
        feeds = {"x": random_like(self.shape), "i": np.array(indices, np.int64)}
        return {**feeds, "u": random_like(self.updates)} if self.updates else feeds

    def model(self, constants: dict[str, Array] | None = None) -> onnx.ModelProto:
        feeds = self.feeds(self.indices)
        node = helper.make_node(self.op, list(feeds), ["y"], **self.options)
        inputs = {name: value for name, value in feeds.items() if name not in (constants or {})}
        return make_model([node], inputs, ["y"], constants)


CASES = {
    "gather": Case("Gather", (5, 4), [-5, 4, 0], [0, 5, 0]),
    "gather one": Case("Gather", (5, 4), -1, -6),
    "gather rows": Case("Gather", (2, 5), [[1, -1], [0, 0]], [[0, 0], [0, 99]], (), {"axis": 1}),
    "gather elements": Case("GatherElements", (5, 2), [[-1, 0]], [[0, -6]]),
    "gather nd": Case("GatherND", (2, 3), [[1, -3], [-2, 2]], [[1, 1], [0, 3]]),
    "gather nd slices": Case("GatherND", (2, 3, 4), [[-1], [0]], [[0], [2]]),
    "gather nd of a batch": Case(
        "GatherND", (2, 3, 4), [[[-1]], [[2]]], [[[1]], [[-4]]], (), {"batch_dims": 1}
    ),
    "scatter elements": Case("ScatterElements", (5, 2), [[-1, 0]], [[5, 0]], (1, 2)),
    "scatter nd": Case("ScatterND", (4, 5), [[-4, -1], [0, 1]], [[0, 5], [0, 0]], (2,)),
    "scatter nd rows": Case("ScatterND", (4, 5), [[-1], [1]], [[0], [1 << 40]], (2, 5)),
}


@contextmanager
def opened(model: onnx.ModelProto, folder: Path) -> Iterator[Session]:
    """The model compiled as users do, with everything in the cloud."""
    network = load_network(save(model, folder))
    placement: Any = {group.name: "cloud" for group in network.graph.groups}
    bundle = build(network, plan_of(network, placement)).save(folder / "model.jd")
    with open_session(bundle, cloud="local") as session:
        yield session


@pytest.mark.parametrize("name", CASES)
def test_indices_of_a_query(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = case.model()
    with opened(model, tmp_path) as session:
        for _ in range(2):  # an error leaves the session as it was
            right = case.feeds(case.indices)
            np.testing.assert_array_equal(session.run(right)["y"], run_onnx(model, right)[0])
            with pytest.raises(RunError, match=f"an index of {case.op} is out of range: it must"):
                session.run(case.feeds(case.wrong))


@pytest.mark.parametrize("name", CASES)
def test_indices_of_the_model(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    right, wrong = (np.array(indices, np.int64) for indices in (case.indices, case.wrong))
    feeds = case.feeds(right)
    del feeds["i"]
    graph = assert_same_answers(case.model({"i": right}), tmp_path, feeds)
    (indices,) = (graph.constants[node.input(1)] for node in graph.nodes)
    assert (indices >= 0).all()
    told = rf"an index of node 'y' \({case.op}\) is out of range: it must lie in -\d to \d"
    with pytest.raises(ModelError, match=told):
        load_network(save(case.model({"i": wrong}), tmp_path))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_smallest_and_largest_numbers(dtype: type, tmp_path: Path) -> None:
    x, limits = random_like((5,)), np.iinfo(dtype)
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    model = make_model([node], {"x": (5,), "i": np.zeros(1, dtype)}, ["y"])
    with opened(model, tmp_path) as session:
        for index in (limits.min, -6, 5, limits.max):
            with pytest.raises(RunError, match="out of range: it must lie in -5 to 4"):
                session.run({"x": x, "i": np.array([index], dtype)})
        assert session.run({"x": x, "i": np.array([-5], dtype)})["y"] == x[:1]


def _unpool() -> tuple[onnx.ModelProto, dict[str, Array]]:
    feeds = {"x": random_like((1, 1, 2, 2)), "i": np.array([[[[0, 3], [9, 15]]]])}
    node = helper.make_node("MaxUnpool", ["x", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    return make_model([node], feeds, ["y"]), feeds


def _roi_align() -> tuple[onnx.ModelProto, dict[str, Array]]:
    rois = np.array([[0, 0, 3, 3]], np.float32)
    feeds = {"x": random_like((2, 1, 4, 4)), "rois": rois, "i": np.array([1])}
    node = helper.make_node("RoiAlign", list(feeds), ["y"], sampling_ratio=2)
    return make_model([node], feeds, ["y"]), feeds


@pytest.mark.parametrize("make", [_unpool, _roi_align])
def test_other_operators(
    make: Callable[[], tuple[onnx.ModelProto, dict[str, Array]]], tmp_path: Path
) -> None:
    model, feeds = make()
    with opened(model, tmp_path) as session:
        expected = run_onnx(model, feeds)[0]
        np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-5)
        with pytest.raises(RunError, match="is out of range"):
            session.run({**feeds, "i": np.full_like(feeds["i"], 16)})


def test_groups_with_alike_checks_are_alike(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["x", "i"], ["a"], name="first"),
        helper.make_node("Gather", ["x", "j"], ["b"], name="second"),
    ]
    feeds = {"x": random_like((5, 4)), "i": np.zeros(3, np.int64), "j": np.zeros(3, np.int64)}
    graph = load_network(save(make_model(nodes, feeds, ["a", "b"]), tmp_path)).graph
    checks = [group.key for group in graph.groups if group.name.startswith("checked_indices")]
    assert len(checks) == 2
    assert len(set(checks)) == 1
