from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.passes.fold_weights import INLINE_ELEMENTS, fold_weights
from tests.onnx_models import Array, calls, random_like, run_module

op = relax.op


def build(inputs: dict[str, Any], weights: dict[str, Any], body: Any) -> tvm.IRModule:
    """`main` over variables of these shapes; `body` emits and returns the results."""
    params = [
        relax.Var(name, relax.TensorType(shape, "float32"))
        for name, shape in {**inputs, **weights}.items()
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", params, attrs={"num_input": len(inputs)}):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple(body(builder, *params)))
        builder.emit_func_output(result)
    return builder.get()


def folded(
    module: tvm.IRModule, weights: dict[str, Array]
) -> tuple[tvm.IRModule, dict[str, Array]]:
    """Folds, and checks that parameters and weights agree and the answer is the same."""
    rng = np.random.default_rng(0)
    main = module["main"]
    inputs = [
        rng.standard_normal([int(d) for d in p.ty.shape]).astype(np.float32)
        for p in main.params[: int(main.attrs["num_input"])]
    ]
    before = run_module(module, [*inputs, *weights.values()])
    result, left = fold_weights(module, dict(weights))
    params = result["main"].params[len(inputs) :]
    assert [param.name for param in params] == list(left)
    assert [tuple(int(d) for d in p.ty.shape) for p in params] == [a.shape for a in left.values()]
    assert all(array.flags.c_contiguous for array in left.values())
    after = run_module(result, [*inputs, *left.values()])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    return result, left


def test_chain_of_rearrangements() -> None:
    weight = random_like((6, 4))
    module = build(
        {"x": (3, 4)},
        {"w": (6, 4)},
        lambda b, x, w: [
            b.emit(op.matmul(x, b.emit(op.reshape(b.emit(op.permute_dims(w)), (4, 6))))),
        ],
    )
    result, weights = folded(module, {"w": weight})
    assert calls(result) == ["relax.matmul"]
    (array,) = weights.values()
    np.testing.assert_array_equal(array, weight.T)


def test_same_rearrangement_of_one_weight_is_one_weight() -> None:
    module = build(
        {"x": (3, 4)},
        {"w": (6, 4)},
        lambda b, x, w: [
            b.emit(op.matmul(x, b.emit(op.permute_dims(w)))),
            b.emit(op.matmul(x, b.emit(op.permute_dims(w)))),
        ],
    )
    assert len(folded(module, {"w": random_like((6, 4))})[1]) == 1


def test_a_weight_used_both_ways_is_there_twice() -> None:
    module = build(
        {"x": (4, 4)},
        {"w": (4, 4)},
        lambda b, x, w: [b.emit(op.matmul(b.emit(op.matmul(x, w)), b.emit(op.permute_dims(w))))],
    )
    assert len(folded(module, {"w": random_like((4, 4))})[1]) == 2


def test_unused_weights_are_left_out() -> None:
    module = build({"x": (3,)}, {"w": (3,)}, lambda b, x, w: [b.emit(op.exp(x))])
    assert folded(module, {"w": random_like((3,))})[1] == {}


def test_large_constants_become_weights() -> None:
    large = relax.const(random_like((INLINE_ELEMENTS + 1,)))
    small = relax.const(random_like((INLINE_ELEMENTS,)))
    module = build(
        {"x": (1, INLINE_ELEMENTS + 1), "z": (1, INLINE_ELEMENTS)},
        {},
        lambda b, x, z: [
            b.emit(op.add(b.emit(op.multiply(x, large)), large)),
            b.emit(op.add(z, small)),
        ],
    )
    assert list(folded(module, {})[1]) == ["constant"]


def test_rearranged_small_constants_stay_constants() -> None:
    small = relax.const(random_like((4,)))
    module = build(
        {"x": (1, 4, 2, 2)},
        {},
        lambda b, x: [b.emit(op.add(x, b.emit(op.reshape(small, (1, 4, 1, 1)))))],
    )
    result, weights = folded(module, {})
    assert weights == {}
    assert calls(result) == ["relax.add"]


def test_names_differ() -> None:
    module = build(
        {"x": (4, 4)},
        {"w": (4, 4)},
        lambda b, x, w: [
            b.emit(op.matmul(x, b.emit(op.permute_dims(w), "a"))),
            b.emit(op.add(x, b.emit(op.reshape(w, (1, 4, 4)), "a"))),
        ],
    )
    assert len(folded(module, {"w": random_like((4, 4))})[1]) == 2


def test_weights_may_be_outputs() -> None:
    module = build({"x": (4,)}, {"w": (3, 3)}, lambda b, x, w: [b.emit(op.permute_dims(w)), x])
    folded(module, {"w": random_like((3, 3))})


def test_the_argument_is_emptied() -> None:
    module = build({"x": (4,)}, {"w": (4,)}, lambda b, x, w: [b.emit(op.add(x, w))])
    weights = {"w": random_like((4,))}
    fold_weights(module, weights)
    assert weights == {}
