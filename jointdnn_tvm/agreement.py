"""How far answers are from a network's own, without labels: what moved, and what was decided anew.

An output's kind follows from its shape and values: scores of classes (of one thing, or of each step
of a sequence) decide by the largest, maps of probabilities by one half, whole numbers by
themselves. Other outputs decide nothing; of them counts how far they moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Outputs = Sequence[Array]

_MARGIN = 0.05  # of the output's largest value: a smaller lead of the first class decides nothing
_FEWEST = 4  # samples that tell something


@dataclass(frozen=True)
class Agreement:
    """Of answers with those of the network, over some samples.

    `max_change` is the largest change of an output, relative to its largest value over all samples;
    `same_decisions` the share of decisive samples that are decided alike (of maps the mean
    intersection over union), of the output where it is least. `answers` counts the different
    decisions among the decisive samples, of the output that has most.
    """

    max_change: float
    same_decisions: float
    samples: int
    decisive: int
    answers: int

    @property
    def error(self) -> float:
        """The larger of what moved and what was decided otherwise."""
        return max(self.max_change, 1 - self.same_decisions)

    def to_json(self) -> dict[str, Any]:
        """For a plan."""
        return {**asdict(self), "error": self.error}


class Judge:
    """Knows the network's own answers to some samples, and compares others with them."""

    def __init__(self, references: Sequence[Outputs]) -> None:
        self._outputs = [_Output(list(arrays)) for arrays in zip(*references, strict=True)]
        self._samples = len(references)

    def compare(self, answers: Sequence[Outputs]) -> Agreement:
        """How far `answers`, of the same samples, are from the network's own."""
        columns = list(zip(self._outputs, zip(*answers, strict=True), strict=True))
        return Agreement(
            max(output.change(arrays) for output, arrays in columns),
            min(output.alike(arrays) for output, arrays in columns),
            self._samples,
            max(len(output.decisive) for output in self._outputs),
            max(output.answers for output in self._outputs),
        )

    def why_vacuous(self, budget: float) -> str | None:
        """Why agreement on these samples would tell nothing, or None when it does."""
        if self._samples < _FEWEST:
            return f"{self._samples} samples to confirm with are fewer than {_FEWEST}"
        if any(output.answers > 1 for output in self._outputs):
            return None
        undecided = [output for output in self._outputs if output.decide is None]
        if any(output.variety > 2 * budget for output in undecided):
            return None
        decisive = max(len(output.decisive) for output in self._outputs)
        if not decisive:
            return f"none of {self._samples} samples gives a decisive answer"
        return (
            f"all of {self._samples} samples give the same answer ({decisive} of them decisively)"
        )


class _Output:
    """One output of the network on all samples."""

    def __init__(self, references: list[Array]) -> None:
        self._references = references
        self._scale = max((_largest(array) for array in references), default=0.0)
        self.decide = _decider(references)
        self.decisive = [i for i, a in enumerate(references) if self._is_decisive(a)]
        decided = [self._decision(references[i]) for i in self.decisive]
        self.answers = len({d.tobytes() for d in decided})

    @property
    def variety(self) -> float:
        """How much the samples differ, relative to the largest value."""
        return self.change([self._references[0]] * len(self._references))

    def change(self, arrays: Sequence[Array]) -> float:
        """The largest change over the samples; infinite where a number is none any more."""
        pairs = zip(self._references, arrays, strict=True)
        return max((_change(a, b, self._scale) for a, b in pairs), default=0.0)

    def alike(self, arrays: Sequence[Array]) -> float:
        """The share of decisive samples that are decided alike."""
        if not self.decisive:
            return 1.0
        return float(np.mean([self._same(self._references[i], arrays[i]) for i in self.decisive]))

    def _decision(self, array: Array) -> Array:
        assert self.decide is not None, "decisive"
        return self.decide(array)

    def _is_decisive(self, array: Array) -> bool:
        if self.decide is None:
            return False
        if self.decide is _largest_class:
            return bool(self._leads(array).any())
        return self.decide is not _mask or bool(_mask(array).any())

    def _leads(self, scores: Array) -> Array:
        """Where the first class leads by a margin."""
        second, first = np.moveaxis(np.partition(scores, -2, axis=-1)[..., -2:], -1, 0)
        with np.errstate(invalid="ignore"):
            leads: Array = first - second > _MARGIN * self._scale
        return leads

    def _same(self, expected: Array, found: Array) -> float:
        a, b = self._decision(expected), self._decision(found)
        if self.decide is _mask:
            union = np.count_nonzero(a | b)
            return np.count_nonzero(a & b) / union if union else 1.0
        same = a == b
        if self.decide is _largest_class:
            same = same[self._leads(expected)]
        return float(same.all())


def _decider(references: Sequence[Array]) -> Callable[[Array], Array] | None:
    first = references[0]
    if first.dtype.kind != "f":
        return np.asarray
    if first.ndim in (2, 3) and first.shape[-1] > 1:
        return _largest_class
    one_map = first.ndim == 4 and 1 in (first.shape[1], first.shape[3])
    if one_map and all(a.size and a.min() >= 0 and a.max() <= 1 for a in references):
        return _mask
    return None


def _largest_class(scores: Array) -> Array:
    return np.asarray(scores.argmax(axis=-1))


def _mask(probabilities: Array) -> Array:
    return np.asarray(probabilities > 0.5)


def _largest(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _change(expected: Array, found: Array, scale: float) -> float:
    if not expected.size:
        return 0.0
    if expected.dtype.kind != "f":
        return 0.0  # a decision, and counted as that
    a, b = expected.astype(np.float64), found.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        moved = np.where(same, 0.0, np.abs(a - b))
    worst = float(np.where(np.isnan(moved), np.inf, moved).max())
    return worst / scale if scale else (np.inf if worst else 0.0)
