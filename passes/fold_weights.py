"""Evaluates what only rearranges weights, in numpy, so that no weight is moved at run time.

Large constants become weights too. Weights stay numpy views until the end: a transposed weight
is copied once, and its original is let go at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.passes.layouts import dims, has_static_shape, rank
from jointdnn_tvm.passes.main_function import without_main

INLINE_ELEMENTS = 8
"""A constant of up to so many elements stays in the graph."""

Array = np.ndarray[Any, Any]


def _permuted(call: Any, array: Array) -> Array:
    axes = call.attrs.axes
    return array.transpose(None if axes is None else [int(axis) for axis in axes])


def _reshaped(call: Any, array: Array) -> Array:
    return array.reshape(dims(call))


_FOLDS: dict[str, Callable[[Any, Array], Array]] = {
    "relax.permute_dims": _permuted,
    "relax.reshape": _reshaped,
    "relax.expand_dims": _reshaped,
    "relax.squeeze": _reshaped,
    "relax.flatten": _reshaped,
}


def fold_weights(
    module: tvm.IRModule, weights: dict[str, Array]
) -> tuple[tvm.IRModule, dict[str, Array]]:
    """Applies reshapes and transpositions of weights, and lifts constants out of `main`.

    Args:
        module: its `main` takes `num_input` inputs, then the weights.
        weights: by parameter name. Emptied on the way, to keep one copy of each only.

    Returns:
        The module and its weights, unused ones left out.
    """
    main = module["main"]
    (block,) = main.body.blocks
    num_input = int(main.attrs["num_input"])
    folder = _Folder()
    for param in main.params[num_input:]:
        folder.know(param, weights.pop(param.name))
    bindings = [folder.rewrite(binding) for binding in block.bindings]
    kept = [binding for binding in bindings if binding is not None]
    params = [*main.params[:num_input], *folder.params]
    body = relax.SeqExpr([relax.DataflowBlock(kept)], main.body.body)
    function = relax.Function(params, body, main.ret_ty, main.is_pure, main.attrs)
    folded = without_main(module)
    folded["main"] = function
    return folded, folder.weights()


class _Folder:
    """What is known about weights while the function is walked."""

    def __init__(self) -> None:
        self.params: list[relax.Var] = []
        self._arrays: dict[Any, Array] = {}
        self._same: dict[tuple[Any, ...], Any] = {}
        self._alias: dict[relax.Var, Any] = {}
        self._used: dict[Any, Any] = {}
        self._names: set[str] = set()
        self._lifted: dict[str, Array] = {}

    def know(self, value: Any, array: Array) -> None:
        """From here on the value of this expression is known."""
        self._arrays[value] = array

    def rewrite(self, binding: Any) -> Any:
        """The binding over the weights that will be parameters; None when it was evaluated."""
        if self._fold(binding.var, binding.value):
            return None
        value = self._substitute(binding.value)
        if isinstance(binding, relax.MatchCast):
            return relax.MatchCast(binding.var, value, binding.ty)
        return relax.VarBinding(binding.var, value)

    def weights(self) -> dict[str, Array]:
        """The arrays by parameter name, in the order of `params`."""
        self._arrays.clear()
        self._used.clear()
        return {
            param.name: np.ascontiguousarray(self._lifted.pop(param.name)) for param in self.params
        }

    def _fold(self, variable: relax.Var, value: Any) -> bool:
        if isinstance(value, tvm.ir.GenericConst):
            self._alias[variable] = value
            return True
        fold = _FOLDS.get(getattr(value.op, "name", "")) if isinstance(value, relax.Call) else None
        if fold is None or not has_static_shape(value):
            return False
        source = self._alias.get(value.args[0], value.args[0])
        array = self._known(source)
        if array is None:
            return False
        key = (source, value.op.name, str(value.attrs), tuple(dims(value)))
        first = self._same.setdefault(key, variable)
        self._alias[variable] = first
        if first is variable:
            self._arrays[variable] = fold(value, array)
        return True

    def _known(self, value: Any) -> Array | None:
        if isinstance(value, tvm.ir.GenericConst) and value not in self._arrays:
            self._arrays[value] = value.value.numpy()
        return self._arrays.get(value)

    def _substitute(self, value: Any) -> Any:
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self._substitute(field) for field in value])
        if isinstance(value, relax.Call):
            args = [self._substitute(arg) for arg in value.args]
            return relax.Call(value.op, args, value.attrs, value.ty_args, ret_ty=value.ty)
        if isinstance(value, relax.Var):
            value = self._alias.get(value, value)
        if not isinstance(value, (relax.Var, tvm.ir.GenericConst)) or rank(value) < 0:
            return value
        array = self._known(value)
        return value if array is None else self._as_parameter(value, array)

    def _as_parameter(self, value: Any, array: Array) -> Any:
        if value in self._used:
            return self._used[value]
        if 0 < array.size <= INLINE_ELEMENTS:
            is_constant = isinstance(value, tvm.ir.GenericConst)
            self._used[value] = (
                value if is_constant else relax.const(np.ascontiguousarray(array), str(array.dtype))
            )
            return self._used[value]
        name = self._name("constant" if isinstance(value, tvm.ir.GenericConst) else value.name)
        param = relax.Var(name, relax.TensorType(array.shape, str(array.dtype)))
        self.params.append(param)
        self._lifted[name] = array
        self._used[value] = param
        return param

    def _name(self, base: str) -> str:
        name, count = base, 0
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name
