"""Gradients behind the graph: all that are wanted, no others, or one line that says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.passes.append_backward import append_backward
from jointdnn_tvm.passes.pipeline import grouping
from jointdnn_tvm.passes.read_graph import read_graph
from tests.gradient_checks import check_gradients, compiled
from tests.test_group_operators import check_graph
from tests.tiny_models import random_arrays, relax_main

op = relax.op


def _two_layers(builder: relax.BlockBuilder, x: Any, a: Any, b: Any, unused: Any) -> list[Any]:
    hidden = builder.emit(op.tanh(builder.emit(op.matmul(x, a))))
    out = builder.emit(op.matmul(hidden, b))
    return [builder.emit(op.sum(out)), hidden]


def _module() -> tvm.IRModule:
    weights = {"a": (3, 4), "b": (4, 2), "unused": (5,)}
    return relax_main({"x": (2, 3)}, weights, _two_layers)


def _operators(module: tvm.IRModule) -> list[str]:
    bindings = module["main"].body.blocks[0].bindings
    return [b.value.op.name for b in bindings if isinstance(b.value, relax.Call)]


def test_gradients_follow_the_results_in_the_order_asked_for() -> None:
    module = append_backward(_module(), ["b", "unused", "a", "x"])
    arrays = random_arrays(module)
    x, a, b, _ = arrays.values()
    loss, hidden, by_b, by_unused, by_a, by_x = compiled(module)(*arrays.values())
    np.testing.assert_allclose(hidden, np.tanh(x @ a), rtol=1e-5)
    np.testing.assert_allclose(loss, (hidden @ b).sum(), rtol=1e-5)
    ones = np.ones((2, 2))
    inner = ones @ b.T * (1 - hidden**2)
    np.testing.assert_allclose(by_b, hidden.T @ ones, rtol=1e-5)
    np.testing.assert_allclose(by_a, x.T @ inner, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(by_x, inner @ a.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(by_unused, np.zeros(5))


def test_only_what_is_wanted_is_computed() -> None:
    last = _operators(append_backward(_module(), ["b"]))
    assert last.count("relax.matmul") == 3  # two forward, one backward
    both = _operators(append_backward(_module(), ["a", "b"]))
    assert both.count("relax.matmul") == 5


def test_parameters_and_attributes_stay() -> None:
    before, after = _module()["main"], append_backward(_module(), ["a"])["main"]
    assert [p.name for p in after.params] == [p.name for p in before.params]
    assert int(after.attrs["num_input"]) == 1


def test_value_that_many_read() -> None:
    def compute(builder: relax.BlockBuilder, x: Any) -> Any:
        y = builder.emit(op.square(x))
        parts = builder.emit(op.split(y, 2, 0))
        both = builder.emit(relax.Tuple([builder.emit(relax.TupleGetItem(parts, 1)), y, y]))
        left = builder.emit(relax.TupleGetItem(parts, 0))
        joined = builder.emit(op.concat(both, 0))
        return op.concat([joined, builder.emit(op.exp(left)), left], 0)

    check_gradients(compute, np.random.default_rng(0).standard_normal((4, 3)))


def test_integers_on_the_way_take_no_gradient() -> None:
    def compute(builder: relax.BlockBuilder, x: Any) -> Any:
        places = builder.emit(op.argmax(x, 1))  # has no gradient, and needs none
        largest = builder.emit(op.take(x, places, 1))
        return op.multiply(largest, builder.emit(op.astype(op.equal(x, x), "float64")))

    check_gradients(compute, np.random.default_rng(0).standard_normal((3, 3)))


def test_all_operators_without_a_gradient_are_named() -> None:
    def body(builder: relax.BlockBuilder, x: Any, w: Any) -> list[Any]:
        early = builder.emit(op.cumprod(x, 0))  # before the weight: no gradient is needed
        y = builder.emit(op.matmul(early, w))
        y = builder.emit(op.cumsum(builder.emit(op.sort(y)), 0))
        builder.emit(op.prod(y))  # does not reach the loss
        image = builder.emit(op.reshape(y, (1, 1, 4, 4)))
        pooled = builder.emit(op.nn.max_pool2d(image, (2, 2), dilation=(2, 2)))
        return [builder.emit(op.sum(pooled))]

    module = relax_main({"x": (4, 4)}, {"w": (4, 4)}, body)
    with pytest.raises(ModelError) as error:
        append_backward(module, ["w"])
    assert str(error.value) == (
        "operators cumsum, nn.max_pool2d (dilated), sort have no gradient; "
        "train only weights that come after them"
    )


def test_one_operator_without_a_gradient() -> None:
    module = relax_main({}, {"w": (4,)}, lambda b, w: [b.emit(op.prod(w))])
    with pytest.raises(ModelError, match=r"^operator prod has no gradient; train only weights"):
        append_backward(module, ["w"])


def test_kernel_of_another_is_named_by_its_name() -> None:
    def copy(t: Any) -> Any:
        return tvm.te.compute(t.shape, lambda *i: t(*i))

    def with_kernel(builder: relax.BlockBuilder, w: Any) -> list[Any]:
        copied = builder.emit(builder.call_te(copy, w, primfunc_name_hint="opaque"))
        return [builder.emit(op.sum(copied))]

    with pytest.raises(ModelError, match="operator opaque has no gradient"):
        append_backward(relax_main({}, {"w": (4,)}, with_kernel), ["w"])


def test_forward_and_backward_are_grouped_like_any_graph() -> None:
    module = append_backward(_module(), ["a", "b"])
    grouped = grouping()(module)
    graph = read_graph(grouped)
    check_graph(graph)
    assert len(graph.outputs) == 4
    arrays = random_arrays(module)
    for plain, split in zip(
        compiled(module)(*arrays.values()), compiled(grouped)(*arrays.values()), strict=True
    ):
        np.testing.assert_array_equal(plain, split)
