"""Put the gradients of a loss behind the graph that computes it, operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.passes.gradients.adjoint import Adjoint
from jointdnn_tvm.passes.gradients.rules import RULES, missing_gradient
from jointdnn_tvm.passes.layouts import dims
from jointdnn_tvm.passes.main_function import extend_main, result_fields


def append_backward(module: tvm.IRModule, wanted: Sequence[str]) -> tvm.IRModule:
    """Returns the module whose `main` also returns the gradients of its first result.

    Args:
        module: its `main` is one dataflow block that returns a tuple, of which the first field is
            the loss, a scalar.
        wanted: names of parameters of `main`; the gradients by them follow its results, in this
            order and with their shapes.

    What a gradient reads of the forward pass is used where it was made, so that both are one graph
    of ordinary operators, to be grouped and placed like any other.

    Raises:
        ModelError: operators between these parameters and the loss that have no gradient, all of
            them in one message.
    """
    main = module["main"]
    params = {param.name: param for param in main.params}
    sources = [params[name] for name in wanted]
    (block,) = main.body.blocks
    varying = _varying(block.bindings, sources)
    loss, *_ = result_fields(main)
    used = _check_all_have_gradients(block.bindings, varying, loss)

    def extend(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        backward = _Backward(builder, varying)
        backward.start(loss)
        for binding in reversed(used):
            backward.step(binding)
        return [*fields, *map(backward.total, sources)]

    return extend_main(module, extend)


def _varying(bindings: Sequence[Any], sources: Sequence[relax.Var]) -> set[relax.Var]:
    """The variables, floats or tuples of some, that depend on the sources."""
    varying = set(sources)
    for binding in bindings:
        free = relax.analysis.free_vars(binding.value)
        if _has_floats(binding.var.ty) and not varying.isdisjoint(free):
            varying.add(binding.var)
    return varying


def _has_floats(kind: Any) -> bool:
    if isinstance(kind, relax.TupleType):
        return any(map(_has_floats, kind.fields))
    return isinstance(kind, relax.TensorType) and str(kind.dtype).startswith(("float", "bfloat"))


def _check_all_have_gradients(
    bindings: Sequence[Any], varying: set[relax.Var], loss: Any
) -> list[Any]:
    """The bindings between the sources and the loss, in order."""
    used: list[Any] = []
    reaching = {loss}
    for binding in reversed(bindings):
        if binding.var in reaching and binding.var in varying:
            used.insert(0, binding)
            reaching.update(relax.analysis.free_vars(binding.value))
    calls = [b.value for b in used if isinstance(b.value, relax.Call)]
    missing = sorted({name for name in map(missing_gradient, calls) if name})
    if missing:
        one = len(missing) == 1
        raise ModelError(
            f"operator{'' if one else 's'} {', '.join(missing)} ha{'s' if one else 've'} no "
            "gradient; train only weights that come after "
            f"{'it' if one else 'them'}"
        )
    return used


class _Backward:
    """The gradients while they are put together, from the loss on backwards."""

    def __init__(self, builder: relax.BlockBuilder, varying: set[relax.Var]) -> None:
        self._builder = builder
        self._varying = varying
        self._parts: dict[Any, list[Any]] = {}  # by variable, or by variable and field

    def start(self, loss: Any) -> None:
        """The gradient of the loss by itself is 1."""
        self._parts[loss] = [relax.const(1, str(loss.ty.dtype))]

    def step(self, binding: Any) -> None:
        """Hand the gradient of what a binding made on to what it was made from."""
        value = binding.value
        gradient = self._gathered(binding.var)
        if gradient is None:
            return
        if not isinstance(value, relax.Call):
            self._add(value, gradient)
            return
        name = f"{binding.var.name}_gradient"
        adjoint = Adjoint(value, binding.var, gradient, lambda e: self._bound(e, name))
        for arg, part in zip(value.args, RULES[value.op.name](adjoint), strict=True):
            if part is not None:
                self._add(arg, part)

    def total(self, source: relax.Var) -> Any:
        """The gradient by a parameter: zero where the loss does not depend on it."""
        gradient = self._gathered(source)
        if gradient is None:
            zeros = relax.op.zeros(dims(source), str(source.ty.dtype))
            return self._builder.emit(zeros, f"{source.name}_gradient")
        return gradient

    def _add(self, target: Any, gradient: Any) -> None:
        if isinstance(target, relax.Tuple):
            for field, part in zip(target.fields, gradient, strict=True):
                if part is not None:
                    self._add(field, part)
        elif isinstance(target, relax.TupleGetItem):
            self._put((target.tuple_value, target.index), gradient, target.tuple_value)
        elif isinstance(target, relax.Var) and isinstance(target.ty, relax.TupleType):
            for index, part in enumerate(gradient):
                if part is not None:
                    self._put((target, index), part, target)
        elif isinstance(target, relax.Var):
            self._put(target, gradient, target)

    def _put(self, key: Any, gradient: Any, target: relax.Var) -> None:
        if target in self._varying:
            bound = self._bound(gradient, f"{target.name}_gradient")
            self._parts.setdefault(key, []).append(bound)

    def _gathered(self, var: relax.Var) -> Any:
        """The sum of a variable's parts, or those of its fields; None: it gets no gradient."""
        if isinstance(var.ty, relax.TupleType):
            fields = [self._sum((var, i), var.name) for i in range(len(var.ty.fields))]
            return fields if any(field is not None for field in fields) else None
        return self._sum(var, var.name)

    def _sum(self, key: Any, name: str) -> Any:
        total, *others = self._parts.pop(key, [None])
        for part in others:
            total = self._bound(relax.op.add(total, part), f"{name}_gradient")
        return total

    def _bound(self, expr: Any, name: str) -> Any:
        if isinstance(expr, (relax.Var, tvm.ir.GenericConst)):
            return expr
        return self._builder.emit(expr, name)
