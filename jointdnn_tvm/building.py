"""Compile and link: stages into one library a side, groups into libraries to measure."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir.instrument import DumpIR

from jointdnn_tvm import __version__
from jointdnn_tvm.bundle import Bundle, Half
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.graph import Graph, Stage, split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weight, Weights
from jointdnn_tvm.passes.pipeline import lower, partitioning
from jointdnn_tvm.placement import Side
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.runtime.manifest import Manifest, Port, StageEntry, TensorEntry, library_name
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
    stages = split_into_stages(network.graph, placement)  # checks the placement
    with _pass_context(dump_ir / "partitioning" if dump_ir else None):
        module = partitioning(placement)(network.grouped)
    profiles: dict[Side, TargetProfile] = {"mobile": plan.mobile, "cloud": plan.cloud}
    shared = fallback and plan.mobile == plan.cloud
    halves: dict[Side, Half] = {}
    taken: dict[Side, Weights] = {}
    packed = _PackedWeights(network.weights)
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
                taken[side] = compile_library(_only(module, held), profile, library, dump_ir=dump)
            weights = {w.name: packed.get(w) for ws in taken[side].values() for w in ws}
            halves[side] = Half(library.read_bytes(), weights)
    return Bundle(_manifest(network, plan, stages, fallback, taken), halves)


class _PackedWeights:
    """Weights as the sides take them, each made once."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._made: dict[Weight, Array] = {}

    def get(self, weight: Weight) -> Array:
        if weight not in self._made:
            self._made[weight] = weight.of(self._weights)
        return self._made[weight]


def compile_library(
    module: tvm.IRModule, profile: TargetProfile, path: Path, *, dump_ir: Path | None = None
) -> Weights:
    """Lower the module's public functions for a target and link them into a shared library.

    Returns the weights that each function takes after its inputs, some of them packed.
    BuildError says why the module cannot be built; LinkError, that nothing can be linked.
    """
    target = tvm_target(profile)
    link = _linker(profile)
    context = _pass_context(dump_ir)
    try:
        with target, context:
            lowered, weights = lower(module, target, profile)
            executable = tvm.compile(lowered, target, relax_pipeline=None)
        executable.export_library(str(path), fcompile=link)
        return weights
    except LinkError:
        raise
    except Exception as error:  # TVM raises many kinds, none of them documented
        raise BuildError(
            f"building for target {profile.name} failed: {first_line(error)}"
        ) from error


def tvm_target(profile: TargetProfile) -> tvm.target.Target:
    """Make the TVM target of a profile; `native` becomes this machine's own CPU."""
    if profile.kind != "cpu":
        raise BuildError(
            f"target {profile.name} is a {profile.kind} device, and building for those is not "
            "supported yet; use a CPU target, such as host"
        )
    description = dict(profile.tvm_target)
    if description.get("mcpu") == "native":
        description["mcpu"] = tvm.get_global_func("target.llvm_get_system_cpu")()
    try:
        return tvm.target.Target(description)
    except Exception as error:  # of many kinds
        raise BuildError(
            f"TVM does not know target {profile.name}: {first_line(error)}; "
            "correct [tvm_target] in its TOML file"
        ) from error


def first_line(error: BaseException) -> str:
    """What an exception of TVM says, on one line, without the stack that it prints first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("File ", "Traceback", "^", "0:"))]
    return f"{type(error).__name__}: {(told or lines or ['no reason given'])[-1]}"[:500]


def _only(module: tvm.IRModule, names: Sequence[str]) -> tvm.IRModule:
    """Keep the public functions `names`, and the private ones that they reach."""
    public = {
        v: f for v, f in module.functions.items() if v.name_hint in names or not _is_public(f)
    }
    part = tvm.IRModule(public, attrs=module.attrs)
    return relax.transform.DeadCodeElimination(list(names))(part)


def _is_public(function: Any) -> bool:
    return isinstance(function, relax.Function) and "global_symbol" in (function.attrs or {})


def _pass_context(dump_to: Path | None) -> tvm.transform.PassContext:
    """Give a context for passes, which writes the module after each of them to a folder."""
    if dump_to is None:
        return tvm.transform.PassContext(opt_level=3)
    try:
        dump_to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"the folder {dump_to} cannot be written ({error.strerror}); choose another --dump-ir"
        ) from error
    return tvm.transform.PassContext(opt_level=3, instruments=[DumpIR(str(dump_to))])


def _linker(profile: TargetProfile) -> Callable[..., None]:
    """Find the first of the target's linkers that is on this machine."""
    candidates = [shlex.split(os.path.expandvars(c)) for c in profile.linker]
    command = next((c for c in candidates if c and shutil.which(c[0])), None)
    if command is None:
        raise LinkError(
            f"target {profile.name} needs the linker {' or '.join(profile.linker)}, "
            f"and this machine has none of them; install the package {profile.linker_package}"
        )

    def link(output: str, objects: Sequence[str], **_options: Any) -> None:
        result = subprocess.run(
            [*command, "-shared", "-o", output, *objects],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode or not os.path.exists(output):
            reason = " ".join(result.stderr.split())[:300] or f"exit {result.returncode}"
            raise LinkError(f"linking for target {profile.name} with {command[0]} failed: {reason}")

    link.output_format = "so"  # type: ignore[attr-defined]  # export_library asks for it
    return link


def _manifest(
    network: Network,
    plan: Plan,
    stages: Sequence[Stage],
    fallback: bool,
    taken: Mapping[Side, Weights],
) -> Manifest:
    graph = network.graph
    crossing = {*graph.inputs, *graph.outputs}
    crossing |= {t for s in stages for t in (*s.inputs, *s.outputs)}
    return Manifest(
        network=network.name,
        versions={"jointdnn_tvm": __version__, "tvm": tvm.__version__},
        targets={"mobile": plan.mobile.name, "cloud": plan.cloud.name},
        inputs=_ports(network.inputs, graph.inputs),
        outputs=_ports(network.outputs, graph.outputs),
        tensors=_tensor_entries(graph, crossing),
        stages=tuple(_stage_entry(s, taken) for s in stages),
        fallback=fallback,
        plan=plan.to_json(),
        files={},
    )


def _stage_entry(stage: Stage, taken: Mapping[Side, Weights]) -> StageEntry:
    weights: dict[str, tuple[str, ...]] = {
        side: tuple(weight.name for weight in functions[stage.name])
        for side, functions in taken.items()
        if stage.name in functions
    }
    return StageEntry(stage.name, stage.side, stage.inputs, weights, stage.outputs)


def _ports(specs: Sequence[Any], tensors: Sequence[str]) -> tuple[Port, ...]:
    return tuple(Port(spec.name, name) for spec, name in zip(specs, tensors, strict=True))


def _tensor_entries(graph: Graph, names: set[str]) -> dict[str, TensorEntry]:
    return {t.name: TensorEntry(t.shape, t.dtype) for t in graph.tensors if t.name in names}
