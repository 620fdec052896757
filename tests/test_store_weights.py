"""Weights that change are stored in the form in which all of their readers want them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.passes.store_weights import store_weights
from jointdnn_tvm.runtime.form import Form
from tests.gradient_checks import compiled
from tests.tiny_models import Array, random_arrays, relax_main

op = relax.op


def _run_stored(module: tvm.IRModule) -> tuple[dict[str, Form], list[Array], list[Array]]:
    arrays = random_arrays(module)
    stored, forms = store_weights(module, ["w"])
    assert relax.analysis.check_well_formed(stored)
    moved = {n: forms[n].of(a) if n in forms else a for n, a in arrays.items()}
    np.testing.assert_array_equal(forms["w"].undo(moved["w"]), arrays["w"])
    before, after = compiled(module), compiled(stored)
    return forms, before(*arrays.values()), after(*moved.values())


Body = Callable[..., Any]
CASES: dict[str, tuple[Body, tuple[Any, ...]]] = {
    "as it is": (lambda b, x, w: op.matmul(x, w), ()),
    "turned": (lambda b, x, w: op.matmul(x, b.emit(op.permute_dims(w))), (("order", (1, 0)),)),
    "turned and seen otherwise": (
        lambda b, x, w: op.matmul(x, b.emit(op.reshape(b.emit(op.permute_dims(w)), (4, 4)))),
        (("order", (1, 0)), ("shape", (4, 4))),
    ),
    "read twice alike": (
        lambda b, x, w: op.add(
            b.emit(op.matmul(x, b.emit(op.permute_dims(w, [1, 0])))),
            b.emit(op.matmul(x, b.emit(op.permute_dims(w)))),
        ),
        (("order", (1, 0)),),
    ),
    "read in two ways": (
        lambda b, x, w: op.matmul(b.emit(op.matmul(x, w)), b.emit(op.permute_dims(w))),
        (),
    ),
    "one reader goes on": (
        lambda b, x, w: op.add(
            b.emit(op.reshape(b.emit(op.permute_dims(w)), (4, 4))), b.emit(op.permute_dims(w))
        ),
        (("order", (1, 0)),),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_the_same(name: str) -> None:
    body, steps = CASES[name]
    module = relax_main({"x": (3, 4)}, {"w": (4, 4)}, lambda b, x, w: [b.emit(body(b, x, w))])
    forms, before, after = _run_stored(module)
    assert forms["w"].steps == steps
    np.testing.assert_array_equal(before[0], after[0])


def test_others_stay() -> None:
    def body(builder: relax.BlockBuilder, x: Any, w: Any, other: Any) -> list[Any]:
        y = builder.emit(op.matmul(x, builder.emit(op.permute_dims(w))))
        return [builder.emit(op.matmul(y, builder.emit(op.permute_dims(other))))]

    module = relax_main({"x": (3, 4)}, {"w": (5, 4), "other": (6, 5)}, body)
    stored, forms = store_weights(module, ["w"])
    assert list(forms) == ["w"]
    shapes = {p.name: [int(d) for d in p.ty.shape] for p in stored["main"].params}
    assert shapes == {"x": [3, 4], "w": [4, 5], "other": [6, 5]}
