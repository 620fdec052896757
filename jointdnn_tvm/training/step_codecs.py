"""The codecs that a plan of a training step may choose from: `offer_step_codecs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor
from jointdnn_tvm.cost.table import CostTable, Encoding
from jointdnn_tvm.encoding_effort import effort_of
from jointdnn_tvm.encodings import SMALLEST_BYTES, WORTH, exact_codecs
from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.graph import Tensor
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import TensorSpec
from jointdnn_tvm.offering import Offer
from jointdnn_tvm.runtime.masks import draw_masks
from jointdnn_tvm.training.examples import Batch
from jointdnn_tvm.training.labels import LabelSpec
from jointdnn_tvm.training.residuals import gradients
from jointdnn_tvm.training.step import TrainingStep
from jointdnn_tvm.training.step_tensors import placement_tensors, step_tensors

Array = np.ndarray[Any, Any]

CHOICES = ("none", "lossless", "f16", "u8")
"""What `codecs` may be: tensors cross as they are, by codecs that give every bit back, or
activations and gradients by that one too."""

_RATE = 1e-3
"""Of the step that is tried: what tensors are like then hardly depends on it."""


def check_codecs(codecs: str) -> None:
    """CodecError unless it is one of `CHOICES`; call it before the long work."""
    if codecs not in CHOICES:
        raise CodecError(
            f"training has no codecs {codecs!r}; choose {', '.join(CHOICES[:-1])} or {CHOICES[-1]}"
        )


def offer_step_codecs(
    step: TrainingStep, costs: CostTable, codecs: str = "lossless", *, batch: Batch | None = None
) -> Offer:
    """Take a step on this machine to see how small each tensor gets, and at which error.

    Args:
        step: what is trained.
        costs: with the times that codecs take on both devices.
        codecs: one of `CHOICES`.
        batch: inputs and labels of the step; without it, noise.

    The error of a codec is that of the tensor: the root of the mean square of what is lost, over
    that of the tensor. Of gradients it is sent later.

    Raises:
        CodecError: there is no such choice, or a device has no codecs and one loses bits.
    """
    check_codecs(codecs)
    side = costs.lacks_codecs
    if codecs == "none":
        return Offer()
    if side is not None:
        reason = f"codecs were not timed on the {side} device"
        if codecs != "lossless":
            raise CodecError(f"{reason}; measure with `jointdnn device` there, or choose lossless")
        return Offer(source=f"none: {reason}")
    found = {}
    of_loss = gradients(step)
    for tensor, array in _crossing(step, batch):
        lossy = [codecs] if codecs in ("f16", "u8") and _may_lose(tensor, step) else []
        ways = _encodings(array, [*exact_codecs(tensor), *lossy])
        if tensor.name in of_loss:
            ways = {n: replace(way, feedback=not CODECS[n].exact) for n, way in ways.items()}
        found[tensor.name] = ways
    feedback = ", error feedback on gradients" if codecs in ("f16", "u8") else ""
    shown_by = "noise" if batch is None else "a batch"
    return Offer(found, f"{codecs}{feedback}; sizes measured: a step on {shown_by}")


def _crossing(step: TrainingStep, batch: Batch | None) -> Iterator[tuple[Tensor, Array]]:
    """What can cross, and what it is like; of the state, what a step leaves of it."""
    names = step_tensors(step)
    arrays = HostNetwork(step).tensors(_given(step, batch))
    arrays |= {now: arrays[new] for now, new in zip(names.state, names.new_state, strict=True)}
    tensors = {tensor.name: tensor for tensor in step.graph.tensors}
    for tensor in placement_tensors(step):
        yield tensors[tensor.name], arrays[tensor.name]


def _given(step: TrainingStep, batch: Batch | None) -> dict[str, Array]:
    """The parameters of the first step but for the weights that stay, by their names."""
    names = step_tensors(step)
    inputs, label = _noise(step) if batch is None else batch
    given = {
        tensor: inputs[spec.name] for tensor, spec in zip(names.inputs, step.inputs, strict=True)
    }
    if label is not None:
        given |= dict.fromkeys(names.labels, label)
    masks = draw_masks(step.masks, 0, 1)
    given |= {t: masks[m.name] for t, m in zip(names.masks, step.masks, strict=True)}
    numbers = step.values(_RATE, 1)
    for tensor, name in zip(names.numbers, step.numbers, strict=True):
        given[tensor] = np.asarray(numbers[name], np.float32)
    return given | {tensor: step.weights[tensor] for tensor in names.state}


def _noise(step: TrainingStep) -> Batch:
    rng = np.random.default_rng(0)

    def drawn(spec: TensorSpec) -> Array:
        if spec.dtype.startswith("float"):
            return np.asarray(rng.standard_normal(spec.shape)).astype(spec.dtype)
        classes = spec.classes if isinstance(spec, LabelSpec) else None
        return rng.integers(0, classes or 1, spec.shape).astype(spec.dtype)

    inputs = {spec.name: drawn(spec) for spec in step.inputs}
    return inputs, None if step.label is None else drawn(step.label)


def _may_lose(tensor: Tensor, step: TrainingStep) -> bool:
    """Whether it is an activation or a gradient that is worth a codec."""
    kept = {*step_tensors(step).state, *step_tensors(step).new_state}
    made = tensor.producer is not None and tensor.name not in kept
    return made and tensor.dtype == "float32" and tensor.size_bytes >= SMALLEST_BYTES


def _encodings(array: Array, codecs: list[str]) -> Mapping[str, Encoding]:
    """What those codecs make of a tensor that make it smaller than the ones before."""
    found: dict[str, Encoding] = {}
    smallest: float = array.nbytes
    for codec in codecs:
        frame = encode_tensor(codec, array)
        if len(frame) < WORTH * smallest:
            error = _error(array, decode_tensor(frame))
            found[codec] = Encoding(len(frame), error, effort=effort_of(codec, array))
            smallest = len(frame)
    return found


def _error(array: Array, left: Array) -> float:
    if array.dtype.kind != "f" or not array.any():
        return 0.0
    return float(np.linalg.norm(left - array) / np.linalg.norm(array))
