"""Compile and link: stages into one library a side, groups into libraries to measure."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from jointdnn_tvm import __version__
from jointdnn_tvm.boundary import Quantised, quantised_tensors, send_indices
from jointdnn_tvm.bundle import Bundle, Half
from jointdnn_tvm.compiling import pass_context
from jointdnn_tvm.graph import Graph, Stage, split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weight, Weights
from jointdnn_tvm.passes.insert_boundary_codec import InsertBoundaryCodec
from jointdnn_tvm.passes.pipeline import partitioning
from jointdnn_tvm.placement import PLAIN, Side
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.runtime.bundle_names import library_name
from jointdnn_tvm.runtime.manifest import Manifest, Port, StageEntry, TensorEntry
from jointdnn_tvm.stage_library import compile_stages
from jointdnn_tvm.targets import TargetProfile

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


def build(
    network: Network, plan: Plan, *, fallback: bool = True, dump_ir: Path | None = None
) -> Bundle:
    """Compile the stages of a plan, one library a side.

    With `fallback` the mobile side can run every stage, so that a lost cloud costs time only;
    a cloud of the very same target then gets the same library.
    `dump_ir` is a folder that then holds the module after each pass. BuildError says which side
    failed, and why.
    """
    placement = plan.answer.placement
    split = split_into_stages(network.graph, placement)  # checks the placement
    quantised = quantised_tensors(network.graph, plan.in_module)
    stages = send_indices(split, network.graph, quantised)
    with pass_context(dump_ir / "partitioning" if dump_ir else None):
        insert = InsertBoundaryCodec(split, stages, quantised) if quantised else None
        module = partitioning(placement, insert)(network.grouped)
    profiles: dict[Side, TargetProfile] = {"mobile": plan.mobile, "cloud": plan.cloud}
    halves, taken = compile_halves(
        module, stages, network.weights, profiles, fallback=fallback, dump_ir=dump_ir
    )
    tensors = tensor_entries(network.graph, stages, plan.answer.codecs, quantised)
    return Bundle(_manifest(network, plan, stages, tensors, fallback, taken), halves)


def compile_halves(
    module: tvm.IRModule,
    stages: Sequence[Stage],
    weights: Mapping[str, Array],
    profiles: Mapping[Side, TargetProfile],
    *,
    fallback: bool,
    dump_ir: Path | None = None,
) -> tuple[dict[Side, Half], dict[Side, Weights]]:
    """Compile the stages of a partitioned module for the sides that have any.

    Returns what each side runs, and the weights that its functions take. BuildError says which
    side failed, and why.
    """
    shared = fallback and profiles["mobile"] == profiles["cloud"]
    halves: dict[Side, Half] = {}
    taken: dict[Side, Weights] = {}
    packed = _PackedWeights(weights)
    with tempfile.TemporaryDirectory(prefix="jointdnn-build-") as folder:
        for side, profile in profiles.items():
            held = [s.name for s in stages if s.side == side or (side == "mobile" and fallback)]
            if not held:
                continue
            library = Path(folder) / library_name("mobile" if shared else side)
            if library.exists():
                taken[side] = {name: taken["mobile"][name] for name in held}
            else:
                dump = dump_ir / side if dump_ir else None
                taken[side] = compile_stages(module, held, profile, library, dump_ir=dump)
            needed = {w.name: packed.get(w) for ws in taken[side].values() for w in ws}
            halves[side] = Half(library.read_bytes(), needed)
    return halves, taken


class _PackedWeights:
    """Weights as the sides take them, each made once."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._made: dict[Weight, Array] = {}

    def get(self, weight: Weight) -> Array:
        if weight not in self._made:
            self._made[weight] = weight.of(self._weights)
        return self._made[weight]


def _manifest(
    network: Network,
    plan: Plan,
    stages: Sequence[Stage],
    tensors: Mapping[str, TensorEntry],
    fallback: bool,
    taken: Mapping[Side, Weights],
) -> Manifest:
    graph = network.graph
    return Manifest(
        network=network.name,
        versions={"jointdnn_tvm": __version__, "tvm": tvm.__version__},
        targets={"mobile": plan.mobile.name, "cloud": plan.cloud.name},
        inputs=_ports(network.inputs, graph.inputs),
        outputs=_ports(network.outputs, graph.outputs),
        tensors=tensors,
        stages=stage_entries(stages, taken),
        fallback=fallback,
        plan=plan.to_json(),
        files={},
    )


def stage_entries(stages: Sequence[Stage], taken: Mapping[Side, Weights]) -> tuple[StageEntry, ...]:
    """The stages as a manifest has them, with the weights that each side's functions take."""
    return tuple(_stage_entry(stage, taken) for stage in stages)


def _stage_entry(stage: Stage, taken: Mapping[Side, Weights]) -> StageEntry:
    weights: dict[str, tuple[str, ...]] = {
        side: tuple(weight.name for weight in functions[stage.name])
        for side, functions in taken.items()
        if stage.name in functions
    }
    return StageEntry(stage.name, stage.side, stage.inputs, weights, stage.outputs)


def _ports(specs: Sequence[Any], tensors: Sequence[str]) -> tuple[Port, ...]:
    return tuple(Port(spec.name, name) for spec, name in zip(specs, tensors, strict=True))


def tensor_entries(
    graph: Graph,
    stages: Sequence[Stage],
    codecs: Mapping[str, str],
    quantised: Mapping[str, Quantised],
) -> dict[str, TensorEntry]:
    """What goes in, comes out, or passes between stages, indices among it."""
    named = {*graph.inputs, *graph.outputs, *(t for s in stages for t in (*s.inputs, *s.outputs))}
    entries = {}
    for tensor in graph.tensors:
        indices = quantised.get(tensor.name)
        if indices is not None and indices.name in named:
            entries[indices.name] = TensorEntry(tensor.shape, "uint8", indices.how.codec)
        if tensor.name in named:
            codec = PLAIN if indices else codecs.get(tensor.name, PLAIN)
            entries[tensor.name] = TensorEntry(tensor.shape, tensor.dtype, codec)
    return entries
