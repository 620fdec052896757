"""The mobile's memory as its stages tell it, against what a process takes that trains."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jointdnn_tvm.estimating import estimate
from jointdnn_tvm.graph import Placement
from jointdnn_tvm.placement import SIDES, Side, evaluate
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.parts import call_bytes
from jointdnn_tvm.targets import load_link, load_target
from jointdnn_tvm.training.build_training import build_training
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_memory import mobile_memory_bytes
from jointdnn_tvm.training.step_plan import step_problem
from jointdnn_tvm.training.trainable import load_trainable
from tests.deployment import device_server
from tests.training_runs import CASES, groups, in_turn, random_runs

WIDTH, BATCH, LAYERS = 1024, 512, 4
HOST = load_target("host")

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "training_memory.py"
PLACEMENTS: dict[str, Callable[[int, int], bool]] = {
    # whether the group of that index, of so many, is on the mobile
    "all-mobile": lambda index, count: True,
    "first-and-last": lambda index, count: not count // 4 <= index < count - count // 4,
    "last-half": lambda index, count: index >= count // 2,
    "in-turn": lambda index, count: index % 2 == 0,
}


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    """Wide layers on many examples: state and activations take as much."""
    rng = np.random.default_rng(0)
    shapes = [(WIDTH, WIDTH)] * LAYERS + [(WIDTH, 10)]
    nodes, tensors, last = [], [], "x"
    for index, shape in enumerate(shapes):
        weight = (rng.standard_normal(shape) / WIDTH**0.5).astype(np.float32)
        tensors.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{index}"], [f"m{index}"]))
        nodes.append(helper.make_node("Tanh", [f"m{index}"], [f"h{index}"]))
        last = f"h{index}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, WIDTH])
    graph = helper.make_graph(nodes, "wide", [x], [onnx.ValueInfoProto(name=last)], tensors)
    path = tmp_path_factory.mktemp("wide") / "wide.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return training_step(load_trainable(path), CrossEntropy(), Sgd(momentum=0.9))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with device_server(tmp_path_factory.mktemp("device"), "--key", "cloud") as (_, address):
        yield address


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle and the batch that the process begins with."""
    folder = tmp_path_factory.mktemp("tiny")
    step = CASES["mlp-sgd"].step(folder)
    _write(step, in_turn(step), folder / "small_mlp")
    return folder


def _write(step: TrainingStep, sides: Placement, path: Path) -> None:
    build_training(step, sides, mobile=HOST, cloud=HOST, fallback=False).save(
        path.with_suffix(".jd")
    )
    (given,), label = step.inputs, step.label
    assert label is not None
    x = np.random.default_rng(0).standard_normal(given.shape).astype(given.dtype)
    np.savez(path.with_suffix(".npz"), label=np.zeros(label.shape, label.dtype), x=x)


def _taken_bytes(step: TrainingStep, sides: Placement, tiny: Path, device: Address) -> int:
    _write(step, sides, tiny / "bundle")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--here", str(tiny), "--cloud", str(device)],
        env={**os.environ, "TVM_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(json.loads(done.stdout)["taken_bytes"])


@pytest.mark.parametrize("how", PLACEMENTS)
def test_a_phone_that_trains_takes_what_was_told(
    step: TrainingStep, tiny: Path, device: Address, how: str
) -> None:
    """Two buffers of state, messages and what comes from a cloud in another process too."""
    names = groups(step)
    sides: dict[str, Side] = {
        name: "mobile" if PLACEMENTS[how](index, len(names)) else "cloud"
        for index, name in enumerate(names)
    }
    taken = _taken_bytes(step, sides, tiny, device)
    assert mobile_memory_bytes(step, sides, HOST) == pytest.approx(taken, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_wherever_it_is_cut(step: TrainingStep, tiny: Path, device: Address, seed: int) -> None:
    sides = random_runs(step, seed)
    taken = _taken_bytes(step, sides, tiny, device)
    assert mobile_memory_bytes(step, sides, HOST) == pytest.approx(taken, rel=0.1)


def test_stages_take_no_less_than_the_tensors_between_groups(step: TrainingStep) -> None:
    problem = step_problem(step, estimate(step), load_link("lan-1g"))
    for seed in range(4):
        draw = random.Random(seed)
        share = draw.random()
        sides = {o.name: SIDES[draw.random() < share] for o in problem.operators}
        resident = evaluate(problem, sides).mobile_bytes
        assert mobile_memory_bytes(step, sides, HOST) >= resident, f"seed {seed}"


def test_all_on_the_cloud_leaves_the_inputs_and_their_message(step: TrainingStep) -> None:
    sides: dict[str, Side] = {group.name: "cloud" for group in step.graph.groups}
    given = 4 * BATCH * WIDTH + 8 * BATCH
    told = mobile_memory_bytes(step, sides, HOST)
    assert told == pytest.approx(given + call_bytes(given, 4), abs=100)  # and a few numbers
