"""Quantise what a stage hands to the other side, and dequantise what it reads from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.boundary import InModule, Quantised
from jointdnn_tvm.codec.quantise import Grid
from jointdnn_tvm.graph import Stage

op = relax.op


@tvm.transform.module_pass(opt_level=0, name="InsertBoundaryCodec")
@dataclass
class InsertBoundaryCodec:
    """Give the stages `before`, which the module has, the tensors of the stages `after`.

    Both are in one order. Each stage that changes becomes a function around its old self, which
    is private now, so that what is inserted fuses with the loops of the stage.
    """

    before: Sequence[Stage]
    after: Sequence[Stage]
    quantised: Mapping[str, Quantised]

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module with its stages changed."""
        changed = [pair for pair in zip(self.before, self.after, strict=True) if pair[0] != pair[1]]
        names = {old.name for old, _ in changed}
        kept = {v: f for v, f in module.functions.items() if v.name_hint not in names}
        builder = relax.BlockBuilder(tvm.IRModule(kept, attrs=module.attrs))
        of_name = {q.name: q for q in self.quantised.values()}
        for old, new in changed:
            _wrap(builder, module[old.name], old, new, of_name)
        return builder.finalize()


def _wrap(
    builder: relax.BlockBuilder,
    function: relax.Function,
    old: Stage,
    new: Stage,
    quantised: Mapping[str, Quantised],
) -> None:
    private = function.without_attr("global_symbol").without_attr("num_input")
    inner = builder.add_func(private, f"{old.name}_plain")
    types = {p.name: p.ty for p in function.params}
    params = []
    for was, name in zip(old.inputs, new.inputs, strict=True):
        indices = relax.TensorType(types[was].shape, "uint8")
        params.append(relax.Var(name, indices if name in quantised else types[was]))
    params += [relax.Var(p.name, p.ty) for p in function.params[len(old.inputs) :]]
    with builder.function(old.name, params, attrs=dict(function.attrs)):
        with builder.dataflow():
            read = [
                builder.emit(_dequantise(p, quantised[p.name].how)) if p.name in quantised else p
                for p in params
            ]
            made = builder.emit(relax.Call(inner, read))
            values = {t: relax.TupleGetItem(made, i) for i, t in enumerate(old.outputs)}
            plain = {t: builder.emit(value) for t, value in values.items()}
            results = [
                builder.emit(_quantise(plain[quantised[t].tensor], quantised[t].how))
                if t in quantised
                else plain[t]
                for t in new.outputs
            ]
            result = builder.emit_output(relax.Tuple(results))
        builder.emit_func_output(result)


def _quantise(tensor: relax.Expr, how: InModule) -> relax.Expr:
    """clip(tensor / step + (1/2 - low / step)), cut off to whole numbers: the nearest index."""
    grid = how.grid
    inverse = np.divide(1, grid.step, out=np.zeros_like(grid.step), where=grid.step > 0)
    scaled = op.multiply(tensor, _along(grid, inverse, tensor))
    placed = op.add(scaled, _along(grid, np.float32(0.5) - grid.low * inverse, tensor))
    return op.astype(op.clip(placed, 0, how.levels - 0.5), "uint8")


def _dequantise(indices: relax.Expr, how: InModule) -> relax.Expr:
    grid = how.grid
    steps = op.multiply(op.astype(indices, "float32"), _along(grid, grid.step, indices))
    return op.add(steps, _along(grid, grid.low, indices))


def _along(grid: Grid, values: np.ndarray, tensor: relax.Expr) -> relax.Constant:
    """The values along the grid's axis of the tensor, as a constant that broadcasts."""
    shape = [1] * len(tensor.ty.shape)
    if grid.axis is not None:
        shape[grid.axis] = -1
    return relax.const(np.ascontiguousarray(values.reshape(shape), np.float32))
