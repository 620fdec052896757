"""Read the plain-data graph off a module whose operators are grouped."""

from __future__ import annotations

import tvm
from tvm import relax

from jointdnn_tvm.graph import Graph, Group, Placement, Tensor, size_bytes
from jointdnn_tvm.passes.attributes import GROUP_KEY, OPERATORS, PLACEMENT
from jointdnn_tvm.placement import SIDES


def read_graph(module: tvm.IRModule) -> Graph:
    """List the groups that `main` calls, in order, and the tensors between them."""
    main = module["main"]
    count = int(main.attrs["num_input"])
    inputs = [p.name for p in main.params[:count]]
    weights = {p.name: p.ty for p in main.params[count:]}
    types = {p.name: p.ty for p in main.params[:count]}
    calls, made, result = _calls(main)
    groups = []
    for var, call in calls:
        arguments = [a.name for a in call.args]
        outputs = made[var]
        types.update((v.name, v.ty) for v in outputs)
        function = module[call.op]
        groups.append(
            Group(
                call.op.name_hint,
                tuple(str(o) for o in function.attrs[OPERATORS]),
                tuple(a for a in arguments if a not in weights),
                tuple(a for a in arguments if a in weights),
                tuple(v.name for v in outputs),
                sum(size_bytes(*_shape(weights[a])) for a in arguments if a in weights),
                str(function.attrs[GROUP_KEY]),
            )
        )
    return Graph(
        tuple(groups), _tensors(groups, types, result), tuple(inputs), tuple(v.name for v in result)
    )


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
    groups: list[Group], types: dict[str, relax.Type], result: list[relax.Var]
) -> tuple[Tensor, ...]:
    producer = {t: g.name for g in groups for t in g.outputs}
    outputs = {v.name for v in result}
    consumers: dict[str, list[str]] = {name: [] for name in types}
    for group in groups:
        for name in group.inputs:
            consumers[name].append(group.name)
    return tuple(
        Tensor(n, *_shape(ty), producer.get(n), tuple(consumers[n]), n in outputs)
        for n, ty in types.items()
    )


def _shape(ty: relax.Type) -> tuple[tuple[int, ...], str]:
    return tuple(int(d) for d in ty.shape), str(ty.dtype)
