"""Which kernels have something to choose, and under whose name it is kept."""

from __future__ import annotations

from jointdnn_tvm.passes.kernels.convolution import Convolution, Dense
from jointdnn_tvm.passes.kernels.depthwise import Depthwise
from jointdnn_tvm.passes.kernels.matmul import Matmul
from jointdnn_tvm.passes.kernels.pooling import Pooling
from jointdnn_tvm.passes.kernels.winograd import Winograd

Tunable = Convolution | Depthwise | Matmul | Pooling


def tunable(kernel: object) -> Tunable | None:
    """The kernel under whose name choices are kept; None where there is nothing to choose."""
    if isinstance(kernel, (Dense, Winograd)):
        return kernel.convolution
    return kernel if isinstance(kernel, Tunable) else None
