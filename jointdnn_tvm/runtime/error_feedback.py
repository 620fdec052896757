"""Gradients by codecs that lose bits: what one step lost is sent with the gradient of the next.

Seide et al., 1-bit stochastic gradient descent, 2014; Karimireddy et al., Error feedback fixes
SignSGD, 2019. What was sent in all steps then adds up to what there was to send, but for what is
left of the last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jointdnn_tvm.codec.registry import decode_tensor, encode_tensor

Array = np.ndarray[Any, Any]


def send_with_residual(codec: str, gradient: Array, residual: Array) -> tuple[bytes, Array]:
    """The frame of a gradient and of what is left of those before; and what is left of both.

    What is left of numbers that are not finite is none.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        whole = gradient + residual
        frame = encode_tensor(codec, whole)
        return frame, whole - decode_tensor(frame)
