"""What is private stays on the mobile: nothing that crosses is told by private values alone."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.estimating import estimate
from jointdnn_tvm.passes.main_function import extend_main
from jointdnn_tvm.placement import SIDES, Problem, evaluate
from jointdnn_tvm.targets import load_link
from jointdnn_tvm.training.losses import CrossEntropy, OwnLoss
from jointdnn_tvm.training.optimizers import Sgd
from jointdnn_tvm.training.privacy import PRIVATE, private_tensors
from jointdnn_tvm.training.step import TrainingStep, training_step
from jointdnn_tvm.training.step_plan import step_problem
from jointdnn_tvm.training.step_tensors import step_tensors
from jointdnn_tvm.training.trainable import load_trainable
from tests.gradient_checks import compiled
from tests.training_models import TASKS, small_mlp

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> TrainingStep:
    network = load_trainable(small_mlp(tmp_path_factory.mktemp("mlp")))
    return training_step(network, CrossEntropy(), Sgd())


def _problem(step: TrainingStep, private: Collection[str]) -> Problem:
    return step_problem(step, estimate(step), load_link("lan-1g"), private=private)


def _values(step: TrainingStep, seed: int, same: Collection[str]) -> Arrays:
    """All tensors between groups, of random weights and data but what is the `same` for any."""
    names = step_tensors(step)
    made = [name for group in step.graph.groups for name in group.outputs]
    bodies = step.grouped["main"].body.blocks[0].bindings
    found = {b.var.name: b.var for b in bodies}

    def extend(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        del builder, fields
        return [found[name] for name in made]

    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    arguments = []
    for param in step.module["main"].params:
        source = fixed if param.name in same else rng
        shape = [int(extent) for extent in param.ty.shape]
        if str(param.ty.dtype) == "int64":
            arguments.append(source.integers(0, 3, shape))
        else:
            arguments.append(source.standard_normal(shape).astype(np.float32))
    assert names.masks == ()
    results = compiled(extend_main(step.grouped, extend))(*arguments)
    return dict(zip(made, results, strict=True))


@pytest.mark.parametrize("private", [("inputs",), ("labels",), PRIVATE])
def test_what_is_private_alone_stays_the_same_whatever_the_rest_is(
    step: TrainingStep, private: Collection[str]
) -> None:
    names = step_tensors(step)
    same = {name for what in private for name in getattr(names, what)}
    found = private_tensors(step, private)
    assert same <= found
    one, other = (_values(step, seed, same) for seed in (1, 2))
    alone = {name for name in one if np.array_equal(one[name], other[name])}
    assert alone <= found
    assert "labels" not in private or len(found) > len(same)  # what is made of class ids


@pytest.mark.parametrize("private", [(), ("inputs",), ("labels",), PRIVATE])
def test_nothing_private_crosses_in_any_placement(
    step: TrainingStep, private: Collection[str]
) -> None:
    problem = _problem(step, private)
    kept = private_tensors(step, private)
    pinned = [o.name for o in problem.operators if o.cloud is None]
    assert bool(pinned) == bool(private)
    for seed in range(200):
        draw = random.Random(seed)
        sides = {o.name: draw.choice([s for s in SIDES if o.cost(s)]) for o in problem.operators}
        metrics = evaluate(problem, sides)
        assert kept.isdisjoint(metrics.up), f"seed {seed}"


def test_features_of_private_inputs_may_cross(tmp_path: Path) -> None:
    network = load_trainable(TASKS["small_cnn"].model(tmp_path))
    step = training_step(network, CrossEntropy(), Sgd())
    problem = _problem(step, ["inputs"])
    pinned = [o.name for o in problem.operators if o.cloud is None]
    readers = [g.name for g in step.graph.groups if "x" in g.inputs]
    assert set(readers) <= set(pinned)
    assert 2 <= len(pinned) < len(problem.operators) / 4  # first layer, and its weights' gradient


def test_what_cannot_be_private_is_one_clear_line(step: TrainingStep, tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="'weights' cannot be private: use inputs or labels"):
        private_tensors(step, ["weights"])
    own = training_step(load_trainable(small_mlp(tmp_path)), OwnLoss(), Sgd())
    with pytest.raises(ProblemError, match="the step takes no labels that could be private"):
        private_tensors(own, ["labels"])
