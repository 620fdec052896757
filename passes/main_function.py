"""`main` of a module: apart from the functions that it calls, or with more behind its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax


def without_main(module: tvm.IRModule) -> tvm.IRModule:
    """Copy the module's other functions, to build a new `main` or its parts beside them."""
    others = {v: f for v, f in module.functions.items() if v.name_hint != "main"}
    return tvm.IRModule(others, attrs=module.attrs)


def with_num_input(module: tvm.IRModule, count: int) -> tvm.IRModule:
    """Copy the module; the first `count` parameters of its `main` are then no weights."""
    changed = without_main(module)
    changed["main"] = module["main"].with_attr("num_input", count)
    return changed


def result_fields(main: relax.Function) -> list[Any]:
    """What `main`, one dataflow block that returns a tuple, returns."""
    (block,) = main.body.blocks
    body = main.body.body
    made = [binding.value for binding in block.bindings if binding.var.same_as(body)]
    return list((made or [body])[0].fields)


Extension = Callable[[relax.BlockBuilder, list[Any]], Sequence[Any]]
"""Emits what comes after `main`, given the fields of its result; returns the fields of the new."""


def extend_main(
    module: tvm.IRModule,
    extension: Extension,
    params: Sequence[relax.Var] | None = None,
    num_input: int | None = None,
) -> tvm.IRModule:
    """Let `main`, one dataflow block that returns a tuple, go on and return something else.

    `params` and `num_input` are those of the new `main` where they change. What nobody needs any
    more is dropped.
    """
    main = module["main"]
    (block,) = main.body.blocks
    params = list(main.params) if params is None else list(params)
    attributes = dict(main.attrs) | ({} if num_input is None else {"num_input": num_input})
    builder = relax.BlockBuilder(without_main(module))
    fields = result_fields(main)
    with builder.function("main", params, attrs=attributes):
        with builder.dataflow():
            for binding in block.bindings:
                if not binding.var.same_as(main.body.body):
                    builder.emit_normalized(binding)
            output = builder.emit_output(relax.Tuple(list(extension(builder, fields))))
        builder.emit_func_output(output)
    return relax.transform.DeadCodeElimination(["main"])(builder.finalize())
