"""Groups are convex, complete, alike when they compute alike, and change no result."""

from __future__ import annotations

from collections import Counter
from typing import Any

import networkx as nx
import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from jointdnn_tvm.graph import Graph, Group
from jointdnn_tvm.network import load_network
from jointdnn_tvm.passes.attributes import GROUP, GROUP_KEY, OPERATORS
from jointdnn_tvm.passes.pipeline import grouping
from jointdnn_tvm.passes.read_graph import read_graph
from tests.networks import SHAPES, light_network, trained_network
from tests.tiny_models import Array, random_arrays, random_module, relax_main

op = relax.op


def graph_of(module: tvm.IRModule) -> Graph:
    return read_graph(grouping()(module))


def key_of(compute: Any, *shapes: tuple[int, ...], name: str = "x") -> str:
    """The key of the one group that `compute` makes of inputs with these shapes."""
    inputs = {f"{name}{i}": s for i, s in enumerate(shapes)}
    module = relax_main(inputs, {}, lambda builder, *xs: [builder.emit(compute(*xs))])
    (group,) = graph_of(module).groups
    return group.key


def run(module: tvm.IRModule, arrays: dict[str, Array]) -> list[Array]:
    """Run `main` as TVM compiles it by default."""
    executable = tvm.compile(module, tvm.target.Target({"kind": "llvm", "opt-level": 0}))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    results = machine["main"](*(tvm.runtime.tensor(a) for a in arrays.values()))
    return [r.numpy() for r in results]


def check_graph(graph: Graph) -> None:
    """Groups in an order in which they can run, and every tensor with all its users."""
    made = set(graph.inputs)
    for group in graph.groups:
        assert set(group.inputs) <= made
        assert not made & set(group.outputs)
        made |= set(group.outputs)
    assert set(graph.outputs) <= made
    assert [t.name for t in graph.tensors] == [
        *graph.inputs,
        *(o for g in graph.groups for o in g.outputs),
    ]
    for tensor in graph.tensors:
        users = [g.name for g in graph.groups if tensor.name in g.inputs]
        assert list(tensor.consumers) == users
        assert tensor.output == (tensor.name in graph.outputs)
        assert users or tensor.output or tensor.producer is None
    assert nx.is_directed_acyclic_graph(graph.to_networkx())


def test_expected_groups() -> None:
    @I.ir_module
    class Before:
        @R.function
        def main(x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 8), "float32")) -> R.Tuple(
            R.Tensor((2, 8), "float32"), R.Tensor((2, 8), "float32")
        ):
            R.func_attr({"num_input": 1})
            with R.dataflow():
                steep = R.sqrt(w)
                hidden = R.matmul(x, steep)
                positive = R.nn.relu(hidden)
                gate = R.nn.softmax(positive)
                product = R.multiply(positive, gate)
                gv = (product, positive)
                R.output(gv)
            return gv

    @I.ir_module
    class Expected:
        @R.function(private=True)
        def matmul_0(x0: R.Tensor((2, 8), "float32"), w0: R.Tensor((8, 8), "float32")) -> R.Tensor(
            (2, 8), "float32"
        ):
            R.func_attr({"num_input": 1})
            with R.dataflow():
                v = R.sqrt(w0)
                v1 = R.matmul(x0, v)
                v2 = R.nn.relu(v1)
                gv = v2
                R.output(gv)
            return gv

        @R.function(private=True)
        def softmax_1(x0: R.Tensor((2, 8), "float32")) -> R.Tensor((2, 8), "float32"):
            R.func_attr({"num_input": 1})
            with R.dataflow():
                v = R.nn.softmax(x0)
                v1 = R.multiply(x0, v)
                gv = v1
                R.output(gv)
            return gv

        @R.function
        def main(x: R.Tensor((2, 8), "float32"), w: R.Tensor((8, 8), "float32")) -> R.Tuple(
            R.Tensor((2, 8), "float32"), R.Tensor((2, 8), "float32")
        ):
            R.func_attr({"num_input": 1})
            cls = Expected
            with R.dataflow():
                matmul_0_out = cls.matmul_0(x, w)
                softmax_1_out = cls.softmax_1(matmul_0_out)
                gv = (softmax_1_out, matmul_0_out)
                R.output(gv)
            return gv

    after = grouping()(Before)
    names = {v.name_hint: f for v, f in after.functions.items()}
    assert list(names["matmul_0"].attrs[OPERATORS]) == ["sqrt", "matmul", "relu"]
    assert names["softmax_1"].attrs[GROUP] == "softmax_1"
    for var, function in after.functions.items():
        for attribute in (GROUP, GROUP_KEY, OPERATORS):
            if function.attrs and attribute in function.attrs:
                after[var] = after[var].without_attr(attribute)
    tvm.ir.assert_structural_equal(after, Expected)


@pytest.mark.parametrize("seed", range(40))
def test_random_groups_are_convex_and_hold_every_operator_once(seed: int) -> None:
    module = random_module(seed)
    graph = graph_of(module)
    check_graph(graph)
    live = relax.transform.DeadCodeElimination(["main"])(module)["main"]
    calls = [b.value for b in live.body.blocks[0].bindings if isinstance(b.value, relax.Call)]
    expected = Counter(str(c.op.name).split(".")[-1] for c in calls)
    grouped = Counter(o for g in graph.groups for o in g.operators)
    from_weights = {"tanh", "multiply", "sigmoid"}  # computed in each group that reads them
    assert grouped.keys() == expected.keys()
    for name, count in grouped.items():
        assert count == expected[name] or (name in from_weights and count > expected[name])


@pytest.mark.parametrize("seed", range(6))
def test_grouping_changes_no_result(seed: int) -> None:
    module = random_module(seed)
    arrays = random_arrays(module, seed)
    for found, expected in zip(run(grouping()(module), arrays), run(module, arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["pnet", "ppocr_rec", "densenet121", "shufflenet"])
def test_groups_of_real_networks(name: str, tmp_path: Any) -> None:
    light = name in ("densenet121", "shufflenet")
    path = light_network(name, tmp_path) if light else trained_network(name)
    network = load_network(path, SHAPES.get(name))
    check_graph(network.graph)
    assert sum(g.operators.count("conv2d") for g in network.graph.groups) == str(
        network.module.script()
    ).count("R.nn.conv2d(")
    read = {w for g in network.graph.groups for w in g.weights}
    assert read == set(network.weights)
    keys = {g.key for g in network.graph.groups}
    assert len(keys) < len(network.graph.groups) or name == "pnet"


def test_alike_groups_share_a_key_whatever_their_names() -> None:
    def relu(x: relax.Var) -> relax.Expr:
        return op.nn.relu(x)

    assert key_of(relu, (2, 8)) == key_of(relu, (2, 8), name="another")

    def body(builder: relax.BlockBuilder, x: relax.Var, *ws: relax.Var) -> list[relax.Expr]:
        for w in ws:
            x = builder.emit(op.nn.relu(builder.emit(op.matmul(x, w), "anything")))
        return [x]

    module = relax_main({"x": (2, 8)}, {"a": (8, 8), "b": (8, 8), "c": (8, 4)}, body)
    first, second, third = (g.key for g in graph_of(module).groups)
    assert first == second != third


def test_different_groups_have_different_keys() -> None:
    keys = [
        key_of(lambda x: op.nn.softmax(x, 1), (2, 8)),
        key_of(lambda x: op.nn.softmax(x, 0), (2, 8)),
        key_of(lambda x: op.nn.softmax(x, 1), (2, 9)),
        key_of(lambda x: op.nn.log_softmax(x, 1), (2, 8)),
        key_of(lambda x: op.add(x, relax.const(1.0)), (2, 8)),
        key_of(lambda x: op.add(x, relax.const(2.0)), (2, 8)),
        key_of(lambda x: op.add(x, relax.const(np.arange(8, dtype="float32"))), (2, 8)),
        key_of(lambda x: op.add(x, relax.const(np.arange(8, 0, -1).astype("float32"))), (2, 8)),
        key_of(lambda x: op.add(x, x), (2, 8)),
        key_of(lambda x, y: op.add(x, y), (2, 8), (2, 8)),
        key_of(lambda x, y: op.subtract(x, y), (2, 8), (2, 8)),
        key_of(lambda x, y: op.subtract(y, x), (2, 8), (2, 8)),
    ]
    assert len(set(keys)) == len(keys) - 1  # y - x reads its inputs in the other order: the same


def test_kernels_are_part_of_the_key() -> None:
    def module(bound: float) -> tvm.IRModule:
        @T.prim_func(private=True, s_tir=True)
        def kernel(x: T.Buffer((2, 8), "float32"), y: T.Buffer((2, 8), "float32")) -> None:
            for i, j in T.grid(2, 8):
                with T.sblock("block"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    y[vi, vj] = T.min(x[vi, vj], T.float32(bound))

        builder = relax.BlockBuilder()
        x = relax.Var("x", relax.TensorType((2, 8), "float32"))
        var = builder.add_func(kernel, "limit")
        with builder.function("main", [x], attrs={"num_input": 1}):
            with builder.dataflow():
                y = builder.emit(relax.call_tir(var, x, relax.TensorType((2, 8), "float32")))
                result = builder.emit_output(relax.Tuple([y]))
            builder.emit_func_output(result)
        return builder.get()

    groups: list[Group] = [graph_of(module(bound)).groups[0] for bound in (1.0, 1.0, 2.0)]
    assert groups[0].operators == ("limit",)
    assert groups[0].key == groups[1].key != groups[2].key
    x = np.linspace(-3, 3, 16, dtype="float32").reshape(2, 8)
    (found,) = run(grouping()(module(0.5)), {"x": x})
    np.testing.assert_array_equal(found, np.minimum(x, np.float32(0.5)))


X, W = {"x": (2, 8)}, {"w": (8, 8)}


def both(module: tvm.IRModule) -> tuple[Graph, list[Array], dict[str, Array]]:
    """The graph, the grouped module's results, and the arrays that it ran on."""
    grouped = grouping()(module)
    arrays = random_arrays(module)
    return read_graph(grouped), run(grouped, arrays), arrays


def test_what_needs_weights_alone_is_computed_in_every_group_that_reads_it() -> None:
    def body(builder: relax.BlockBuilder, x: relax.Var, w: relax.Var) -> list[relax.Expr]:
        steep = builder.emit(op.exp(builder.emit(op.negative(w))))
        return [builder.emit(op.matmul(x, steep)), builder.emit(op.matmul(op.nn.relu(x), steep))]

    graph, found, arrays = both(relax_main(X, W, body))
    assert [g.operators.count("exp") for g in graph.groups if "matmul" in g.operators] == [1, 1]
    assert all(g.weights == ("w",) for g in graph.groups if "matmul" in g.operators)
    np.testing.assert_allclose(found[0], arrays["x"] @ np.exp(-arrays["w"]), rtol=1e-5)


def test_output_that_is_an_input() -> None:
    graph, found, arrays = both(relax_main(X, W, lambda b, x, w: [x, b.emit(op.nn.relu(x)), x]))
    assert not any(t.output for t in graph.tensors if t.producer is None)
    np.testing.assert_array_equal(found[0], arrays["x"])
    np.testing.assert_array_equal(found[2], arrays["x"])


def test_output_that_is_a_weight_or_made_of_weights_or_a_constant() -> None:
    def body(builder: relax.BlockBuilder, x: relax.Var, w: relax.Var) -> list[relax.Expr]:
        small = builder.emit(op.exp(w))
        product = builder.emit(op.matmul(x, small))
        return [w, small, small, relax.const(np.arange(3, dtype="float32")), product]

    graph, found, arrays = both(relax_main(X, W, body))
    check_graph(graph)
    expected = [arrays["w"], np.exp(arrays["w"]), np.exp(arrays["w"]), np.arange(3)]
    for value, reference in zip(found, expected, strict=False):
        np.testing.assert_allclose(value, reference, rtol=1e-6)
    assert [len(g.outputs) for g in graph.groups] == [1] * len(graph.groups)


def test_output_used_twice_is_one_tensor() -> None:
    graph, found, _ = both(
        relax_main(X, W, lambda b, x, w: [y := b.emit(op.matmul(x, w)), b.emit(op.nn.relu(y)), y])
    )
    assert graph.outputs == ("matmul_0_out0", "matmul_0_out1", "matmul_0_out0")
    np.testing.assert_array_equal(found[0], found[2])


def test_tuples_never_cross_between_groups() -> None:
    def body(builder: relax.BlockBuilder, x: relax.Var, w: relax.Var) -> list[relax.Expr]:
        parts = builder.emit(op.split(x, 2, 1))
        left, right = (builder.emit(relax.TupleGetItem(parts, i)) for i in (0, 1))
        products = [
            builder.emit(op.matmul(p, op.strided_slice(w, [0], [0], [4]))) for p in (left, right)
        ]
        pair = builder.emit(relax.Tuple(products))
        swapped = builder.emit(
            relax.Tuple([builder.emit(relax.TupleGetItem(pair, i)) for i in (1, 0)])
        )
        return [builder.emit(op.concat(swapped, 1)), left]

    graph, found, arrays = both(relax_main(X, W, body))
    check_graph(graph)
    split = graph.groups[0]
    assert (split.operators, len(split.outputs)) == (("split",), 2)
    left, right = arrays["x"][:, :4], arrays["x"][:, 4:]
    upper = arrays["w"][:4]
    np.testing.assert_allclose(found[0], np.hstack([right @ upper, left @ upper]), rtol=1e-5)
    np.testing.assert_array_equal(found[1], left)


def test_names_that_groups_would_use_may_be_taken() -> None:
    def body(builder: relax.BlockBuilder, *xs: relax.Var) -> list[relax.Expr]:
        y = builder.emit(op.add(builder.emit(op.nn.relu(xs[0])), xs[2]))
        return [y, builder.emit(op.nn.softmax(xs[1]))]

    inputs = {"relu_0": (2, 8), "relu_0_out": (2, 8), "softmax_1_out0": (2, 8)}
    graph, found, arrays = both(relax_main(inputs, {"relu_0_": (2, 8)}, body))
    check_graph(graph)
    names = [t.name for t in graph.tensors] + [g.name for g in graph.groups] + ["relu_0_"]
    assert len(set(names)) == len(names)
    expected = np.maximum(arrays["relu_0"], 0) + arrays["softmax_1_out0"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def operators_of(module: tvm.IRModule) -> list[tuple[str, ...]]:
    return [group.operators for group in graph_of(module).groups]


def test_what_waits_goes_to_the_operator_that_reads_it() -> None:
    """A momentum and its gradient, which is made after it."""

    def body(b: relax.BlockBuilder, x: Any, v: Any) -> list[Any]:
        kept = b.emit(op.multiply(v, relax.const(0.9)))
        gradient = b.emit(op.matmul(x, x))
        return [b.emit(op.add(kept, gradient))]

    module = relax_main({"x": (4, 4), "v": (4, 4)}, {}, body)
    assert operators_of(module) == [("matmul", "multiply", "add")]
    arrays = random_arrays(module, 0)
    np.testing.assert_array_equal(run(grouping()(module), arrays)[0], run(module, arrays)[0])


def test_what_waits_for_an_anchor_or_for_nobody_has_a_group_of_its_own() -> None:
    def body(b: relax.BlockBuilder, x: Any, v: Any) -> list[Any]:
        positive = b.emit(op.nn.relu(b.emit(op.negative(x))))
        return [b.emit(op.matmul(positive, positive)), b.emit(op.abs(v))]

    module = relax_main({"x": (4, 4), "v": (4, 4)}, {}, body)
    assert operators_of(module) == [("negative", "relu"), ("matmul",), ("abs",)]


def test_operators_do_not_join_a_group_for_one_number() -> None:
    """Gradients that are scaled by the norm of all of them stay apart."""

    def body(b: relax.BlockBuilder, x: Any, y: Any) -> list[Any]:
        g, h = b.emit(op.matmul(x, y)), b.emit(op.matmul(y, x))
        scale = b.emit(op.sqrt(b.emit(op.sum(op.multiply(g, h)))))
        return [b.emit(op.multiply(value, scale)) for value in (g, h)]

    module = relax_main({"x": (4, 4), "y": (4, 4)}, {}, body)
    assert operators_of(module)[2:] == [("sum", "sqrt"), ("multiply",), ("multiply",)]


def test_transposition_for_products_goes_with_them() -> None:
    def body(b: relax.BlockBuilder, x: Any, y: Any) -> list[Any]:
        made = b.emit(op.nn.relu(b.emit(op.matmul(x, y))))
        turned, seen = b.emit(op.permute_dims(made)), b.emit(op.permute_dims(y, [1, 0]))
        both = b.emit(op.matmul(turned, seen))
        return [both, b.emit(op.matmul(x, turned)), seen]

    module = relax_main({"x": (4, 4), "y": (4, 4)}, {}, body)
    graph = graph_of(module)
    check_graph(graph)
    assert [group.operators for group in graph.groups] == [
        ("matmul", "relu"),
        ("permute_dims",),  # somebody else reads it too
        ("permute_dims", "matmul"),
        ("permute_dims", "matmul"),
    ]
    arrays = random_arrays(module, 0)
    for found, expected in zip(run(grouping()(module), arrays), run(module, arrays), strict=True):
        np.testing.assert_array_equal(found, expected)
