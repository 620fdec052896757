"""A step and a placement to a bundle: homes, first values, codecs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.graph import split_into_stages
from jointdnn_tvm.runtime.training_entry import Label, Scores
from jointdnn_tvm.runtime.weights import map_weights
from jointdnn_tvm.training.step import TrainingStep
from tests.training_runs import CASES, all_on, build, in_turn, lossy


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    return CASES["mlp"].step(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def made(step: TrainingStep) -> Bundle:
    return build(step, in_turn(step))


def test_manifest_describes_the_step(step: TrainingStep, made: Bundle) -> None:
    manifest, placement = made.manifest, in_turn(step)
    stages = split_into_stages(step.graph, placement)
    assert [(s.name, s.side, s.inputs, s.outputs) for s in manifest.stages] == [
        (s.name, s.side, s.inputs, s.outputs) for s in stages
    ]
    assert [port.name for port in manifest.inputs] == ["x"]
    assert [port.name for port in manifest.outputs] == ["loss"]
    assert manifest.plan["placement"] == placement
    entry = manifest.training
    assert entry is not None
    assert entry.loss == step.graph.outputs[0]
    assert entry.label == Label("label", 3)
    assert [mask.shape for mask in entry.masks] == [mask.shape for mask in step.masks]
    assert list(entry.numbers) == list(step.numbers)
    assert entry.optimizer == step.step_numbers


def test_homes_are_where_next_values_are_made(step: TrainingStep, made: Bundle) -> None:
    placement = in_turn(step)
    producers = {tensor.name: tensor.producer for tensor in step.graph.tensors}
    entry = made.manifest.training
    assert entry is not None
    assert [carried.tensor for carried in entry.carried] == list(step.state)
    assert [carried.new for carried in entry.carried] == list(step.graph.outputs[1:-1])
    for carried in entry.carried:
        producer = producers[carried.new]
        assert producer is not None
        assert carried.home == placement[producer]
    sources = {c.tensor: c.source.name for c in entry.carried if c.source}
    assert sources == {tensor.name: tensor.source for tensor in step.stored}


def test_first_values_of_each_side(step: TrainingStep, made: Bundle, tmp_path: Path) -> None:
    folder = made.save(tmp_path / "model.jd")
    for side in ("mobile", "cloud"):
        found = map_weights(folder / f"{side}-state.safetensors")
        names = made.manifest.state_on(side)
        assert found.keys() == {name for name in names if step.weights[name].any()}
        for name, array in found.items():
            np.testing.assert_array_equal(array, step.weights[name])


def test_state_of_one_side_is_all_there(step: TrainingStep) -> None:
    bundle = build(step, all_on(step, "cloud"), fallback=False)
    assert set(bundle.halves) == {"cloud"}
    assert bundle.manifest.state_on("cloud") == step.state
    assert bundle.manifest.state_on("mobile") == ()


@pytest.mark.parametrize(
    ("codecs", "why"),
    [
        ({"label": "f32"}, r"codec 'f32' is none for tensor 'label' \(int64\)"),
        ({"label": "u7"}, "codec 'u7' is none for tensor 'label'"),
        ({"first_w": "f16"}, "codec 'f16' loses bits of 'first_w', which one step makes for the n"),
    ],
)
def test_codecs_that_cannot_be(step: TrainingStep, codecs: dict[str, str], why: str) -> None:
    placement = in_turn(step)
    with pytest.raises(ProblemError, match=why):
        build(step, placement, codecs=codecs)


def test_carried_tensor_has_one_codec_both_ways(step: TrainingStep) -> None:
    bundle: Any = build(step, in_turn(step), codecs={"first_w": "f32"})
    (carried,) = (c for c in bundle.manifest.training.carried if c.tensor == "first_w")
    tensors = bundle.manifest.tensors
    assert (tensors[carried.tensor].codec, tensors[carried.new].codec) == ("f32", "f32")


def test_lossy_gradients_have_residuals_where_they_are_sent(step: TrainingStep) -> None:
    placement = in_turn(step)
    manifest = build(step, placement, codecs=lossy(step, "u8")).manifest
    assert manifest.training is not None
    residuals = manifest.training.residuals
    assert residuals
    producers = {tensor.name: tensor.producer for tensor in step.graph.tensors}
    for residual in residuals:
        assert residual.home == placement[producers[residual.tensor] or ""]
        kept, sent = manifest.tensors[residual.kept], manifest.tensors[residual.tensor]
        assert (kept.shape, kept.dtype, kept.codec) == (sent.shape, sent.dtype, "none")
        assert residual.kept in manifest.state_held_by(residual.home)
        assert sent.codec == "u8"
    exact = build(step, placement).manifest.training
    assert exact is not None
    assert exact.residuals == ()


def test_scores_of_classes(step: TrainingStep, made: Bundle) -> None:
    entry = made.manifest.training
    assert entry is not None
    assert entry.scores == Scores(step.graph.outputs[-1], 1)
    assert made.manifest.tensors[entry.scores.tensor].shape == (4, 3)


def test_placement_of_something_else(step: TrainingStep) -> None:
    with pytest.raises(ProblemError, match="the placement has no side for group"):
        build(step, {})
