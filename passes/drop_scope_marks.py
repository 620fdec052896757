"""Drop marks that TVM's own kernels carry and its code generator warns of."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx

_MARK = "pragma_scope"


@tvm.transform.module_pass(opt_level=0, name="DropScopeMarks")
class DropScopeMarks:
    """Drop the mark of a sequence of statements (in a scatter).

    Nothing reads it, and it would print "Unknown pragma" each time such a kernel is compiled.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module without the marks."""
        functions = dict(module.functions.items())
        for var, function in functions.items():
            body = getattr(function, "body", None)
            if isinstance(function, tirx.PrimFunc) and isinstance(body, s_tir.SBlockRealize):
                functions[var] = _without_marks(function)
        return tvm.IRModule(functions, attrs=module.attrs)


def _without_marks(function: tirx.PrimFunc) -> tirx.PrimFunc:
    schedule = s_tir.Schedule(function)
    root = schedule.get_sblock(function.body.block.name_hint)
    for handle in [root, *schedule.get_child_blocks(root)]:
        block = schedule.get(handle)
        if isinstance(block.body, tirx.AttrStmt) and block.body.attr_key == _MARK:
            plain = _with_body(block, block.body.body)
            schedule.state.replace(schedule.get_sref(handle), plain, {block: plain})
    return schedule.mod["main"]


def _with_body(block: s_tir.SBlock, body: tirx.Stmt) -> s_tir.SBlock:
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        body,
        block.init,
        block.alloc_buffers,
        block.match_buffers,
        block.annotations,
    )
