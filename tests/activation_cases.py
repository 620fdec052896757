"""Operators without weights: what their kernels compute, in Relax and in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from tests.kernel_cases import EPILOGUES, Array, Case, Shape

op = relax.op


def matmul(a: Shape, b: Shape, turned: str = "", then: str = "") -> Case:
    """Of activations; those named in `turned` are transposed before."""
    epilogue = EPILOGUES[then]

    def swapped(axes: int) -> list[int]:
        return [*range(axes - 2), axes - 1, axes - 2]

    def compute(x: Any, y: Any, *rest: Any) -> Any:
        x = op.permute_dims(x, swapped(len(a))) if "a" in turned else x
        y = op.permute_dims(y, swapped(len(b))) if "b" in turned else y
        return epilogue.compute(op.matmul(x, y), *rest)

    def product(x: Array, y: Array) -> Array:
        x = x.swapaxes(-1, -2) if "a" in turned else x
        return x @ (y.swapaxes(-1, -2) if "b" in turned else y)

    def expect(x: Array, y: Array, *rest: Array) -> Array:
        return epilogue.expect(product(x, y), *rest)

    shape = product(np.zeros(a), np.zeros(b)).shape
    inputs, weights = (a, b, *epilogue.inputs(shape)), epilogue.weights(shape)
    name = f"matmul_{a}_{b}_{turned}_{then}".replace(" ", "")
    return Case(name, inputs, weights, compute, expect)


def pool(image: Shape, window: Shape, then: str = "", *, kind: str = "max", **options: Any) -> Case:
    """NHWC; kinds are max, mean, and mean with the zeros of the border."""
    strides = options.get("strides", (1, 1))
    top, left, bottom, right = options.get("padding", (0, 0, 0, 0))
    dilation = options.get("dilation", (1, 1))
    epilogue = EPILOGUES[then]

    def compute(x: Any, *rest: Any) -> Any:
        every = {"pool_size": window, "layout": "NHWC", **options}
        if kind == "max":
            return epilogue.compute(op.nn.max_pool2d(x, **every), *rest)
        y = op.nn.avg_pool2d(x, **every, count_include_pad=kind == "mean with border")
        return epilogue.compute(y, *rest)

    def windows(x: Array, border: float) -> Array:
        beyond = [(0, 0), (top, bottom), (left, right), (0, 0)]
        if options.get("ceil_mode"):  # one more window where numbers are left over
            beyond = [(a, b + s - 1) for (a, b), s in zip(beyond, (1, *strides, 1), strict=True)]
        padded = np.pad(x, beyond, constant_values=border)
        reach = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
        every = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
        every = every[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
        if options.get("ceil_mode"):  # but none that begins beyond the image
            down, across = -(-(image[1] + top) // strides[0]), -(-(image[2] + left) // strides[1])
            every = every[:, :down, :across]
        return np.asarray(every)

    def expect(x: Array, *rest: Array) -> Array:
        if kind == "max":
            found = windows(x, -np.inf).max((-2, -1))
        elif kind == "mean":
            counts = windows(np.ones_like(x), 0).sum((-2, -1))
            found = windows(x, 0).sum((-2, -1)) / np.maximum(counts, 1)
        else:
            found = windows(x, 0).mean((-2, -1))
        return epilogue.expect(found, *rest)

    shape = windows(np.zeros(image), 0).shape[:4]
    name = f"{kind}_{image}_{window}_{options}_{then}".replace(" ", "")
    inputs, weights = (image, *epilogue.inputs(shape)), epilogue.weights(shape)
    return Case(name, inputs, weights, compute, expect)


def softmax(shape: Shape, axis: int, then: str = "") -> Case:
    """Along an axis counted from the front."""
    epilogue = EPILOGUES[then]

    def compute(x: Any, *rest: Any) -> Any:
        return epilogue.compute(op.nn.softmax(x, axis=axis), *rest)

    def expect(x: Array, *rest: Array) -> Array:
        powers = np.exp(x - x.max(axis, keepdims=True))
        return epilogue.expect(powers / powers.sum(axis, keepdims=True), *rest)

    inputs, weights = (shape, *epilogue.inputs(shape)), epilogue.weights(shape)
    name = f"softmax_{shape}_{axis}_{then}".replace(" ", "")
    return Case(name, inputs, weights, compute, expect)
