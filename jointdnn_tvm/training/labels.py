"""What a loss takes besides an output of the network."""

from __future__ import annotations

from dataclasses import dataclass

from jointdnn_tvm.network import TensorSpec


@dataclass(frozen=True)
class LabelSpec(TensorSpec):
    """The labels of a step."""

    classes: int | None = None
    """How many classes there are, where labels are ids of classes, from 0 on."""
    class_axis: int | None = None
    """Along which dimension of the output the scores of classes are, where it has some."""
