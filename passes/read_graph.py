"""Read the plain-data graph off a module whose operators are grouped."""

from __future__ import annotations

import tvm
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.graph import Graph, Group, Placement, Tensor, size_bytes
from jointdnn_tvm.passes.attributes import GROUP_KEY, OPERATORS, PLACEMENT
from jointdnn_tvm.passes.layouts import has_static_shape
from jointdnn_tvm.placement import SIDES


def read_graph(module: tvm.IRModule) -> Graph:
    """List the groups that `main` calls, in order, and the tensors between them.

    ModelError for a tensor whose shape is not known before it is computed.
    """
    main = module["main"]
    count = int(main.attrs["num_input"])
    weights = {p.name: p for p in main.params[count:]}
    tensors = {p.name: p for p in main.params[:count]}
    calls, made, result = _calls(main)
    groups = []
    for var, call in calls:
        tensors.update((v.name, v) for v in made[var])
        arguments = [a.name for a in call.args]
        read = [a for a in arguments if a in weights]
        attributes = module[call.op].attrs
        groups.append(
            Group(
                name=call.op.name_hint,
                operators=tuple(str(o) for o in attributes[OPERATORS]),
                inputs=tuple(a for a in arguments if a not in weights),
                weights=tuple(read),
                outputs=tuple(v.name for v in made[var]),
                weight_bytes=sum(size_bytes(*_shape(weights[w])) for w in read),
                key=str(attributes[GROUP_KEY]),
            )
        )
    inputs = tuple(p.name for p in main.params[:count])
    outputs = tuple(v.name for v in result)
    return Graph(tuple(groups), _tensors(groups, tensors, outputs), inputs, outputs)


def read_placement(module: tvm.IRModule) -> Placement:
    """Return the side that each group carries as its attribute; groups without one are left out."""
    carried = {
        var.name_hint: str(function.attrs[PLACEMENT])
        for var, function in module.functions.items()
        if isinstance(function, relax.Function) and function.attrs and PLACEMENT in function.attrs
    }
    return {name: side for name, text in carried.items() for side in SIDES if side == text}


def _calls(
    main: relax.Function,
) -> tuple[list[tuple[relax.Var, relax.Call]], dict[relax.Var, list[relax.Var]], list[relax.Var]]:
    calls: list[tuple[relax.Var, relax.Call]] = []
    made: dict[relax.Var, list[relax.Var]] = {}
    result: list[relax.Var] = []
    for binding in main.body.blocks[0].bindings:
        value = binding.value
        if isinstance(value, relax.Call):
            calls.append((binding.var, value))
            made[binding.var] = [binding.var]
        elif isinstance(value, relax.TupleGetItem):
            if made[value.tuple_value] == [value.tuple_value]:
                made[value.tuple_value] = []
            made[value.tuple_value].append(binding.var)
        else:
            result = list(value.fields)
    return calls, made, result


def _tensors(
    groups: list[Group], tensors: dict[str, relax.Var], outputs: tuple[str, ...]
) -> tuple[Tensor, ...]:
    producer = {t: g.name for g in groups for t in g.outputs}
    consumers: dict[str, list[str]] = {name: [] for name in tensors}
    for group in groups:
        for name in group.inputs:
            consumers[name].append(group.name)
    return tuple(
        Tensor(n, *_shape(var), producer.get(n), tuple(consumers[n]), n in outputs)
        for n, var in tensors.items()
    )


def _shape(tensor: relax.Var) -> tuple[tuple[int, ...], str]:
    if not has_static_shape(tensor):
        raise ModelError(
            f"tensor {tensor.name!r} between operators has a shape that depends on the data "
            f"({tensor.ty}); export the model with fixed shapes"
        )
    return tuple(int(d) for d in tensor.ty.shape), str(tensor.ty.dtype)
