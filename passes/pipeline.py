"""The order of all passes: from the imported network to two modules. The page to read first."""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import relax, s_tir
from tvm.relax.backend.cpu_generic import pipeline as cpu
from tvm.relax.backend.cuda import pipeline as cuda

from jointdnn_tvm.passes.annotate_placement import AnnotatePlacement
from jointdnn_tvm.passes.choose_kernels import (
    Kernel,
    Plain,
    Weights,
    choose_kernels,
    chosen_kernels,
    plain_weights,
)
from jointdnn_tvm.passes.drop_scope_marks import DropScopeMarks
from jointdnn_tvm.passes.gradients.rules import LEGALIZATIONS
from jointdnn_tvm.passes.group_operators import GroupOperators
from jointdnn_tvm.passes.insert_boundary_codec import InsertBoundaryCodec
from jointdnn_tvm.passes.keep_groups_apart import DropGroupEnds, KeepGroupsApart
from jointdnn_tvm.passes.lower_blocks import LowerBlocks
from jointdnn_tvm.passes.partition_by_placement import PartitionByPlacement
from jointdnn_tvm.passes.schedule_for_cpu import ScheduleForCpu
from jointdnn_tvm.passes.schedule_for_gpu import ScheduleForGpu
from jointdnn_tvm.passes.vector_math import VectorMath
from jointdnn_tvm.passes.write_into_concat import WriteIntoConcat
from jointdnn_tvm.placement import Side
from jointdnn_tvm.targets import TargetProfile


def grouping() -> tvm.transform.Sequential:
    """Network to operator groups: what is measured and placed."""
    return tvm.transform.Sequential(
        [
            relax.transform.DeadCodeElimination(["main"]),  # a group hands something out
            GroupOperators(),
        ],
        name="grouping",
    )


def partitioning(
    placement: Mapping[str, Side], codecs: InsertBoundaryCodec | None = None
) -> tvm.transform.Sequential:
    """Operator groups to one function a stage, which quantises by `codecs` what it hands over."""
    return tvm.transform.Sequential(
        [
            AnnotatePlacement(placement),
            PartitionByPlacement(),
            *([codecs] if codecs else []),
        ],
        name="partitioning",
    )


def partitioning_exactly(placement: Mapping[str, Side]) -> tvm.transform.Sequential:
    """Operator groups to one function a stage, which gives the same bits wherever stages end."""
    return tvm.transform.Sequential(
        [partitioning(placement), KeepGroupsApart()], name="partitioning"
    )


def lower(
    module: tvm.IRModule, target: tvm.target.Target, profile: TargetProfile
) -> tuple[tvm.IRModule, Weights]:
    """Functions of Relax operators to scheduled kernels and virtual machine code for one target.

    Groups are measured and stages are built by this same pipeline. The weights that the lowered
    functions take, some of them packed, come back with the module.
    """
    if profile.kind == "cuda":
        return _for_gpu(module, target, profile), plain_weights(module)
    kernels = tvm.transform.Sequential(
        [
            *_KERNELS,
            ScheduleForCpu(profile),
            WriteIntoConcat(profile),
            s_tir.transform.ConvertSSA(),  # a kernel may now stand in a function twice
            # dataflow to virtual machine code
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            *cpu.finalize_passes(target),
            # blocks to plain loops, in which functions are written out
            LowerBlocks(),
            VectorMath(),
        ],
        name="lowering",
    )
    chosen, weights = choose_kernels(_inlining(target)(module), profile)
    return kernels(chosen), weights


def kernels_in(
    module: tvm.IRModule, target: tvm.target.Target, profile: TargetProfile
) -> dict[str, tuple[Kernel | Plain, ...]]:
    """The kernels of ours that `lower` puts into each function; on a GPU there are none."""
    if profile.kind == "cuda":
        return {}
    return chosen_kernels(_inlining(target)(module), profile)


def _inlining(target: tvm.target.Target) -> tvm.transform.Sequential:
    return tvm.transform.Sequential(
        [*_GRAPH, *cpu.library_dispatch_passes(target)], name="inlining"
    )


def _for_gpu(
    module: tvm.IRModule, target: tvm.target.Target, profile: TargetProfile
) -> tvm.IRModule:
    """Lower for a GPU; TVM's own pipeline then brings blocks of threads to CUDA source."""
    kernels = tvm.transform.Sequential(
        [
            *_GRAPH,
            *cuda.library_dispatch_passes(target),
            *_KERNELS,
            ScheduleForGpu(profile, target),
            # dataflow to virtual machine code
            *cuda.dataflow_lower_passes(target),
            *cuda.finalize_passes(target),
        ],
        name="lowering",
    )
    return kernels(module)


_GRAPH = (
    # graph: dissolve the groups, so that kernels fuse as far as the stage reaches
    relax.transform.InlinePrivateFunctions(),
    relax.transform.CanonicalizeBindings(),
)
_KERNELS = (
    # operators to kernels
    relax.transform.LegalizeOps(LEGALIZATIONS),
    relax.transform.AnnotateTIROpPattern(),
    relax.transform.FuseOps(),
    relax.transform.FuseTIR(),
    DropGroupEnds(),
    relax.transform.RewriteDataflowReshape(),  # it looks for blocks, all of them still here
    relax.transform.DeadCodeElimination(),
    DropScopeMarks(),
)
