"""Networks that run group by group on this machine, against onnxruntime and themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.verify import Reference, compare
from tests.onnx_models import make_model, save
from tests.tiny_models import Array, random_placement


@pytest.fixture(scope="module")
def host(branching: Network) -> HostNetwork:
    return HostNetwork(branching)


def sample(network: Network, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    specs = zip(network.graph.inputs, network.inputs, strict=True)
    return {name: rng.standard_normal(spec.shape, "float32") for name, spec in specs}


def named(network: Network, outputs: list[Array]) -> dict[str, Array]:
    return {s.name: a for s, a in zip(network.outputs, outputs, strict=True)}


def test_every_tensor_is_seen(host: HostNetwork, branching: Network, branching_path: Path) -> None:
    inputs = sample(branching)
    tensors = host.tensors(inputs)
    for tensor in branching.graph.tensors:
        found = tensors[tensor.name]
        assert (found.shape, found.dtype.name) == (tensor.shape, tensor.dtype)
    by_user = {s.name: inputs[t] for s, t in zip(branching.inputs, inputs, strict=True)}
    outputs = named(branching, [tensors[t] for t in branching.graph.outputs])
    assert compare(outputs, Reference(branching_path).run(by_user)).max_rel_error < 1e-5


def test_change_reaches_what_depends_on_it(host: HostNetwork, branching: Network) -> None:
    inputs = sample(branching)
    tensors = host.tensors(inputs)
    for name in tensors:
        if tensors[name].dtype != np.float32:
            continue
        same = host.outputs(tensors, {name: tensors[name].copy()})
        for output, array in zip(branching.graph.outputs, same, strict=True):
            np.testing.assert_array_equal(array, tensors[output])
    other = sample(branching, seed=1)
    (image, _) = branching.graph.inputs
    found = host.outputs(tensors, {image: other[image]})
    expected = host.tensors({**inputs, image: other[image]})
    for output, array in zip(branching.graph.outputs, found, strict=True):
        np.testing.assert_array_equal(array, expected[output])
    for output in branching.graph.outputs:
        changed = np.ones_like(tensors[output])
        found = host.outputs(tensors, {output: changed})
        index = branching.graph.outputs.index(output)
        np.testing.assert_array_equal(found[index], changed)


@pytest.mark.parametrize("seed", range(3))
def test_only_what_crosses_is_sent(host: HostNetwork, branching: Network, seed: int) -> None:
    placement = random_placement([g.name for g in branching.graph.groups], seed)
    inputs = sample(branching)
    sent: list[str] = []

    def send(name: str, array: Array) -> Array:
        sent.append(name)
        return array

    outputs = host.placed(inputs, placement, send)
    tensors = host.tensors(inputs)
    for output, array in zip(branching.graph.outputs, outputs, strict=True):
        np.testing.assert_array_equal(array, tensors[output])
    side = {t.name: placement[t.producer] if t.producer else "mobile" for t in host.graph.tensors}
    crossing = {
        t.name
        for t in host.graph.tensors
        if any(placement[c] != side[t.name] for c in t.consumers)
        or (t.output and side[t.name] == "cloud")
    }
    assert sorted(sent) == sorted(crossing)


def test_group_that_fails_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    feeds: dict[str, Array] = {"x": np.arange(5, dtype=np.float32), "i": np.zeros(2, np.int64)}
    network = load_network(save(make_model([node], feeds, ["y"]), tmp_path))
    x, i = network.graph.inputs
    host = HostNetwork(network)
    with pytest.raises(RunError, match=r"group '.*' failed on this machine: .*out of range"):
        host.tensors({x: feeds["x"], i: np.array([0, 7])})


def test_own_side_reads_what_it_made(host: HostNetwork, branching: Network) -> None:
    """What is lost on the way changes the other side's groups alone."""
    placement = dict.fromkeys((g.name for g in branching.graph.groups), "mobile")
    inputs = sample(branching)

    def lose(name: str, array: Array) -> Array:
        raise AssertionError(f"{name} does not cross")

    host.placed(inputs, placement, lose)  # type: ignore[arg-type]
