"""Buffers of several dimensions to flat ones, as machine code reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.schedule_for_cpu import WRITTEN

_flatten = tirx.transform.FlattenBuffer()


@tvm.transform.module_pass(opt_level=0, name="FlattenBuffers")
class FlattenBuffers:
    """Give every access one index.

    The buffers of kernels that were written out are flat, but for what they take and give, which
    a few places read and write. TVM's own pass works out the index of each of a thousand places
    from all loops around it, for a third of the time of all passes, and leaves them as they were.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module with flat accesses."""
        others = dict(module.functions.items())
        flat = {var: _flat(f) for var, f in others.items() if WRITTEN in (f.attrs or {})}
        others = {var: function for var, function in others.items() if var not in flat}
        if others:
            flat |= dict(_flatten(tvm.IRModule(others)).functions.items())
        return tvm.IRModule(flat, attrs=module.attrs)


def _flat(function: tirx.PrimFunc) -> tirx.PrimFunc:
    analyzer = tvm.sym.Analyzer()
    views = {buffer: emit.flat(buffer) for buffer in function.params}
    used = set()

    def place(buffer: Any, indices: Sequence[Any]) -> list[Any]:
        used.add(buffer)
        return [analyzer.simplify(place) for place in buffer.offset_of(list(indices))]

    def load(access: Any) -> Any:
        if access.source not in views:
            return access
        view, _ = views[access.source]
        return tirx.BufferLoad(view, place(access.source, access.indices))

    def store(access: Any) -> Any:
        if access.buffer not in views:
            return access
        view, _ = views[access.buffer]
        return tirx.BufferStore(view, access.value, place(access.buffer, access.indices))

    body = tvm_ffi.structural_map(function.body, [(TensorLoad, load), (tirx.BufferStore, store)])
    declarations = [declaration for buffer, (_, declaration) in views.items() if buffer in used]
    whole = emit.sequence([*declarations, body])
    return tirx.PrimFunc(function.params, whole, function.ret_type, function.attrs)
