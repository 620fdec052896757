"""Division of whole numbers that ends no process: by 0 and by -1 a processor may trap.

Each is one kernel that nothing is fused with, and its divisors are made safe in a loop of their
own: in one expression with a condition on the divisor, TVM's simplifier would find them safe
already and divide before it looks at the condition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te, tirx, topi

from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_OPAQUE = 8  # tvm::relax::OpPatternKind
_ATTRIBUTES = {"tirx.is_scheduled": True, "op_pattern": _OPAQUE}


def divide(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    """Toward zero. By 0 it gives 0, as in NumPy; the smallest number by -1 gives itself."""
    if not _may_trap(node, graph):
        return None
    return builder.call_te(
        _quotient, *inputs, primfunc_name_hint="divide", primfunc_attrs=_ATTRIBUTES
    )


def modulo(node: Node, graph: OnnxGraph, builder: Any, inputs: Any) -> Any:
    """By 0 it gives 0, as in NumPy."""
    if not _may_trap(node, graph):
        return None
    kernel = _remainder if node.attribute("fmod", 0) else _modulus
    return builder.call_te(kernel, *inputs, primfunc_name_hint="modulo", primfunc_attrs=_ATTRIBUTES)


def _may_trap(node: Node, graph: OnnxGraph) -> bool:
    dtype, known = graph.dtype(node.input(1)), graph.constants.get(node.input(1))
    if dtype is None or dtype.kind not in "iu":
        return False
    return known is None or bool(np.isin(known, (0, -1)).any())


def _quotient(value: te.Tensor, divisor: te.Tensor) -> te.Tensor:
    result = topi.divide(value, _safe(divisor))
    if not str(divisor.dtype).startswith("u"):
        result = topi.where(_equal(divisor, -1), topi.negative(value), result)
    return topi.where(_equal(divisor, 0), _number(0, divisor), result)


def _remainder(value: te.Tensor, divisor: te.Tensor) -> te.Tensor:
    return topi.mod(value, _safe(divisor))  # modulo 1 it is 0, as it is modulo -1


def _modulus(value: te.Tensor, divisor: te.Tensor) -> te.Tensor:
    return topi.floor_mod(value, _safe(divisor))


def _safe(divisor: te.Tensor) -> te.Tensor:
    """The divisor, 1 where it is 0 or -1."""
    one = _number(1, divisor)
    safe = topi.where(_equal(divisor, 0), one, divisor)
    if str(divisor.dtype).startswith("u"):
        return safe
    return topi.where(_equal(divisor, -1), one, safe)


def _equal(tensor: te.Tensor, number: int) -> te.Tensor:
    return topi.equal(tensor, _number(number, tensor))


def _number(number: int, like: te.Tensor) -> te.Tensor:
    return topi.full((), like.dtype, tirx.const(number, like.dtype))
