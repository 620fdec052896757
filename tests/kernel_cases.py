"""Operators over weights with what is fused behind them: in Relax, and in NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

op = relax.op
Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """What a kernel computes of inputs and weights with these shapes, in Relax and in NumPy."""

    name: str
    inputs: tuple[Shape, ...]
    weights: tuple[Shape, ...]
    compute: Callable[..., Any]
    expect: Callable[..., Array]


@dataclass(frozen=True)
class Epilogue:
    """What follows an operator: its result, then arrays with these shapes, go in."""

    compute: Callable[..., Any]
    expect: Callable[..., Array]
    inputs: Callable[[Shape], tuple[Shape, ...]] = lambda shape: ()
    weights: Callable[[Shape], tuple[Shape, ...]] = lambda shape: ()


def _relu(y: Array) -> Array:
    return y.clip(min=0)


def _sigmoid(y: Array) -> Array:
    return 1 / (1 + np.exp(-y))


def _erf(y: Array) -> Array:
    return np.array([math.erf(v) for v in y.flat]).reshape(y.shape)


def _channels(shape: Shape) -> tuple[Shape, ...]:
    return ((1,) * (len(shape) - 1) + shape[-1:],)


def _gate(shape: Shape) -> tuple[Shape, ...]:
    """One number for each image and channel."""
    return ((shape[0], *(1 for _ in shape[1:-1]), shape[-1]),)


def _spread(shape: Shape) -> tuple[Shape, ...]:
    """Whatever is 1 is repeated, as by the factors of squeeze and excitation."""
    return ((*(3 if extent == 1 else extent for extent in shape[:-1]), shape[-1]),)


EPILOGUES: dict[str, Epilogue] = {
    "": Epilogue(lambda y: y, lambda y: y),
    "bias": Epilogue(lambda y, b: y + b, lambda y, b: y + b, weights=_channels),
    "bias_relu": Epilogue(
        lambda y, b: op.nn.relu(y + b), lambda y, b: _relu(y + b), weights=_channels
    ),
    "bias_residual": Epilogue(
        lambda y, r, b: y + b + r,
        lambda y, r, b: y + b + r,
        inputs=lambda shape: (shape,),
        weights=_channels,
    ),
    "itself": Epilogue(lambda y: y + y * y, lambda y: y + y * y),
    "swish": Epilogue(lambda y: op.sigmoid(y) * y, lambda y: _sigmoid(y) * y),
    "gate": Epilogue(lambda y, g: y * g, lambda y, g: y * g, inputs=_gate),
    "hard_swish": Epilogue(
        lambda y: y * op.clip(y + relax.const(3.0), 0, 6) * relax.const(1 / 6),
        lambda y: y * np.clip(y + 3, 0, 6) / 6,
    ),
    "gelu": Epilogue(
        lambda y: y * (op.erf(y * relax.const(2**-0.5)) + relax.const(1.0)),
        lambda y: y * (_erf(y * 2**-0.5) + 1),
    ),
    "bias_tanh": Epilogue(
        lambda y, b: op.tanh(y + b), lambda y, b: np.tanh(y + b), weights=_channels
    ),
    "turned": Epilogue(op.permute_dims, np.transpose),
    "spread": Epilogue(
        lambda y, r, b: op.sigmoid(y + b) * r,
        lambda y, r, b: _sigmoid(y + b) * r,
        inputs=_spread,
        weights=_channels,
    ),
    "spread_work": Epilogue(
        lambda y, r: op.tanh(op.sigmoid(y)) * r,
        lambda y, r: np.tanh(_sigmoid(y)) * r,
        inputs=_spread,
    ),
}
"""By name; from `turned` on, they may write in another shape than the kernel's."""


_LONG = ("swish", "gelu", "bias_tanh", "spread", "spread_work")


def convolution(image: Shape, kernel: Shape, then: str = "", **options: Any) -> Case:
    """NHWC with kernels of HWIO; `options` are those of Relax, each pair written out."""
    strides = options.get("strides", (1, 1))
    padding = options.get("padding", (0, 0, 0, 0))
    dilation = options.get("dilation", (1, 1))
    groups = options.get("groups", 1)

    def compute(x: Any, w: Any) -> Any:
        return op.nn.conv2d(x, w, data_layout="NHWC", kernel_layout="HWIO", **options)

    def expect(x: Array, w: Array) -> Array:
        return convolve(x, w, strides, padding, dilation, groups)

    shape = expect(np.zeros(image), np.zeros(kernel)).shape
    extra = [f"{name}{_text(value)}" for name, value in options.items()]
    name = "_".join(["conv", _text(image), _text(kernel), *extra])
    return _followed(name, (image, kernel), shape, compute, expect, then)


def changing(case: Case) -> Case:
    """The same, nothing fused, with a kernel that is no weight: it is packed at run time."""
    (image,), (kernel,) = case.inputs, case.weights
    return replace(case, name=f"{case.name}_changing", inputs=(image, kernel), weights=())


def convolve(
    x: Array,
    w: Array,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    """The windows of every output, each multiplied with the kernel."""
    top, left, bottom, right = padding
    padded = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
    kh, kw, depth, columns = w.shape
    reach = ((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    parts = [
        np.tensordot(
            windows[:, :, :, g * depth : (g + 1) * depth],
            w[..., g * columns // groups : (g + 1) * columns // groups],
            axes=((4, 5, 3), (0, 1, 2)),
        )
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=-1)


def dense(x: Shape, columns: int, then: str = "") -> Case:
    """A product with a matrix of weights."""
    kernel = (x[-1], columns)
    name = f"dense_{_text(x)}_{columns}"
    return _followed(name, (x, kernel), (*x[:-1], columns), op.matmul, np.matmul, then)


def _followed(
    name: str,
    operands: tuple[Shape, Shape],
    shape: Shape,
    compute: Callable[..., Any],
    expect: Callable[..., Array],
    then: str,
) -> Case:
    """An operator over one input and one weight, then an epilogue over more of both."""
    epilogue = EPILOGUES[then]
    more = epilogue.inputs(shape)
    inputs = 1 + len(more)

    def whole(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            x, *extra = arrays[:inputs]
            w, *biases = arrays[inputs:]
            return second(first(x, w), *extra, *biases)

        return run

    return Case(
        f"{name}_{then}",
        (operands[0], *more),
        (operands[1], *epilogue.weights(shape)),
        whole(compute, epilogue.compute),
        whole(expect, epilogue.expect),
    )


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Draw:
    """Sizes that nobody chose: often 1, odd or prime, seldom a multiple of the vectors."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def size(self, most: int, least: int = 1) -> int:
        """A whole number; the largest and the smallest are as likely as all between."""
        if self._rng.random() < 0.2:
            return int(self._rng.choice([least, most]))
        return int(self._rng.integers(least, most + 1))

    def pair(self, most: int, least: int = 1) -> tuple[int, int]:
        """Two sizes."""
        return self.size(most, least), self.size(most, least)

    def padding(self, most: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right: none, the same on all sides, or of each its own."""
        kind = self._rng.integers(3)
        if kind == 0:
            return 0, 0, 0, 0
        if kind == 1:
            return (self.size(most),) * 4
        return (*self.pair(most, 0), *self.pair(most, 0))

    def epilogue(self) -> str:
        """The name of one, seldom of one that takes long to compile."""
        names = sorted(EPILOGUES, key=lambda name: name in _LONG)
        return str(self._rng.choice(names if self.chance(0.25) else names[: -len(_LONG)]))

    def chance(self, probability: float) -> bool:
        """True as often as this."""
        return bool(self._rng.random() < probability)
