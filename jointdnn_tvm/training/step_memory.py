"""The memory that the mobile takes while it trains, told by its stages as they are compiled.

A placement problem counts tensors between groups. Compiled stages take more: values inside groups,
storage that later values do not fill, what kernels work in. How much, their lowered functions say;
nothing is run. What the runtime holds besides follows from how `runtime/trainer.py` takes a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tvm
from tvm import relax, tirx

from jointdnn_tvm.compiling import pass_context, tvm_target
from jointdnn_tvm.graph import Placement, Stage, size_bytes, split_into_stages
from jointdnn_tvm.group_library import arguments
from jointdnn_tvm.passes.choose_kernels import Weights
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.placement.problem import CLOUD, MOBILE
from jointdnn_tvm.runtime.parts import call_bytes, left_bytes, session_bytes
from jointdnn_tvm.stage_library import only_stages
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.training.stage_storage import (
    Storage,
    StoragePool,
    run_in_pool,
    workspace_bytes,
)
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import StepTensors, step_tensors

_STEPS = 2  # in the second one, the values of the first are the present ones


def mobile_memory_bytes(step: TrainingStep, placement: Placement, profile: TargetProfile) -> int:
    """Weights, state, inputs, all storage of the mobile's stages, and messages, in bytes.

    What the process takes besides (the library, the interpreter) is not in it, nor is what codecs
    take or spare. Raises ProblemError when the placement is not one of the step's groups.
    """
    stages = split_into_stages(step.graph, placement)
    names = step_tensors(step)
    crossing = _Crossing(step, names, placement, stages)
    taken_bytes = crossing.given_bytes() + crossing.most_passing_bytes()
    mobile = [stage for stage in stages if stage.side == MOBILE]
    if not mobile:
        return taken_bytes
    module = only_stages(step.partitioned(placement), [stage.name for stage in mobile])
    target = tvm_target(profile)
    with target, pass_context(None):
        lowered, weights = lower(module, target, profile)
    kernels = [f for f in lowered.functions.values() if isinstance(f, tirx.PrimFunc)]
    return (
        taken_bytes
        + _weight_bytes(module, mobile, weights)
        + _pool_bytes(names, stages, lowered)
        + workspace_bytes(kernels)
    )


def _weight_bytes(module: tvm.IRModule, stages: Sequence[Stage], weights: Weights) -> int:
    """The weights that stay, as they are packed, each once."""
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for stage in stages:
        taken = arguments(module[stage.name], weights[stage.name])[len(stage.inputs) :]
        found |= dict(zip((w.name for w in weights[stage.name]), taken, strict=True))
    return sum(size_bytes(*each) for each in found.values())


def _pool_bytes(names: StepTensors, stages: Sequence[Stage], lowered: tvm.IRModule) -> int:
    """What the virtual machine's pool has once steps are taken one after the other."""
    pool = StoragePool()
    state: list[tuple[Storage, ...]] = []
    returned: list[tuple[Storage, ...]] = []
    last = {name: index for index, stage in enumerate(stages) for name in stage.inputs}
    for _ in range(_STEPS):
        made: dict[str, tuple[Storage, ...]] = {}
        for index, stage in enumerate(stages):
            if stage.side == MOBILE:
                results = run_in_pool(_function(lowered, stage), pool)
                made |= zip(stage.outputs, results, strict=True)
                for storages in results:  # the virtual machine keeps what it returned last
                    pool.hold(storages)
                for storages in returned:
                    pool.release(storages)
                returned = results
            ended = [name for name in made if last.get(name, index) <= index]
            for name in set(ended).difference(names.new_state):
                pool.release(made.pop(name))
        for storages in state:
            pool.release(storages)
        state = [made.pop(name) for name in names.new_state if name in made]
        for storages in made.values():
            pool.release(storages)
    return pool.size_bytes


def _function(lowered: tvm.IRModule, stage: Stage) -> relax.Function:
    function = lowered[stage.name]
    assert isinstance(function, relax.Function)
    return function


class _Crossing:
    """What the phone has of a step that none of its stages made."""

    def __init__(
        self,
        step: TrainingStep,
        names: StepTensors,
        placement: Placement,
        stages: Sequence[Stage],
    ) -> None:
        tensors = {tensor.name: tensor for tensor in step.graph.tensors}
        self._names = names
        self._stages = stages
        self._sizes = {name: tensor.size_bytes for name, tensor in tensors.items()}
        self._read = {name for stage in stages if stage.side == MOBILE for name in stage.inputs}
        self._on_cloud: set[str] = set()
        """Of the state."""
        self._mirrored: dict[str, str] = {}
        """What the mobile reads of it, by the new value."""
        for name, new in zip(names.state, names.new_state, strict=True):
            producer = tensors[new].producer
            if producer is not None and placement[producer] == CLOUD:
                self._on_cloud.add(name)
                if name in self._read:
                    self._mirrored[new] = name

    def given_bytes(self) -> int:
        """Inputs, labels and masks; each side draws all masks."""
        names = self._names
        return self._sum((*names.inputs, *names.labels, *names.masks))

    def most_passing_bytes(self) -> int:
        """The most at once of what came from the cloud, messages, and copies for a stage.

        State that lives on the cloud is there twice from where its new value came.
        """
        names = self._names
        wanted = {*self._read, *self._mirrored, names.loss}
        there = {*self._on_cloud, *names.masks}
        own = {*names.inputs, *names.labels, *names.masks}
        held: set[str] = set(self._mirrored.values())
        last = {name: index for index, stage in enumerate(self._stages) for name in stage.inputs}
        most = left = 0
        answers = []
        for index, stage in enumerate(self._stages):
            held_bytes = self._sum(held)
            if stage.side == MOBILE:
                copied = self._sum(name for name in stage.inputs if name in own)
                most = max(most, held_bytes + left + copied)
            else:
                up = self._sum(name for name in stage.inputs if name not in there)
                came = [name for name in stage.outputs if name in wanted]
                down = self._sum(came)
                answers.append(down)
                left = left_bytes(up, down)
                most = max(most, held_bytes + max(call_bytes(up, down), left + 2 * down))
                there |= {*stage.inputs, *stage.outputs}
                held |= {*came}
            held -= {n for n in held if last.get(n, index) <= index} - self._kept
        return most + session_bytes(answers)

    @property
    def _kept(self) -> set[str]:
        return {*self._mirrored, *self._mirrored.values()}

    def _sum(self, names: Iterable[str]) -> int:
        return sum(self._sizes[name] for name in names)
