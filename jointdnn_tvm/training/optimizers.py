"""Optimizers: how a weight moves against its gradient, as operators beside the weight.

What depends on the number of the step alone is computed on the host, in float64, and is an input
of the graph; so is the learning rate, which may follow any schedule. The formulas are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.runtime.step_numbers import StepNumbers

op = relax.op


class Optimizer(Protocol):
    """A rule for one weight."""

    @property
    def slots(self) -> tuple[str, ...]:
        """What it remembers of each weight, in tensors of the weight's shape that start as 0."""

    @property
    def numbers(self) -> StepNumbers:
        """The inputs of a step, of the learning rate and the number of the step."""

    def update(
        self, weight: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The new weight and slots."""


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent, as `torch.optim.SGD`."""

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The velocity, where there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def numbers(self) -> StepNumbers:
        """The learning rate."""
        return StepNumbers()

    def update(
        self, weight: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The new weight and velocity."""
        c = _constant_like(weight)
        if self.weight_decay:
            gradient = gradient + weight * c(self.weight_decay)
        new = {}
        if self.momentum:
            velocity = slots["velocity"] * c(self.momentum) + gradient
            new = {"velocity": velocity}
            gradient = gradient + velocity * c(self.momentum) if self.nesterov else velocity
        return weight - gradient * numbers["learning_rate"], new


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba, arXiv 1412.6980, as `torch.optim.Adam`; decay adds to the gradient."""

    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    slots = ("mean", "square")

    @property
    def numbers(self) -> StepNumbers:
        """The learning rate, and what undoes that the means started from 0."""
        return StepNumbers(self.betas)

    def update(
        self, weight: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The new weight, mean and mean square."""
        if self.weight_decay:
            gradient = gradient + weight * _constant_like(weight)(self.weight_decay)
        return self._moved(weight, gradient, slots, numbers)

    def _moved(
        self, weight: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        c = _constant_like(slots["mean"])
        first, second = self.betas
        mean = slots["mean"] * c(first) + gradient * c(1 - first)
        square = slots["square"] * c(second) + gradient * gradient * c(1 - second)
        spread = op.sqrt(square) * numbers["square_correction"] + c(self.epsilon)
        return weight - mean / spread * numbers["step_size"], {"mean": mean, "square": square}


@dataclass(frozen=True)
class AdamW(Adam):
    """Loshchilov and Hutter, arXiv 1711.05101, as `torch.optim.AdamW`; decay shrinks weights."""

    weight_decay: float = 0.01

    def update(
        self, weight: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The new weight, mean and mean square."""
        c = _constant_like(weight)
        shrunk = weight - weight * (numbers["learning_rate"] * c(self.weight_decay))
        return self._moved(shrunk, gradient, slots, numbers)


def _constant_like(weight: Any) -> Any:
    dtype = str(weight.ty.dtype)
    return lambda value: relax.const(value, dtype)


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": Sgd,
    "momentum": lambda: Sgd(momentum=0.9),
    "nesterov": lambda: Sgd(momentum=0.9, nesterov=True),
    "adam": Adam,
    "adamw": AdamW,
}
"""With the usual settings, by the names that a user gives."""


def optimizer_named(name: str, **settings: float | None) -> Optimizer:
    """The optimizer of a name, with these of its settings in place of the usual ones.

    A setting of None is left as it is.

    Raises:
        ModelError: there is none of this name, or it has no such setting.
    """
    if name not in OPTIMIZERS:
        raise ModelError(f"no optimizer is named '{name}'; there are {', '.join(OPTIMIZERS)}")
    optimizer: Any = OPTIMIZERS[name]()
    given = {key: value for key, value in settings.items() if value is not None}
    unknown = given.keys() - {field.name for field in fields(optimizer)}
    if unknown:
        raise ModelError(f"optimizer '{name}' has no {min(unknown)}; leave it out")
    changed: Optimizer = replace(optimizer, **given)
    return changed
