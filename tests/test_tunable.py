"""Which kernels have something to choose."""

from __future__ import annotations

from jointdnn_tvm.passes.kernels.convolution import Dense
from jointdnn_tvm.passes.kernels.softmax import Softmax
from jointdnn_tvm.passes.kernels.tunable import tunable
from jointdnn_tvm.passes.kernels.winograd import Winograd
from tests.test_space import KERNELS, THREE


def test_what_can_be_tuned() -> None:
    assert tunable(Winograd(THREE, 4)) is THREE
    dense = Dense((3, 64), (64, 10))
    assert tunable(dense) == dense.convolution
    assert all(tunable(kernel) is kernel for kernel in KERNELS)
    assert tunable(Softmax((2, 3), 1)) is None
