"""Gradients of operators that move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax

from jointdnn_tvm.passes.gradients.shapes import SHAPES
from tests.gradient_checks import check_gradients

op = relax.op


def _parts(builder: relax.BlockBuilder, x: Any, used: list[int]) -> Any:
    parts = builder.emit(op.split(x, [1, 3], -1))
    fields = [builder.emit(relax.TupleGetItem(parts, i)) for i in used]
    return op.concat([builder.emit(op.square(field)) for field in fields], -1)


CASES: dict[str, Callable[..., Any]] = {
    "broadcast_to": lambda b, x: op.broadcast_to(b.emit(op.expand_dims(x, 1)), (2, 3, 4, 5)),
    "broadcast_to more": lambda _, x: op.broadcast_to(x, (3, 2, 4, 5)),
    "concat": lambda b, x: op.concat([x, b.emit(op.square(x)), x], -2),
    "expand_dims": lambda _, x: op.expand_dims(x, [0, -1]),
    "flatten": lambda _, x: op.flatten(x),
    "flip": lambda _, x: op.flip(x, -2),
    "nn.batch_flatten": lambda _, x: op.nn.batch_flatten(x),
    "permute_dims": lambda _, x: op.permute_dims(x, [2, 0, -2]),
    "permute_dims all": lambda _, x: op.permute_dims(x),
    "reshape": lambda _, x: op.reshape(x, (8, -1)),
    "split": lambda b, x: _parts(b, x, [2, 0, 1]),
    "split in part": lambda b, x: _parts(b, x, [2, 2]),
    "squeeze": lambda b, x: op.squeeze(b.emit(op.expand_dims(x, 1)), 1),
    "stack": lambda b, x: op.stack([x, b.emit(op.square(x))], 1),
    "tile": lambda _, x: op.tile(x, (2, 1, 3)),
    "tile more": lambda _, x: op.tile(x, (2, 1, 2, 1)),
    "tile less": lambda _, x: op.tile(x, (3,)),
    "strided_slice": lambda _, x: op.strided_slice(x, [1, 2], [1, 0], [3, 4], [1, 1]),
    "strided_slice steps": lambda _, x: op.strided_slice(x, [1, 2], [0, 1], [4, 5], [3, 2]),
    "strided_slice to the end": lambda _, x: op.strided_slice(x, [2], [-4], [100], [2]),
    "strided_slice without steps": lambda _, x: op.strided_slice(x, [0], [1], [2]),
    "nn.pad": lambda _, x: op.nn.pad(x, [0, 0, 1, 2, 3, 0]),
    **{
        f"nn.pad {mode}": lambda _, x, mode=mode: op.nn.pad(x, [0, 0, 1, 2, 3, 0], mode)
        for mode in ("reflect", "replicate", "circular")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_derivative(name: str) -> None:
    check_gradients(CASES[name], np.random.default_rng(0).standard_normal((2, 4, 5)))


def test_all_are_tested() -> None:
    assert {name.split()[0] for name in CASES} == {n.removeprefix("relax.") for n in SHAPES}
