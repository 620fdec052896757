"""Compare a bundle's answers with onnxruntime's on the unsplit model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.errors import ModelError, RunError

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """The largest difference of two answers: absolute, and over the reference's largest value."""

    max_abs_error: float
    max_rel_error: float

    def worst(self, other: Difference) -> Difference:
        """Keep the larger of each."""
        return Difference(
            max(self.max_abs_error, other.max_abs_error),
            max(self.max_rel_error, other.max_rel_error),
        )


class Reference:
    """onnxruntime on the model's own file."""

    def __init__(self, model: str | Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"onnxruntime cannot load {model}: {reason}") from error

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Compute the model's outputs by name; RunError when the inputs do not fit it."""
        names = [o.name for o in self._session.get_outputs()]
        try:
            values = self._session.run(names, dict(inputs))
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise RunError(f"onnxruntime cannot run the model on these inputs: {reason}") from error
        return dict(zip(names, values, strict=True))


def compare(answer: Arrays, reference: Arrays) -> Difference:
    """Measure how far `answer` is from `reference`; NaN in one alone counts as infinitely far."""
    if answer.keys() != reference.keys():
        raise RunError(
            f"the bundle gives {', '.join(sorted(answer))}, "
            f"the model {', '.join(sorted(reference))}; "
            "the bundle was made from another model"
        )
    worst = Difference(0.0, 0.0)
    for name, expected in reference.items():
        found = answer[name]
        if found.shape != expected.shape:
            raise RunError(
                f"output {name!r} is {list(found.shape)} in the bundle and {list(expected.shape)} "
                "in the model; the bundle was made for other shapes, or another model"
            )
        worst = worst.worst(_difference(found, expected))
    return worst


def _difference(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> Difference:
    if not expected.size:
        return Difference(0.0, 0.0)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # equal infinities too
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(same, 0.0, np.abs(a - b))
    worst = float(np.where(np.isnan(error), np.inf, error).max())
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max()) if finite.size else 0.0
    return Difference(worst, worst / scale if scale else (np.inf if worst else 0.0))
