"""Steps on two sides: the bits of one side, whatever the placement, and nothing from failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime import InferenceSession

from jointdnn_tvm.errors import DeviceError, DivergedError, RunError
from jointdnn_tvm.runtime.cloud import Header, Tensors
from jointdnn_tvm.runtime.open_training import open_training
from jointdnn_tvm.runtime.trainer import Trainer
from jointdnn_tvm.runtime.training_cloud import LocalTrainingCloud, Sent
from jointdnn_tvm.training.host_trainer import HostTrainer
from jointdnn_tvm.training.losses import CrossEntropy, MeanSquaredError
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.trainable import load_trainable
from tests.training_runs import (
    CASES,
    MLP,
    Array,
    Case,
    all_on,
    build,
    in_turn,
    lossy,
    random_runs,
    same,
    train,
)

STEPS = 20


@dataclass(frozen=True)
class Unsplit:
    """A step, and what training does that stays on one side."""

    case: Case
    step: TrainingStep
    losses: list[float]
    weights: dict[str, Array]


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Unsplit]:
    made: dict[str, Unsplit] = {}

    def run(name: str) -> Unsplit:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            case = CASES[name]
            step = case.step(folder)
            host = HostTrainer(step, seed=3)
            losses = train(host, case.task, STEPS)
            assert losses[-1] != losses[0]
            made[name] = Unsplit(case, step, losses, host.weights())
        return made[name]

    return run


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory, unsplit: Callable[[str], Unsplit]) -> Path:
    """A bundle with stages on both sides in turn."""
    step = unsplit("mlp").step
    made = build(step, in_turn(step))
    assert len(made.manifest.stages) > 4
    assert any(made.manifest.state_held_by(side) for side in ("mobile", "cloud"))
    return made.save(tmp_path_factory.mktemp("mlp") / "mlp.jd")


def _placements() -> list[Any]:
    slow = pytest.mark.slow
    found = [pytest.param("mlp", seed) for seed in range(4)]
    found += [pytest.param("mlp-accumulated", 1)]
    found += [pytest.param("mlp", seed, marks=slow) for seed in range(4, 20)]
    found += [pytest.param("mlp-sgd", seed, marks=slow) for seed in range(10)]
    found += [pytest.param("small_cnn", 0)]
    found += [pytest.param("small_cnn", seed, marks=slow) for seed in range(1, 8)]
    found += [pytest.param("transformer", seed, marks=slow) for seed in range(8)]
    return found


@pytest.mark.parametrize(("name", "seed"), _placements())
def test_random_placement_changes_no_bit(
    name: str, seed: int, unsplit: Callable[[str], Unsplit], tmp_path: Path
) -> None:
    expected = unsplit(name)
    placement = random_runs(expected.step, seed)
    made = build(expected.step, placement, fallback=bool(seed % 2))
    folder = made.save(tmp_path / "model.jd")
    with open_training(folder, cloud="local", seed=3) as trainer:
        assert train(trainer, expected.case.task, STEPS) == expected.losses
        same(trainer.weights(), expected.weights)


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_one_sided_without_fallback(
    side: Any, unsplit: Callable[[str], Unsplit], tmp_path: Path
) -> None:
    expected = unsplit("mlp")
    made = build(expected.step, all_on(expected.step, side), fallback=False)
    assert set(made.halves) == {side}
    with open_training(made.save(tmp_path / "m.jd"), cloud="local", seed=3) as trainer:
        assert train(trainer, MLP, STEPS) == expected.losses
        same(trainer.weights(), expected.weights)


def test_exact_codecs_change_no_bit(unsplit: Callable[[str], Unsplit], tmp_path: Path) -> None:
    expected = unsplit("mlp")
    floats = [t.name for t in expected.step.graph.tensors if t.dtype == "float32" and t.shape]
    made = build(expected.step, in_turn(expected.step), codecs=dict.fromkeys(floats, "f32"))
    assert made.manifest.codecs == ["f32"]
    with open_training(made.save(tmp_path / "m.jd"), cloud="local", seed=3) as trainer:
        assert train(trainer, MLP, STEPS) == expected.losses
        same(trainer.weights(), expected.weights)


def test_codecs_that_lose_bits_change_a_little(
    unsplit: Callable[[str], Unsplit], tmp_path: Path
) -> None:
    """Activations and gradients of half the bits; what is carried has all of them."""
    expected = unsplit("mlp")
    step = expected.step
    bundle = build(step, in_turn(step), codecs=lossy(step, "f16"))
    with open_training(bundle.save(tmp_path / "m.jd"), cloud="local", seed=3) as trainer:
        losses = train(trainer, MLP, STEPS)
    assert losses != expected.losses
    np.testing.assert_allclose(losses, expected.losses, rtol=1e-2)


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory, unsplit: Callable[[str], Unsplit]) -> Path:
    """Activations and gradients cross with 8 bits a number."""
    step = unsplit("mlp").step
    made = build(step, in_turn(step), codecs=lossy(step, "u8"))
    assert made.manifest.training is not None
    assert {r.home for r in made.manifest.training.residuals} == {"mobile", "cloud"}
    return made.save(tmp_path_factory.mktemp("coarse") / "mlp.jd")


def test_lossy_run_is_the_same_each_time(coarse: Path, unsplit: Callable[[str], Unsplit]) -> None:
    """Also when it is judged in between, and calls fail."""
    with open_training(coarse, cloud="local", seed=3) as trainer:
        losses, state = train(trainer, MLP, STEPS), trainer.state()
    assert losses != unsplit("mlp").losses
    np.testing.assert_allclose(losses, unsplit("mlp").losses, rtol=0.1)
    left = [name for name in state if name.endswith("_residual")]
    assert any(state[name].any() for name in left)
    with open_training(coarse, cloud="local", seed=3) as trainer:
        cloud = FlakyCloud(trainer._cloud)  # type: ignore[arg-type]
        trainer._cloud = cloud
        inputs, labels = MLP.batch(9)
        for number in range(STEPS):
            trainer.evaluate({"x": inputs}, labels)
            if number % 5 == 4:
                cloud.fails_at, cloud.after = cloud.calls + number // 5 % 2, number > 9
                with pytest.raises(DeviceError, match="has a cold"):
                    train(trainer, MLP, number + 1)
                cloud.fails_at = None
            assert train(trainer, MLP, number + 1) == losses[number : number + 1]
        same(trainer.state(), state)


def test_seed_is_that_of_the_masks(mlp: Path, unsplit: Callable[[str], Unsplit]) -> None:
    with open_training(mlp, cloud="local", seed=4) as trainer:
        assert train(trainer, MLP, STEPS) != unsplit("mlp").losses


class FlakyCloud:
    """A cloud in this process that fails before or after it ran its nth stage, or answers NaN."""

    def __init__(self, cloud: LocalTrainingCloud) -> None:
        self._cloud = cloud
        self.alive = True
        self.calls = 0
        self.fails_at: int | None = None
        self.after = False
        self.dies = False
        self.closed = 0

    def run(self, header: Header, tensors: Sent) -> Tensors:
        fails = self.calls == self.fails_at
        self.calls += 1
        if fails and not self.after:
            self._fail()
        answer = self._cloud.run(header, tensors)
        if fails:
            self._fail()
        return answer

    def _fail(self) -> None:
        self.alive = not self.dies
        raise DeviceError("the cloud has a cold")

    def close(self) -> None:
        self.closed += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cloud, name)


@pytest.fixture
def flaky(mlp: Path) -> Iterator[tuple[Trainer, FlakyCloud]]:
    with open_training(mlp, cloud="local", seed=3) as trainer:
        cloud = FlakyCloud(trainer._cloud)  # type: ignore[arg-type]
        trainer._cloud = cloud
        yield trainer, cloud


@pytest.mark.parametrize("after", [False, True])
def test_step_whose_call_fails_was_never_taken(
    flaky: tuple[Trainer, FlakyCloud], after: bool, unsplit: Callable[[str], Unsplit]
) -> None:
    trainer, cloud = flaky
    cloud.after = after
    expected = unsplit("mlp")
    losses = train(trainer, MLP, 3)
    calls = cloud.calls // 3
    assert calls >= 2
    for call in range(calls):  # each call of the fourth step fails once
        cloud.fails_at = cloud.calls + call
        with pytest.raises(DeviceError, match="has a cold"):
            train(trainer, MLP, 4)
        assert trainer.steps == 3
    cloud.fails_at = None
    assert losses + train(trainer, MLP, STEPS) == expected.losses
    same(trainer.weights(), expected.weights)


def _batch(**change: Any) -> tuple[dict[str, Any], Any]:
    inputs, labels = MLP.batch(0)
    given = {"x": inputs, "label": labels, **change}
    label = given.pop("label")
    return {name: value for name, value in given.items() if value is not None}, label


NAN = np.full((4, 6), np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"x": None}, "input 'x' is missing"),
        ({"x": NAN[:3]}, r"input 'x' is float32\[3, 6\]; the network takes float32\[4, 6\]"),
        ({"y": NAN}, "the network has no input 'y'; it has x"),
        ({"label": None}, "the label is missing"),
        (
            {"label": np.zeros(3, np.int64)},
            r"the label is int64\[3\]; the network takes int64\[4\]",
        ),
        ({"label": np.zeros(4, np.int32)}, r"the label is int32\[4\]"),
        (
            {"label": np.array([0, 3, 1, 1])},
            "holds class 3; the network tells classes 0 to 2 apart",
        ),
        (
            {"x": NAN},
            "step 3 .*: the step is not taken; lower the learning rate, or look",
        ),
    ],
)
def test_what_does_not_fit_is_no_step(
    mlp: Path, change: dict[str, Any], why: str, unsplit: Callable[[str], Unsplit]
) -> None:
    inputs, label = _batch(**change)
    with open_training(mlp, cloud="local", seed=3) as trainer:
        losses = train(trainer, MLP, 2)
        with pytest.raises(RunError, match=why):
            trainer.step(inputs, label, learning_rate=0.1)
        assert trainer.steps == 2
        assert losses + train(trainer, MLP, 4) == unsplit("mlp").losses[:4]


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_weights_that_would_be_no_numbers(
    side: Any, unsplit: Callable[[str], Unsplit], tmp_path: Path
) -> None:
    """The loss is still finite in that step."""
    expected = unsplit("mlp-sgd")
    bundle = build(expected.step, all_on(expected.step, side)).save(tmp_path / "m.jd")
    with open_training(bundle, cloud="local", seed=3) as trainer:
        losses = train(trainer, MLP, 2)
        inputs, labels = MLP.batch(2)
        with pytest.raises(DivergedError, match=r"in step 3 '.*' would leave the finite numbers"):
            trainer.step({"x": inputs}, labels, learning_rate=float("inf"))
        assert trainer.steps == 2
        assert losses + train(trainer, MLP, STEPS) == expected.losses
        same(trainer.weights(), expected.weights)


def test_bytes_of_the_link(mlp: Path, unsplit: Callable[[str], Unsplit], tmp_path: Path) -> None:
    step = unsplit("mlp").step
    with open_training(mlp, cloud="local") as trainer:
        assert trainer.link_bytes == 0
        train(trainer, MLP, 1)
        one = trainer.link_bytes
        train(trainer, MLP, 3)
    assert one > 0
    assert trainer.link_bytes == pytest.approx(3 * one, rel=0.01)
    alone = build(step, all_on(step, "mobile")).save(tmp_path / "m.jd")
    with open_training(alone) as trainer:
        train(trainer, MLP, 1)
        assert trainer.link_bytes == 0


def test_evaluation_is_the_loss_of_the_next_step(
    mlp: Path, unsplit: Callable[[str], Unsplit]
) -> None:
    expected = unsplit("mlp").losses
    with open_training(mlp, cloud="local", seed=3) as trainer:
        for number in range(4):
            inputs, labels = MLP.batch(number)
            assert trainer.evaluate({"x": inputs}, labels)["loss"] == expected[number]
            assert trainer.steps == number
            train(trainer, MLP, number + 1)


@pytest.mark.parametrize("side", ["mobile", "cloud", None])
def test_evaluation_counts_right_answers(side: Any, tmp_path: Path) -> None:
    """As onnxruntime does of the file, which has no dropout."""
    path = MLP.model(tmp_path)
    step = training_step(load_trainable(path), CrossEntropy(), Sgd())
    placement = in_turn(step) if side is None else all_on(step, side)
    host = HostTrainer(step)
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    with open_training(build(step, placement).save(tmp_path / "m.jd"), cloud="local") as trainer:
        found = []
        for number in range(6):
            inputs, labels = MLP.batch(number)
            (scores,) = session.run(["scores"], {"x": inputs})
            result = trainer.evaluate({"x": inputs}, labels)
            assert result["accuracy"] == float(np.mean(scores.argmax(1) == labels))
            assert result == host.evaluate({"x": inputs}, labels)
            found.append(result["accuracy"])
        assert len(set(found)) > 1
        assert trainer.steps == host.steps == 0


def test_evaluation_of_numbers_is_their_loss(tmp_path: Path) -> None:
    step = training_step(load_trainable(MLP.model(tmp_path)), MeanSquaredError(), Sgd())
    inputs, _ = MLP.batch(0)
    with open_training(
        build(step, in_turn(step)).save(tmp_path / "m.jd"), cloud="local"
    ) as trainer:
        label = np.ones((4, 3), np.float32)
        result = trainer.evaluate({"x": inputs}, label)
        assert result == {"loss": trainer.step({"x": inputs}, label, learning_rate=0.1)}


def test_weights_start_as_in_the_file(mlp: Path, unsplit: Callable[[str], Unsplit]) -> None:
    step = unsplit("mlp").step
    first = {t.source: t.form.undo(step.weights[t.name]) for t in step.stored}
    with open_training(mlp, cloud="local") as trainer:
        same(trainer.weights(), first)
        state = trainer.state()
    assert set(state) == set(step.state)
    same(
        {n: a for n, a in state.items() if n.endswith("_mean")},
        {n: np.zeros_like(step.weights[n]) for n in step.state if n.endswith("_mean")},
    )


def test_cloud_that_is_lost_ends_the_run(flaky: tuple[Trainer, FlakyCloud]) -> None:
    trainer, cloud = flaky
    train(trainer, MLP, 2)
    cloud.dies, cloud.fails_at = True, cloud.calls
    with pytest.raises(DeviceError, match="has a cold; then open the run again: it goes on from"):
        train(trainer, MLP, 3)
    assert cloud.closed == 1
    for call in (lambda: train(trainer, MLP, 3), trainer.weights, trainer.checkpoint):
        with pytest.raises(
            RunError, match=r"the run lost its cloud \(the cloud has a cold\)|no folder"
        ):
            call()


def test_closed_trainer(mlp: Path) -> None:
    trainer = open_training(mlp, cloud="local")
    trainer.close()
    trainer.close()
    with pytest.raises(RunError, match="the trainer is closed; open a new one"):
        train(trainer, MLP, 1)


def test_without_a_folder_there_is_no_checkpoint(mlp: Path) -> None:
    with (
        open_training(mlp, cloud="local") as trainer,
        pytest.raises(RunError, match="no folder for checkpoints; open it with one"),
    ):
        trainer.checkpoint()
