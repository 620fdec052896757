"""Examples from files, and what is wrong with some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.training.examples import read_examples
from jointdnn_tvm.training.losses import CrossEntropy, Loss, MeanSquaredError, OwnLoss
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import open_mlp

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((7, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 7)


@pytest.fixture(scope="module")
def step_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Loss], TrainingStep]:
    path = open_mlp(tmp_path_factory.mktemp("mlp"))
    return lambda loss: training_step(load_trainable(path, batch=2), loss, Sgd())


@pytest.fixture(scope="module")
def step(step_of: Callable[[Loss], TrainingStep]) -> TrainingStep:
    return step_of(CrossEntropy())


def save(path: Path, **arrays: Array) -> Path:
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_file(step: TrainingStep, tmp_path: Path) -> None:
    examples = read_examples(save(tmp_path / "a.npz", x=X, label=Y, note=np.zeros(1)), step)
    assert (len(examples), examples.batch_size) == (7, 2)
    places = np.array([4, 1])
    inputs, label = examples.pick(places)
    assert list(inputs) == ["x"]
    np.testing.assert_array_equal(inputs["x"], X[places])
    np.testing.assert_array_equal(label, Y[places])
    assert len(examples.first(3)) == 3


def test_folder(step: TrainingStep, tmp_path: Path) -> None:
    save(tmp_path / "2.npz", x=X[3:], label=Y[3:])
    save(tmp_path / "1.npz", x=X[:3], label=Y[:3])
    (tmp_path / "notes.txt").write_text("no examples")
    inputs, label = read_examples(tmp_path, step).pick(np.arange(7))
    np.testing.assert_array_equal(inputs["x"], X)
    np.testing.assert_array_equal(label, Y)


def test_narrower_dtypes_are_widened(step: TrainingStep, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (7, 6)).astype(np.uint8)
    path = save(tmp_path / "a.npz", x=pixels, label=Y.astype(np.int8))
    inputs, label = read_examples(path, step).pick(np.arange(2))
    assert label is not None
    assert (inputs["x"].dtype, label.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(inputs["x"], pixels[:2])


def test_losses_with_other_labels(step_of: Callable[[Loss], TrainingStep], tmp_path: Path) -> None:
    target = RNG.standard_normal((7, 3)).astype(np.float32)
    path = save(tmp_path / "a.npz", x=X, label=target)
    _, label = read_examples(path, step_of(MeanSquaredError())).pick(np.array([6]))
    np.testing.assert_array_equal(label, target[6:])
    _, label = read_examples(path, step_of(OwnLoss())).pick(np.array([6]))
    assert label is None


def test_batches_of_different_sizes(
    step_of: Callable[[Loss], TrainingStep], tmp_path: Path
) -> None:
    path = save(tmp_path / "a.npz", x=X, label=Y)
    with pytest.raises(RunError, match=r"dimension of 'label', \[3\], is not that .* \[2, 6\]"):
        read_examples(path, step_of(CrossEntropy(axis=0)))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": X}, "a.npz has no array 'label'; it holds x, and training takes x, label"),
        ({"label": Y}, "has no array 'x'; it holds label"),
        ({}, "has no array 'x'; it holds nothing"),
        ({"x": X, "label": Y[:5]}, "has 7 examples of 'x', but 5 of 'label'"),
        ({"x": X[:, :5], "label": Y}, r"'x' is float32 of \[7, 5\]; training takes float32 of "),
        ({"x": X[0], "label": Y}, r"'x' is float32 of \[6\]; training takes float32 of \[N, 6\]"),
        ({"x": X.astype(np.float64), "label": Y}, "'x' is float64 of .*; training takes float32"),
        ({"x": X, "label": Y[:, None]}, r"'label' is int64 of \[7, 1\]; .* int64 of \[N\]"),
        ({"x": X, "label": Y.astype(np.float32)}, "'label' is float32 .*; training takes int64"),
        ({"x": X, "label": Y + 1}, "'label' holds class 3, but the network tells classes 0 to 2"),
        ({"x": X[:0], "label": Y[:0]}, "a.npz holds no example"),
    ],
)
def test_what_does_not_fit(
    arrays: dict[str, Array], told: str, step: TrainingStep, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=told):
        read_examples(save(tmp_path / "a.npz", **arrays), step)


def _text(path: Path) -> None:
    path.write_text("no examples")


def _objects(path: Path) -> None:
    np.savez(path, x=np.array([{}], object))  # pickled


def _cut_short(path: Path) -> None:
    save(path, x=X, label=Y)
    path.write_bytes(path.read_bytes()[:-30])


def _one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


@pytest.mark.parametrize("write", [lambda path: None, _text, _objects, _cut_short, _one_array])
def test_no_npz(write: Callable[[Path], None], step: TrainingStep, tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    with pytest.raises(RunError, match=r"a.npz is no .npz file of plain arrays \(.+\); write"):
        read_examples(tmp_path / "a.npz", step)


def test_empty_folder(step: TrainingStep, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no .npz file in "):
        read_examples(tmp_path, step)
