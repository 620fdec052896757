"""How good a model file is on examples, as onnxruntime computes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.accuracy import right_answers
from jointdnn_tvm.training.examples import Examples
from jointdnn_tvm.training.labels import LabelSpec
from jointdnn_tvm.verify import Reference

Array = np.ndarray[Any, Any]


def score(model: Path, examples: Examples, output: str) -> dict[str, float]:
    """One number and what it is called.

    `accuracy`, the share of rows in which the class of the label scores highest, where the loss is
    one of classes; else `mean_abs_error`; `loss` where it takes no labels.

    Raises:
        ModelError: onnxruntime cannot load the file.
        RunError: it cannot run it, or an answer is no number.
    """
    reference = Reference(model)
    count, size = len(examples), examples.batch_size
    values: list[Array] = []
    for first in range(0, count, size):
        places = np.arange(first, first + size) % count  # the file may take whole batches only
        inputs, label = examples.pick(places)
        answer = reference.run(inputs)[output]
        if not np.isfinite(answer).all():
            raise RunError(f"{model}: onnxruntime's answer in '{output}' is no number")
        if examples.label is None or label is None:
            values.append(answer.ravel())
        else:
            values.append(_row_scores(answer, label, examples.label)[: count - first].ravel())
    name = _name(examples.label)
    return {name: float(np.concatenate(values).mean(dtype=np.float64))}


def _name(label: LabelSpec | None) -> str:
    if label is None:
        return "loss"
    return "mean_abs_error" if label.class_axis is None else "accuracy"


def _row_scores(answer: Array, label: Array, spec: LabelSpec) -> Array:
    axis = spec.class_axis
    if axis is None:
        return np.asarray(np.abs(answer - label))
    return right_answers(answer, label, axis)
