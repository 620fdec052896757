"""From gradients to new weights: what is remembered, and clipping by the norm of all gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.training.accumulation import Accumulation
from jointdnn_tvm.training.optimizers import Adam, Sgd
from jointdnn_tvm.training.updates import Updates
from tests.gradient_checks import compiled

SHAPES = ((3, 4), (5,))


def _moved(updates: Updates, gradients: list[np.ndarray], number: float) -> list[np.ndarray]:
    """Weights of zeros after one update at a learning rate of 1."""
    builder = relax.BlockBuilder()
    weights = [relax.Var(f"w{i}", relax.TensorType(s, "float32")) for i, s in enumerate(SHAPES)]
    given = [relax.Var(f"g{i}", relax.TensorType(s, "float32")) for i, s in enumerate(SHAPES)]
    rate = relax.Var("learning_rate", relax.TensorType((), "float32"))
    slots: dict[relax.Var, dict[str, relax.Var]] = {weight: {} for weight in weights}
    with builder.function("main", [*given, rate, *weights]):
        with builder.dataflow():
            new, kept = updates.append(builder, given, slots, {"learning_rate": rate})
            assert kept == []
            output = builder.emit_output(relax.Tuple(new))
        builder.emit_func_output(output)
    zeros = [np.zeros(shape, np.float32) for shape in SHAPES]
    module: tvm.IRModule = builder.finalize()
    return list(compiled(module)(*gradients, np.float32(number), *zeros))


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clipped_by_the_norm_of_all(most: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients))
    found = _moved(Updates(Sgd(), Accumulation(), most), gradients, 1.0)
    for gradient, moved in zip(gradients, found, strict=True):
        np.testing.assert_allclose(moved, -gradient * min(1, most / norm), rtol=1e-5)


def test_what_is_remembered() -> None:
    assert Updates(Sgd(), Accumulation()).slots == ()
    assert Updates(Adam(), Accumulation(2)).slots == ("mean", "square", "gradients")
    numbers = Updates(Adam(), Accumulation(4)).numbers(0.1, 5)
    told = {"sum_goes_on": 0.0, "update_is_due": 0.0}
    assert numbers == Adam().numbers(0.1, 2) | told
