"""What writes each kernel's statements, by the name that its block carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jointdnn_tvm.passes.kernels.depthwise import emit_depthwise
from jointdnn_tvm.passes.kernels.matmul import emit_matmul
from jointdnn_tvm.passes.kernels.pooling import emit_pooling
from jointdnn_tvm.passes.kernels.site import Site
from jointdnn_tvm.passes.kernels.softmax import emit_softmax
from jointdnn_tvm.passes.kernels.write_convolution import emit_convolution, emit_dense
from jointdnn_tvm.passes.kernels.write_winograd import emit_winograd
from jointdnn_tvm.targets import TargetProfile

EMITTERS: dict[str, Callable[[Site, TargetProfile], list[Any]]] = {
    "convolution": emit_convolution,
    "dense": emit_dense,
    "depthwise": emit_depthwise,
    "matmul": emit_matmul,
    "pooling": emit_pooling,
    "softmax": emit_softmax,
    "winograd": emit_winograd,
}
