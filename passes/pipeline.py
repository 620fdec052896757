"""The order of all passes: from the imported network to two modules. The page to read first."""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu

from jointdnn_tvm.passes.annotate_placement import AnnotatePlacement
from jointdnn_tvm.passes.drop_scope_marks import DropScopeMarks
from jointdnn_tvm.passes.group_operators import GroupOperators
from jointdnn_tvm.passes.partition_by_placement import PartitionByPlacement
from jointdnn_tvm.passes.schedule_for_cpu import ScheduleForCpu
from jointdnn_tvm.placement import Side


def grouping() -> tvm.transform.Sequential:
    """Network to operator groups: what is measured and placed."""
    return tvm.transform.Sequential(
        [
            relax.transform.DeadCodeElimination(["main"]),  # a group hands something out
            GroupOperators(),
        ],
        name="grouping",
    )


def partitioning(placement: Mapping[str, Side]) -> tvm.transform.Sequential:
    """Operator groups to one function a stage."""
    return tvm.transform.Sequential(
        [
            AnnotatePlacement(placement),
            PartitionByPlacement(),
        ],
        name="partitioning",
    )


def lowering(target: tvm.target.Target, lanes: int, registers: int) -> tvm.transform.Sequential:
    """Functions of Relax operators to scheduled kernels and virtual machine code for one target.

    Groups are measured and stages are built by this same pipeline. `lanes` and `registers`
    describe the target's float32 vector unit.
    """
    return tvm.transform.Sequential(
        [
            # graph: dissolve the groups, so that kernels fuse as far as the stage reaches
            relax.transform.InlinePrivateFunctions(),
            relax.transform.CanonicalizeBindings(),
            *cpu.library_dispatch_passes(target),
            # operators to kernels
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
            DropScopeMarks(),
            ScheduleForCpu(lanes, registers),
            # dataflow to virtual machine code
            *cpu.dataflow_lower_passes(target),
            *cpu.finalize_passes(target),
        ],
        name="lowering",
    )
