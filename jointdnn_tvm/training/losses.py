"""Losses: how far an output is from its label, as Relax operators; the mean over all elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tvm import relax

from jointdnn_tvm.passes.layouts import dims, rank

op = relax.op


class Loss(Protocol):
    """A number to be made small."""

    def label(self, output: Any) -> relax.TensorType | None:
        """The type of the labels for an output; None: it takes none."""

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The loss, a scalar of the output's dtype."""


@dataclass(frozen=True)
class CrossEntropy:
    """Of class ids (int64), one for each row of scores; scores along `axis` of the output.

    An output of softmax is taken before it: scores are logits. As in
    `torch.nn.functional.cross_entropy`.
    """

    axis: int = 1

    def label(self, output: Any) -> relax.TensorType:
        """One id in place of each row of scores."""
        axis = self.axis % rank(output)
        shape = [extent for place, extent in enumerate(dims(output)) if place != axis]
        return relax.TensorType(shape, "int64")

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over rows of the logarithm of one over the class's probability."""
        axis, dtype = self.axis % rank(output), str(output.ty.dtype)
        classes = np.arange(dims(output)[axis])
        along = classes.reshape([-1 if i == axis else 1 for i in range(rank(output))])
        rows = builder.emit(op.expand_dims(label, axis))
        hot = op.astype(op.equal(rows, relax.const(along, "int64")), dtype)
        return _soft_cross_entropy(builder, output, hot, axis)


@dataclass(frozen=True)
class SoftCrossEntropy:
    """Of a probability for each class, in the shape of the output; otherwise `CrossEntropy`."""

    axis: int = 1

    def label(self, output: Any) -> relax.TensorType:
        """As the output."""
        return output.ty

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over rows of the cross entropy."""
        return _soft_cross_entropy(builder, output, label, self.axis % rank(output))


def _soft_cross_entropy(builder: relax.BlockBuilder, output: Any, wanted: Any, axis: int) -> Any:
    logarithms = builder.emit(op.nn.log_softmax(_logits(builder, output, axis), axis))
    rows = op.sum(builder.emit(op.multiply(wanted, logarithms)), [axis])
    return op.negative(op.mean(builder.emit(rows)))


def _logits(builder: relax.BlockBuilder, output: Any, axis: int) -> Any:
    made: Any = builder.lookup_binding(output)
    if getattr(getattr(made, "op", None), "name", "") != "relax.nn.softmax":
        return output
    return made.args[0] if int(made.attrs.axis) % rank(output) == axis else output


@dataclass(frozen=True)
class MeanSquaredError:
    """The mean square of the difference."""

    def label(self, output: Any) -> relax.TensorType:
        """As the output."""
        return output.ty

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over all elements."""
        difference = builder.emit(op.subtract(output, label))
        return op.mean(op.multiply(difference, difference))


@dataclass(frozen=True)
class MeanAbsoluteError:
    """The mean size of the difference (L1)."""

    def label(self, output: Any) -> relax.TensorType:
        """As the output."""
        return output.ty

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over all elements."""
        return op.mean(op.abs(op.subtract(output, label)))


@dataclass(frozen=True)
class Huber:
    """Half the square of a difference up to `delta`, and as steep as there beyond.

    As `torch.nn.functional.huber_loss`.
    """

    delta: float = 1.0

    def label(self, output: Any) -> relax.TensorType:
        """As the output."""
        return output.ty

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The mean over all elements."""
        dtype = str(output.ty.dtype)
        size = builder.emit(op.abs(op.subtract(output, label)))
        near = builder.emit(op.minimum(size, relax.const(self.delta, dtype)))
        # near * (size - near / 2): half the square, or the line that goes on from it.
        return op.mean(near * (size - near * relax.const(0.5, dtype)))


@dataclass(frozen=True)
class OwnLoss:
    """The output is a loss already; what it needs of labels is among the network's inputs."""

    def label(self, output: Any) -> None:
        """None are taken."""

    def value(self, builder: relax.BlockBuilder, output: Any, label: Any) -> Any:
        """The output itself, or the mean where it has many elements."""
        return op.mean(output)


LOSSES: dict[str, type[Loss]] = {
    "cross-entropy": CrossEntropy,
    "soft-cross-entropy": SoftCrossEntropy,
    "mse": MeanSquaredError,
    "l1": MeanAbsoluteError,
    "huber": Huber,
    "own": OwnLoss,
}
"""By the names that a user gives."""
