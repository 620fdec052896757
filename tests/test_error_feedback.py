"""What was sent adds up to what there was to send; and training gets where exact training does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.codec.registry import decode_tensor, encode_tensor
from jointdnn_tvm.runtime import training_half
from jointdnn_tvm.runtime.error_feedback import send_with_residual
from jointdnn_tvm.runtime.open_training import open_training
from jointdnn_tvm.training.choose_weights import TrainedWeights
from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import MeanSquaredError
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.residuals import gradients
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_models import two_products
from tests.training_runs import Array, activations, build, in_turn


def _gradients(count: int, scale: float) -> list[Array]:
    """Ranges that one large number in each makes wide beside the others."""
    rng = np.random.default_rng(0)
    found = [scale * (rng.standard_normal((4, 5)) + 0.5) for _ in range(count)]
    for gradient in found:
        gradient[0, 0] = 1000 * scale
    return [gradient.astype(np.float32) for gradient in found]


@pytest.mark.parametrize(
    ("codec", "scale", "half_a_step"),
    [("u8", 1e-3, 1 / 255 / 2), ("f16", 1e-8, 2.0**-25), ("u4", 1.0, 1000 / 15 / 2)],
)
def test_what_is_sent_adds_up(codec: str, scale: float, half_a_step: float) -> None:
    exact = _gradients(200, scale)
    residual = np.zeros((4, 5), np.float32)
    sent = []
    for gradient in exact:
        frame, residual = send_with_residual(codec, gradient, residual)
        sent.append(decode_tensor(frame))
    without = [decode_tensor(encode_tensor(codec, gradient)) for gradient in exact]
    total = np.sum(exact, 0, np.float64)
    np.testing.assert_allclose(np.sum(sent, 0, np.float64) + residual, total, rtol=1e-5)
    lost = np.abs(np.sum(sent, 0, np.float64) - total).max()
    assert 0 < lost <= 1.1 * half_a_step  # of the last gradient, which is wider by what was left
    assert np.abs(np.sum(without, 0, np.float64) - total).max() > 3 * lost


def test_exact_codecs_leave_nothing() -> None:
    gradient = np.array([1.0, 1e-30, -3e5], np.float32)
    frame, left = send_with_residual("f16", gradient, np.zeros(3, np.float32))
    np.testing.assert_array_equal(decode_tensor(frame), gradient)  # too large for half precision
    assert not left.any()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_left_of_no_number_is_none(wrong: float) -> None:
    gradient = np.array([1.0, wrong], np.float32)
    assert not np.isfinite(send_with_residual("u8", gradient, np.ones(2, np.float32))[1]).all()


# One example teaches nothing, as all its inputs are 0, and has by far the largest gradient: with it
# in the range, the gradients of all others are less than a step of the grid before long.

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 6)).astype(np.float32)
TEACHER = [RNG.standard_normal(shape).astype(np.float32) / 3 for shape in ((6, 16), (16, 3))]
X[0] = 0
Y = (np.tanh(X @ TEACHER[0]) @ TEACHER[1]).astype(np.float32)
Y[0] = 100
STEPS, RATE = 400, 0.1


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    path = two_products(tmp_path_factory.mktemp("model"))
    network = load_trainable(path, trained=TrainedWeights(names=("first.w",)))
    return training_step(network, MeanSquaredError(), Sgd())


def _distance(step: TrainingStep, weights: dict[str, Array]) -> float:
    """The mean square error of the examples that teach."""
    (second,) = (w for w in step.weights.values() if w.shape == (16, 3))
    return float(np.mean((np.tanh(X @ weights["first.w"]) @ second - Y)[1:] ** 2))


def _trained(step: TrainingStep, folder: Path, codecs: dict[str, str]) -> float:
    bundle = build(step, in_turn(step), codecs=codecs).save(folder / "m.jd")
    with open_training(bundle, cloud="local") as trainer:
        for _ in range(STEPS):
            trainer.step({"x": X}, Y, learning_rate=RATE)
        return _distance(step, trainer.weights())


@pytest.fixture(scope="module")
def exact(step: TrainingStep) -> float:
    trainer = HostTrainer(step)
    first = _distance(step, trainer.weights())
    for _ in range(STEPS):
        trainer.step({"x": X}, Y, learning_rate=RATE)
    last = _distance(step, trainer.weights())
    assert last < 0.02 * first
    return last


def test_training_with_feedback_gets_where_exact_training_does(
    step: TrainingStep, exact: float, tmp_path: Path
) -> None:
    of_gradients = dict.fromkeys(gradients(step), "u8")
    assert of_gradients
    found = _trained(step, tmp_path, of_gradients)
    assert found != exact
    assert found == pytest.approx(exact, rel=0.1)
    of_both = of_gradients | dict.fromkeys(activations(step), "f16")
    assert _trained(step, tmp_path, of_both) == pytest.approx(exact, rel=0.1)


def _broken(factor: float) -> Callable[[str, Array, Array], tuple[bytes, Array]]:
    def send(codec: str, gradient: Array, residual: Array) -> tuple[bytes, Array]:
        frame, left = send_with_residual(codec, gradient, residual)
        return frame, np.float32(factor) * left

    return send


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.5])
def test_training_with_broken_feedback_does_not(
    step: TrainingStep,
    exact: float,
    factor: float,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(training_half, "send_with_residual", _broken(factor))
    assert _trained(step, tmp_path, dict.fromkeys(gradients(step), "u8")) > 3 * exact
