"""Count what a group of Relax operators computes and moves: operations, bytes, kernels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tvm import relax, tirx

from jointdnn_tvm.cost.roofline import Work
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.graph import size_bytes

# Operators that are not one operation for each element of the result. A view costs nothing; of
# what it picks from, an operator reads what it picks.
_GROUPED = {
    "reduction": """
        argmax argmin argsort cumprod cumsum max mean median min nn.group_norm nn.instance_norm
        nn.layer_norm nn.log_softmax nn.rms_norm nn.softmax prod sort std sum topk variance
    """,
    "view": "expand_dims flatten reshape squeeze",
    "pick": """
        dynamic_strided_slice gather_elements gather_nd index_tensor split strided_slice take
    """,
    "moving": """
        arange broadcast_to concat flip full full_like nn.pad one_hot ones permute_dims repeat
        scatter_elements scatter_nd stack tile tril triu zeros
    """,
}
_KINDS = {name: kind for kind, names in _GROUPED.items() for name in names.split()}
_DIGITS = "0123456789"


def count_work(function: relax.Function) -> Work:
    """Count the work of a group; CostError when it depends on the data.

    An operator that is not known counts an operation for each element of its result.
    """
    calls = list(_calls(function))
    working = [call for call in calls if _KINDS.get(_name(call)) != "view"]
    operations: Counter[str] = Counter()
    anchors = []
    for call in working:
        kind, count = _operations(call)
        operations[kind] += count
        if kind != "elementwise":
            anchors.append(kind)
    return Work(
        kind=anchors[0] if anchors else "elementwise",
        operations={kind: count for kind, count in operations.items() if count},
        moved_bytes=_read_bytes(function, calls) + _bytes(function.ret_ty) if working else 0,
        kernels=max(1, len(anchors)) if working else 0,
    )


def _calls(function: relax.Function) -> Iterator[relax.Call]:
    for block in function.body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, relax.Call):
                yield binding.value


def _name(call: relax.Call) -> str:
    """The operator without its dialect; empty for a kernel that the import brought along."""
    return str(getattr(call.op, "name", "")).removeprefix("relax.")


def _operations(call: relax.Call) -> tuple[str, int]:
    """The kind of an operator, and its operations."""
    name = _name(call)
    kind = _KINDS.get(name)
    if kind in ("pick", "moving"):
        return "moving", 0
    if kind == "reduction":
        return kind, _elements(call.args[0].ty)
    counter = _COUNTERS.get(name)
    return counter(call) if counter else ("elementwise", _elements(call.ty))


def _convolution(call: relax.Call) -> tuple[str, int]:
    """Each element of the result takes the weights of its own output channel."""
    weight = dict(zip(str(call.attrs.kernel_layout), _shape(call.args[1].ty), strict=True))
    depthwise = call.attrs.groups > 1 and weight["I"] == 1
    products = _elements(call.ty) * math.prod(weight.values()) // weight["O"]
    return "depthwise" if depthwise else "convolution", 2 * products


def _matmul(call: relax.Call) -> tuple[str, int]:
    return "dense", 2 * _elements(call.ty) * _shape(call.args[0].ty)[-1]


def _einsum(call: relax.Call) -> tuple[str, int]:
    """A loop over every index; one product less than there are operands, and a sum, in each."""
    shapes = [_shape(field.ty) for field in call.args[0].fields]
    words = str(call.attrs.subscripts).replace(" ", "").partition("->")[0].split(",")
    extents: dict[str, int] = {}
    for word, shape in zip(words, shapes, strict=True):
        more = len(shape) - len(word.replace("...", ""))  # broadcast, so counted from the right
        letters = word.replace("...", _DIGITS[len(_DIGITS) - more :])
        for letter, extent in zip(letters, shape, strict=True):
            extents[letter] = max(extent, extents.get(letter, 1))
    return "dense", len(shapes) * math.prod(extents.values())


def _pool(call: relax.Call) -> tuple[str, int]:
    return "pooling", _elements(call.ty) * math.prod(int(n) for n in call.attrs.pool_size)


def _adaptive_pool(call: relax.Call) -> tuple[str, int]:
    return "pooling", _elements(call.args[0].ty)


_COUNTERS: dict[str, Callable[[relax.Call], tuple[str, int]]] = {
    "matmul": _matmul,
    "einsum": _einsum,
    **{f"nn.conv{n}d": _convolution for n in (1, 2, 3)},
    **{f"nn.{how}_pool{n}d": _pool for how in ("max", "avg") for n in (1, 2, 3)},
    **{f"nn.adaptive_{how}_pool{n}d": _adaptive_pool for how in ("max", "avg") for n in (1, 2, 3)},
}


def _read_bytes(function: relax.Function, calls: Sequence[relax.Call]) -> int:
    """Bytes of the parameters that are read; where operators only pick, what they pick."""
    wanted = dict.fromkeys(function.params, 0)
    for call in calls:
        for operand in _operands(call.args):
            if operand in wanted:
                whole = _bytes(operand.ty)
                part = _bytes(call.ty) if _KINDS.get(_name(call)) == "pick" else whole
                wanted[operand] = min(whole, wanted[operand] + part)
    return sum(wanted.values())


def _operands(args: Sequence[Any]) -> Iterator[relax.Var]:
    for arg in args:
        if isinstance(arg, relax.Tuple):
            yield from _operands(arg.fields)
        elif isinstance(arg, relax.Var):
            yield arg


def _elements(kind: Any) -> int:
    if isinstance(kind, relax.TupleType):
        return sum(_elements(field) for field in kind.fields)
    return math.prod(_shape(kind))


def _bytes(kind: Any) -> int:
    if isinstance(kind, relax.TupleType):
        return sum(_bytes(field) for field in kind.fields)
    return size_bytes(_shape(kind), str(kind.dtype))


def _shape(kind: Any) -> list[int]:
    shape = getattr(kind, "shape", None)
    if not isinstance(shape, relax.ShapeExpr) or not all(isinstance(d, tirx.IntImm) for d in shape):
        raise CostError(f"the shape {kind} depends on the data, so its work cannot be counted")
    return [int(dim) for dim in shape]
