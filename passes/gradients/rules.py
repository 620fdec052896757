"""The gradients that there are, by operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jointdnn_tvm.passes.gradients.adjoint import Rule
from jointdnn_tvm.passes.gradients.binary import BINARY
from jointdnn_tvm.passes.gradients.convolution import CONVOLUTION, refused_convolution
from jointdnn_tvm.passes.gradients.elementwise import ELEMENTWISE
from jointdnn_tvm.passes.gradients.indexing import INDEXING, refused_gather
from jointdnn_tvm.passes.gradients.normalizations import NORMALIZATIONS
from jointdnn_tvm.passes.gradients.pooling import POOLING, max_pool2d_backward, refused_pool
from jointdnn_tvm.passes.gradients.products import PRODUCTS
from jointdnn_tvm.passes.gradients.reductions import REDUCTIONS
from jointdnn_tvm.passes.gradients.resizing import RESIZING, refused_resize
from jointdnn_tvm.passes.gradients.shapes import SHAPES

RULES: dict[str, Rule] = {
    **BINARY,
    **CONVOLUTION,
    **ELEMENTWISE,
    **INDEXING,
    **NORMALIZATIONS,
    **POOLING,
    **PRODUCTS,
    **REDUCTIONS,
    **RESIZING,
    **SHAPES,
}

LEGALIZATIONS = {"relax.grad.max_pool2d_backward": max_pool2d_backward}
"""How operators of gradients become kernels that TVM gets wrong."""

_REFUSED: dict[str, Callable[[Any], str | None]] = {
    "relax.gather_nd": refused_gather,
    "relax.image.resize2d": refused_resize,
    "relax.nn.avg_pool2d": refused_pool,
    "relax.nn.conv2d": refused_convolution,
    "relax.nn.max_pool2d": refused_pool,
}


def missing_gradient(call: Any) -> str | None:
    """The operator of a call that has no gradient, and why where only some calls have none."""
    name = str(getattr(call.op, "name", getattr(call.op, "name_hint", "a function")))
    if name == "relax.call_tir":
        return str(call.args[0].name_hint)
    short = name.removeprefix("relax.")
    if name not in RULES:
        return short
    why = _REFUSED[name](call) if name in _REFUSED else None
    return why and f"{short} ({why})"
