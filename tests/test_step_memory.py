"""The mobile's memory as its stages tell it, against what a process takes that trains."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.estimating import estimate
from jointdnn_tvm.graph import split_into_stages
from jointdnn_tvm.placement import SIDES, Side, evaluate
from jointdnn_tvm.stage_library import only_stages
from jointdnn_tvm.targets import load_link, load_target
from jointdnn_tvm.training.losses import CrossEntropy
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_memory import mobile_memory_bytes
from jointdnn_tvm.training.step_plan import step_problem
from jointdnn_tvm.training.step_tensors import step_tensors
from jointdnn_tvm.training.trainable import load_trainable

WIDTH, BATCH, LAYERS = 1024, 512, 4
HOST = load_target("host")

# Takes steps, and prints the most bytes that the process held over what it held before.
TRAIN = """
import json, sys
from pathlib import Path
import numpy as np
import tvm.runtime
from tvm.runtime.vm import VirtualMachine

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) << 10

library, specs, state = sys.argv[1], *map(json.loads, sys.argv[2:])
machine = VirtualMachine(tvm.runtime.load_module(library), tvm.cpu())
before = resident("VmRSS:")
values = [tvm.runtime.tensor(np.ones(shape, dtype)) for shape, dtype in specs]
for _ in range(3):
    Path("/proc/self/clear_refs").write_text("5")
    results = machine["stage_0_mobile"](*values)
    for param, result in state:
        values[param] = results[result]
    del results
print(resident("VmHWM:") - before)
"""


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


def test_a_process_that_trains_takes_what_was_told(step: TrainingStep, tmp_path: Path) -> None:
    everything: dict[str, Side] = {group.name: "mobile" for group in step.graph.groups}
    (stage,) = split_into_stages(step.graph, everything)
    library = tmp_path / "step.so"
    compile_library(only_stages(step.partitioned(everything), [stage.name]), HOST, library)
    names, tensors = step_tensors(step), {tensor.name: tensor for tensor in step.graph.tensors}
    specs = [(tensors[name].shape, tensors[name].dtype) for name in stage.inputs]
    state = [
        (stage.inputs.index(name), stage.outputs.index(new))
        for name, new in zip(names.state, names.new_state, strict=True)
    ]
    assert not stage.weights
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(library), json.dumps(specs), json.dumps(state)],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},  # what is freed goes back at once
        capture_output=True,
        text=True,
        check=True,
    )
    told = mobile_memory_bytes(step, everything, HOST)
    assert told == pytest.approx(int(done.stdout), rel=0.1)


def test_stages_take_no_less_than_the_tensors_between_groups(step: TrainingStep) -> None:
    problem = step_problem(step, estimate(step), load_link("lan-1g"))
    for seed in range(4):
        draw = random.Random(seed)
        share = draw.random()
        sides = {o.name: SIDES[draw.random() < share] for o in problem.operators}
        resident = evaluate(problem, sides).mobile_bytes
        assert mobile_memory_bytes(step, sides, HOST) >= resident, f"seed {seed}"


def test_all_on_the_cloud_leaves_the_inputs(step: TrainingStep) -> None:
    sides: dict[str, Side] = {group.name: "cloud" for group in step.graph.groups}
    assert mobile_memory_bytes(step, sides, HOST) == 4 * BATCH * WIDTH + 8 * BATCH
