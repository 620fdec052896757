"""The loop over epochs, by a trainer that only counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.errors import DivergedError
from jointdnn_tvm.network import TensorSpec
from jointdnn_tvm.training.batches import Batches
from jointdnn_tvm.training.epochs import StepTaken, evaluate_examples, train_epochs
from jointdnn_tvm.training.examples import Examples
from tests.training_models import open_mlp

Array = np.ndarray[Any, Any]


class Counter:
    """The loss is the sum of the batch; every step sends ten bytes."""

    def __init__(self, steps: int = 0, fails_at: int = -1) -> None:
        self.steps, self.fails_at = steps, fails_at
        self.link_bytes = 0
        self.seen: list[list[int]] = []
        self.judged: list[list[int]] = []
        self.rates: list[float] = []

    def step(
        self, inputs: Mapping[str, Array], label: Array | None = None, *, learning_rate: float
    ) -> float:
        if self.steps == self.fails_at:
            raise DivergedError("the loss is nan")
        self.steps += 1
        self.link_bytes += 10
        self.seen.append(inputs["x"].tolist())
        self.rates.append(learning_rate)
        return float(inputs["x"].sum())

    def evaluate(self, inputs: Mapping[str, Array], label: Array | None = None) -> dict[str, float]:
        self.judged.append(inputs["x"].tolist())
        return {"loss": float(inputs["x"].sum())}

    def weights(self) -> dict[str, Array]:
        return {}


def batches() -> Batches:
    spec = TensorSpec("x", (2,), "int64")
    return Batches(Examples({"x": np.arange(6)}, (spec,), None))


def test_epochs() -> None:
    trainer, told = Counter(), list[StepTaken]()
    train_epochs(trainer, batches(), lambda step: 0.1 * step, 6, told.append)
    assert trainer.seen == [batches().of(step)[0]["x"].tolist() for step in range(6)]
    assert trainer.rates == pytest.approx([0.1 * step for step in range(6)])
    assert [(s.number, s.epoch) for s in told] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    assert [s.loss for s in told] == [sum(seen) for seen in trainer.seen]
    assert {s.link_bytes for s in told} == {10}
    assert all(s.seconds > 0 for s in told)


def test_goes_on_where_it_was() -> None:
    whole, rest = Counter(), Counter(steps=4)
    train_epochs(whole, batches(), lambda step: 1.0, 6)
    train_epochs(rest, batches(), lambda step: 1.0, 6)
    assert rest.seen == whole.seen[4:]
    train_epochs(rest, batches(), lambda step: 1.0, 6)
    assert rest.steps == 6


def test_stops_where_a_step_is_not_taken() -> None:
    trainer, told = Counter(fails_at=3), list[StepTaken]()
    with pytest.raises(DivergedError):
        train_epochs(trainer, batches(), lambda step: 1.0, 6, told.append)
    assert trainer.steps == len(told) == 3


def test_evaluation_is_the_mean_of_all_batches() -> None:
    spec = TensorSpec("x", (2,), "int64")
    trainer = Counter()
    found = evaluate_examples(trainer, Examples({"x": np.array([3, 1, 4, 1, 5])}, (spec,), None))
    assert trainer.judged == [[3, 1], [4, 1], [5, 3]]
    assert found == {"loss": pytest.approx((4 + 5 + 8) / 3)}
    assert trainer.steps == 0


def test_as_the_documentation_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs/training.md").read_text()
    code, *_ = [block.split("```")[0] for block in page.split("```python")[1:]]
    monkeypatch.chdir(tmp_path)
    open_mlp(tmp_path).rename("model.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6)).astype(np.float32)
    np.savez("train.npz", x=x, label=rng.integers(0, 3, 50))
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["trainer"].steps == 100
    assert (tmp_path / "tuned.onnx").exists()
