"""The memory that the mobile takes while it trains, told by its stages as they are compiled.

A placement problem counts tensors between groups. Compiled stages take more: values inside groups,
and storage that later values do not fill. How much, their lowered functions say; nothing is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.compiling import pass_context, tvm_target
from jointdnn_tvm.graph import Graph, Placement, Stage, size_bytes, split_into_stages
from jointdnn_tvm.group_library import arguments
from jointdnn_tvm.passes.choose_kernels import Weights
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.placement.problem import CLOUD, MOBILE
from jointdnn_tvm.stage_library import only_stages
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import StepTensors, step_tensors

_PAGE = 4096
_STEPS = 2  # in the second one, the values of the first are the present ones


def mobile_memory_bytes(step: TrainingStep, placement: Placement, profile: TargetProfile) -> int:
    """Weights, state, inputs and all storage of the mobile's stages, in bytes.

    What the process takes besides (the library, the interpreter, what the caller holds) is not in
    it. Raises ProblemError when the placement is not one of the step's groups.
    """
    stages = split_into_stages(step.graph, placement)
    mobile = [stage for stage in stages if stage.side == MOBILE]
    names = step_tensors(step)
    given_bytes = _given_bytes(step.graph, names, placement)
    if not mobile:
        return given_bytes
    module = only_stages(step.partitioned(placement), [stage.name for stage in mobile])
    target = tvm_target(profile)
    with target, pass_context(None):
        lowered, weights = lower(module, target, profile)
    storages = {stage.name: list(_storages(lowered[stage.name])) for stage in mobile}
    return (
        given_bytes
        + _weight_bytes(module, mobile, weights)
        + _most_received_bytes(step.graph, names, placement, mobile)
        + _pool_bytes(step.graph, names, mobile, storages)
    )


def _storages(function: relax.Function) -> Iterator[int]:
    """The bytes of each storage that a lowered function allocates."""
    for block in function.body.blocks:
        for binding in block.bindings:
            op = getattr(binding.value, "op", None)
            if getattr(op, "name", "") == "relax.vm.alloc_storage":
                yield int(binding.value.args[0].values[0])


def _given_bytes(graph: Graph, names: StepTensors, placement: Placement) -> int:
    """Inputs, labels, and the masks that a group on the mobile reads."""
    return sum(
        tensor.size_bytes
        for tensor in graph.tensors
        if tensor.name in (*names.inputs, *names.labels)
        or (tensor.name in names.masks and MOBILE in _sides(tensor.consumers, placement))
    )


def _weight_bytes(module: tvm.IRModule, stages: Sequence[Stage], weights: Weights) -> int:
    """The weights that stay, as they are packed, each once."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for stage in stages:
        taken = arguments(module[stage.name], weights[stage.name])[len(stage.inputs) :]
        found |= dict(zip((w.name for w in weights[stage.name]), taken, strict=True))
    return sum(size_bytes(*each) for each in found.values())


def _most_received_bytes(
    graph: Graph, names: StepTensors, placement: Placement, stages: Sequence[Stage]
) -> int:
    """The most that is there at once of what came from the cloud; its state stays for the step."""
    maker = {tensor.name: tensor.producer for tensor in graph.tensors}
    maker |= {s: maker[new] for s, new in zip(names.state, names.new_state, strict=True)}
    size = {tensor.name: tensor.size_bytes for tensor in graph.tensors}
    last = {name: index for index, stage in enumerate(stages) for name in stage.inputs}
    last |= {name: len(stages) for name in names.state if name in last}
    held: set[str] = set()
    most = 0
    for index, stage in enumerate(stages):
        held |= {n for n in stage.inputs if placement.get(maker[n] or "") == CLOUD}
        most = max(most, sum(size[name] for name in held))
        held = {name for name in held if last[name] > index}
    return most


def _pool_bytes(
    graph: Graph, names: StepTensors, stages: Sequence[Stage], storages: Mapping[str, list[int]]
) -> int:
    """What the stages allocate: TVM keeps what is freed, for what has as many pages."""
    size = {tensor.name: tensor.size_bytes for tensor in graph.tensors}
    last = {name: index for index, stage in enumerate(stages) for name in stage.inputs}
    free: Counter[int] = Counter()
    state: list[str] = []
    total = 0
    for _ in range(_STEPS):
        made: dict[str, int] = {}
        for index, stage in enumerate(stages):
            wanted = Counter(map(_pages, storages[stage.name]))
            total += sum(pages * count for pages, count in (wanted - free).items())
            free -= wanted
            made |= {name: last.get(name, index) for name in stage.outputs}
            kept = Counter(_pages(size[name]) for name in stage.outputs)
            free += wanted - kept
            ended = [n for n, end in made.items() if end <= index and n not in names.new_state]
            free += Counter(_pages(size[name]) for name in ended)
            made = {name: end for name, end in made.items() if name not in ended}
        free += Counter(_pages(size[name]) for name in state)
        state = list(made)
    return total * _PAGE


def _pages(count_bytes: int) -> int:
    return -(-count_bytes // _PAGE)


def _sides(groups: Sequence[str], placement: Placement) -> set[Any]:
    return {placement[name] for name in groups}
