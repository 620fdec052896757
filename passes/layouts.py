"""What is stored how, while a function's layout is converted: see `convert_layout`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Stored:
    """A tensor, or a tuple of tensors, and the order in which the dimensions are stored."""

    value: Any
    axes: tuple[int, ...] | None  # None: a tuple whose fields are stored in logical order


Rule = Callable[[Any, "Layouts"], "Stored | None"]
"""Emits a call for the stored operands; None when every operand has to be in logical order."""


class Layouts:
    """What is stored how, while the function is being rewritten."""

    def __init__(self, builder: relax.BlockBuilder, weights: set[relax.Var]) -> None:
        self._builder = builder
        self._weights = weights
        self._stored: dict[relax.Var, Stored] = {}
        self._loaded: dict[tuple[Any, tuple[int, ...]], Any] = {}
        self._reshaped: dict[Any, Any] = {}
        self._tuples: dict[relax.Var, relax.Tuple] = {}
        self._name = ""

    def convert(self, binding: Any, rules: Mapping[str, Rule]) -> None:
        """Emits the binding again, by its operator's rule where it has one that fits."""
        value, self._name = binding.value, binding.var.name
        if isinstance(value, relax.Tuple):
            self._tuples[binding.var] = value
            return
        if isinstance(value, relax.Var):
            self._stored[binding.var] = self.stored(value)
            return
        if isinstance(value, relax.TupleGetItem):
            self._stored[binding.var] = self._field(value)
            return
        rule = rules.get(getattr(value.op, "name", "")) if isinstance(value, relax.Call) else None
        stored = rule(value, self) if rule is not None else None
        self._stored[binding.var] = stored or self._opaque(binding)

    def emit(self, value: Any, suffix: str = "") -> Any:
        """Adds a binding named after the one that is being converted."""
        return self._builder.emit(value, self._name + suffix)

    def reshaped(self, value: Any, shape: Sequence[int], suffix: str = "") -> Any:
        """The stored tensor in another shape; a reshape of a reshape is one."""
        source = self._reshaped.get(value, value)
        if dims(source) == list(shape):
            return source
        result = self.emit(relax.op.reshape(source, shape), suffix)
        self._reshaped[result] = source
        return result

    def stored(self, value: Any) -> Stored:
        """How a tensor is stored."""
        known = self._stored.get(value) if isinstance(value, relax.Var) else None
        return known or Stored(value, tuple(range(rank(value))))

    def load(self, value: Any, axes: Sequence[int]) -> Any:
        """The tensor stored in this order, transposed if it has to be."""
        stored = self.stored(value)
        if stored.axes == tuple(axes):
            return stored.value
        key = (value, tuple(axes))
        if key not in self._loaded:
            assert stored.axes is not None
            moved = [stored.axes.index(axis) for axis in axes]
            self._loaded[key] = self._transposed(stored.value, moved)
        return self._loaded[key]

    def logical(self, value: Any) -> Any:
        """The tensor stored in its logical order; other kinds of values as they are."""
        if isinstance(value, relax.Tuple):
            return relax.Tuple([self.logical(field) for field in value])
        if not isinstance(value.ty, relax.TensorType) or value.ty.ndim < 0:
            return self.stored(value).value if isinstance(value, relax.Var) else value
        return self.load(value, range(rank(value)))

    def broadcast(self, value: Any, axes: tuple[int, ...]) -> Any:
        """An operand of lower or equal rank, to go with operands that are stored as `axes`."""
        missing = len(axes) - rank(value)
        if rank(value) == 0 or axes == tuple(range(len(axes))):
            return self.logical(value)
        if missing == 0:
            return self.load(value, axes)
        key = (value, (-1, *axes))
        if key not in self._loaded:
            shape = [1] * missing + dims(value)
            full = self.reshaped(self.logical(value), shape, "_rank")
            self._loaded[key] = self._transposed(full, axes)
        return self._loaded[key]

    def preferred(self, values: Sequence[Any], out_rank: int) -> tuple[int, ...]:
        """The order that costs the fewest transposed elements: that of the largest operand."""
        identity = tuple(range(out_rank))
        best, best_key = identity, (-1, False)
        for value in values:
            if rank(value) != out_rank or not self.is_activation(value):
                continue
            axes = self.stored(value).axes or identity
            key = (size(value), axes != identity)
            if key > best_key:
                best, best_key = axes, key
        return best

    def is_activation(self, value: Any) -> bool:
        """Whether a value depends on the network's inputs; others are transposed for free."""
        return isinstance(value, relax.Var) and value not in self._weights

    def fields(self, value: Any) -> list[Any]:
        """The fields of a tuple argument."""
        if isinstance(value, relax.Var) and value in self._tuples:
            value = self._tuples[value]
        return list(value) if isinstance(value, relax.Tuple) else []

    def tuple_fields(self, value: Any) -> list[Any]:
        """The fields of a tuple, each in its logical order."""
        return [self.logical(field) for field in self.fields(value)]

    def _field(self, item: relax.TupleGetItem) -> Stored:
        source = item.tuple_value
        if source in self._tuples:
            return self.stored(self._tuples[source][item.index])
        stored = self.stored(source) if source in self._stored else Stored(source, None)
        field = self.emit(relax.TupleGetItem(stored.value, item.index))
        return Stored(field, stored.axes or tuple(range(max(rank(field), 0))))

    def _opaque(self, binding: Any) -> Stored:
        """An operator without a rule: everything in logical order."""
        value = binding.value
        if isinstance(binding, relax.MatchCast):
            source = self.logical(value)
            cast = self._builder.match_cast(source, binding.ty)
            return Stored(cast, tuple(range(rank(cast))))
        if isinstance(value, relax.Call):
            args = [self.logical(arg) for arg in value.args]
            value = relax.Call(value.op, args, value.attrs, value.ty_args)
        variable = self.emit(value)
        if not isinstance(variable.ty, relax.TensorType) or variable.ty.ndim < 0:
            return Stored(variable, None)
        if isinstance(value, relax.Call) and not any(map(self._depends, value.args)):
            self._weights.add(variable)
        return Stored(variable, tuple(range(rank(variable))))

    def _depends(self, value: Any) -> bool:
        if isinstance(value, relax.Tuple):
            return any(map(self._depends, value))
        return self.is_activation(value)

    def _transposed(self, value: Any, moved: Sequence[int]) -> Any:
        """`permute_dims`, or a reshape when only dimensions of one element move."""
        shape = dims(value)
        order = [axis for axis in moved if shape[axis] != 1]
        if order == sorted(order):
            result = self.reshaped(value, [shape[axis] for axis in moved], "_shape")
        else:
            result = self.emit(relax.op.permute_dims(value, list(moved)), "_order")
        if not self.is_activation(value):
            self._weights.add(result)
        return result


def rank(value: Any) -> int:
    """The rank of a tensor, -1 for what is not a tensor or has no known rank."""
    return int(value.ty.ndim) if isinstance(value.ty, relax.TensorType) else -1


def dims(value: Any) -> list[int]:
    """The static shape of a tensor."""
    return [int(dim) for dim in value.ty.shape]


def has_static_shape(value: Any) -> bool:
    """Whether every dimension of a tensor is known."""
    kind = value.ty
    if not isinstance(kind, relax.TensorType) or not isinstance(kind.shape, relax.ShapeExpr):
        return False
    return all(isinstance(dim, (int, tvm.tirx.IntImm)) for dim in kind.shape)


def size(value: Any) -> int:
    """The number of elements, 0 where it is not known."""
    if not has_static_shape(value):
        return 0
    count = 1
    for dim in dims(value):
        count *= dim
    return count
