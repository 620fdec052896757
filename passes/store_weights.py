"""Store each weight that changes in the one form in which its operators read it.

Other weights are rearranged once, by `fold_weights`, in as many forms as are read. One that is
trained may have one form only, from which the weight of the file can be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.passes.layouts import dims
from jointdnn_tvm.passes.main_function import without_main
from jointdnn_tvm.passes.substitute import substitution
from jointdnn_tvm.runtime.form import Form, Move

_MOVES = ("relax.permute_dims",)
_VIEWS = ("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten")


def store_weights(
    module: tvm.IRModule, names: Sequence[str]
) -> tuple[tvm.IRModule, dict[str, Form]]:
    """Takes parameters of `main` in the form that all their readers want, where they agree.

    Returns the module, and the form of each parameter of these names.
    """
    main = module["main"]
    (block,) = main.body.blocks
    readers: dict[relax.Var, list[Any]] = {}
    for binding in block.bindings:
        for var in relax.analysis.free_vars(binding.value):
            readers.setdefault(var, []).append(binding)
    forms: dict[str, Form] = {}
    values: dict[relax.Var, relax.Expr] = {}
    dropped: set[relax.Var] = set()
    params = list(main.params)
    for index, param in enumerate(params):
        if param.name not in names:
            continue
        steps, same, shape = _agreed(param, readers)
        forms[param.name] = Form(tuple(dims(param)), tuple(steps))
        if steps:
            kind = relax.TensorType(shape, str(param.ty.dtype))
            params[index] = relax.Var(param.name, kind)
            values.update((var, params[index]) for var in same[-1])
            dropped.update(var for level in same[1:] for var in level)
    substitute, builder = substitution(values), relax.BlockBuilder()
    kept = [
        relax.VarBinding(binding.var, builder.normalize(substitute(binding.value)))
        if not values.keys().isdisjoint(relax.analysis.free_vars(binding.value))
        else binding
        for binding in block.bindings
        if binding.var not in dropped
    ]
    body = builder.normalize(relax.SeqExpr([relax.DataflowBlock(kept)], main.body.body))
    stored = without_main(module)
    stored["main"] = relax.Function(params, body, main.ret_ty, main.is_pure, main.attrs)
    return stored, forms


def _agreed(
    param: relax.Var, readers: dict[relax.Var, list[Any]]
) -> tuple[list[Move], list[list[relax.Var]], list[int]]:
    """The steps that all readers take first, the variables after each, and the last shape."""
    steps: list[Move] = []
    same, shape = [[param]], dims(param)
    while True:
        reading = [binding for var in same[-1] for binding in readers.get(var, [])]
        taken = [_step(binding) for binding in reading]
        first = taken[0] if taken else None
        if first is None or any(step != first for step in taken):
            return steps, same, shape
        steps.append(first)
        same.append([binding.var for binding in reading])
        shape = dims(reading[0].var)


def _step(binding: Any) -> Move | None:
    value = binding.value
    name = getattr(value.op, "name", "") if isinstance(value, relax.Call) else ""
    if name in _VIEWS:
        return "shape", tuple(dims(binding.var))
    if name in _MOVES:
        axes = value.attrs.axes
        count = len(dims(binding.var))
        if axes is None:
            return "order", tuple(range(count))[::-1]
        return "order", tuple(int(a) % count for a in axes)
    return None
