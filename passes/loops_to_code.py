"""What happens to the loops of a CPU kernel on their way to LLVM.

These are the passes of TVM's own pipeline for scheduled functions that loops on a CPU need, in its
order. Left out are those for blocks, of which none are left, and for GPUs, and those that lift
conditions out of loops and remove statements that do nothing, which LLVM does as well: each of them
walks through functions of a thousand statements. For that reason buffers become flat by a pass of
our own.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.pipeline import finalize_device_passes, finalize_host_passes
from tvm.tirx.compilation_pipeline import register_tir_pipeline

from jointdnn_tvm.passes.flatten_buffers import FlattenBuffers

LOOPS_TO_CODE = "jointdnn-loops/2"
"""The pipeline's name for `tvm.tirx.build`.

Kept kernels are known by it: count up when the pipeline changes."""


def _pipeline() -> tuple[Any, Any, Any]:
    passes = tvm.transform.Sequential(
        [
            FlattenBuffers(),
            tirx.transform.BF16ComputeLegalize(),
            tirx.transform.NarrowDataType(32),
            s_tir.transform.LoopPartition(),
            tirx.transform.VectorizeLoop(True),
            tirx.transform.StorageRewrite(),
            tirx.transform.UnrollLoop(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.StmtSimplify(),
            s_tir.transform.RewriteUnsafeSelect(),
            tirx.transform.CommonSubexprElim(),
            tirx.transform.FP8ComputeLegalize(),
            tirx.transform.VerifyMemory(),
            tirx.transform.AnnotateEntryFunc(),
            tirx.transform.SplitHostDevice(),
            tirx.transform.MakePackedAPI(),
            tirx.transform.FP8StorageLegalize(),
            tirx.transform.BF16StorageLegalize(),
        ],
        name=LOOPS_TO_CODE,
    )
    return passes, finalize_host_passes, finalize_device_passes


register_tir_pipeline(LOOPS_TO_CODE, _pipeline)
