"""Turn the annotated module into one public function a stage."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.graph import Stage, split_into_stages
from jointdnn_tvm.passes.attributes import PLACEMENT
from jointdnn_tvm.passes.main_function import without_main
from jointdnn_tvm.passes.read_graph import read_graph, read_placement


@tvm.transform.module_pass(opt_level=0, name="PartitionByPlacement")
class PartitionByPlacement:
    """Replace `main` by its stages: maximal runs of groups with the same placement.

    A stage's parameters are the tensors it needs, then its weights, in the order of
    `graph.Stage`; it returns the tuple of the tensors that others need.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the partitioned module; every group must carry a placement."""
        graph = read_graph(module)
        stages = split_into_stages(graph, read_placement(module))
        main = module["main"]
        builder = relax.BlockBuilder(without_main(module))
        for stage in stages:
            _emit_stage(builder, stage, main)
        return builder.finalize()


def _emit_stage(builder: relax.BlockBuilder, stage: Stage, main: relax.Function) -> None:
    bindings = main.body.blocks[0].bindings
    types = {v.name: v.ty for v in [*main.params, *(b.var for b in bindings)]}
    params = [relax.Var(n, types[n]) for n in [*stage.inputs, *stage.weights]]
    values: dict[str, relax.Expr] = {p.name: p for p in params}
    attributes = {PLACEMENT: stage.side, "num_input": len(stage.inputs)}
    with builder.function(stage.name, params, attrs=attributes):
        with builder.dataflow():
            for binding in bindings:
                value = _in_stage(binding.value, stage, values)
                if value is not None:
                    values[binding.var.name] = builder.emit(value, binding.var.name)
            made = relax.Tuple([values[t] for t in stage.outputs])
            result = builder.emit_output(made)
        builder.emit_func_output(result)


def _in_stage(
    value: relax.Expr, stage: Stage, values: dict[str, relax.Expr]
) -> relax.Call | relax.TupleGetItem | None:
    """Give the call of a group of this stage, or a field of its result, over the stage's values."""
    if isinstance(value, relax.Call) and value.op.name_hint in stage.groups:
        return relax.Call(value.op, [values[a.name] for a in value.args])
    if isinstance(value, relax.TupleGetItem) and value.tuple_value.name in values:
        return relax.TupleGetItem(values[value.tuple_value.name], value.index)
    return None
