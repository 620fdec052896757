"""Blocks to plain loops, in the functions that have any."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx


@tvm.transform.module_pass(opt_level=0, name="LowerBlocks")
class LowerBlocks:
    """Lower blocks and the buffers that they allocate.

    Kernels that were written out have none. They are the largest functions, and working out the
    extent of their buffers (`CompactBufferAllocation`) would take longer than everything else.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module without blocks."""
        lowered = dict(module.functions.items())
        blocks = {var: function for var, function in lowered.items() if _has_blocks(function)}
        lowered |= dict(_lower(tvm.IRModule(blocks)).functions.items())
        return tvm.IRModule(lowered, attrs=module.attrs)


def _has_blocks(function: Any) -> bool:
    return isinstance(function, tirx.PrimFunc) and isinstance(function.body, s_tir.SBlockRealize)


_lower = tvm.transform.Sequential(
    [
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
    ],
    name="lower_blocks",
)
