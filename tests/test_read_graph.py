"""The plain-data graph of grouped modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import tvm
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.graph import Tensor
from jointdnn_tvm.network import load_network
from jointdnn_tvm.passes.attributes import PLACEMENT
from jointdnn_tvm.passes.pipeline import grouping
from jointdnn_tvm.passes.read_graph import read_graph, read_placement
from tests.tiny_models import branching_model, relax_main

op = relax.op


def test_groups_and_tensors() -> None:
    def body(builder: relax.BlockBuilder, *params: relax.Var) -> list[relax.Expr]:
        x, y, _unused, w = params
        parts = builder.emit(op.split(x, 2, 1))
        left, right = (builder.emit(relax.TupleGetItem(parts, i)) for i in (0, 1))
        product = builder.emit(op.matmul(left, w))
        total = builder.emit(op.add(product, y))
        return [total, right]

    module = relax_main({"x": (2, 8), "y": (2, 3), "unused": (5,)}, {"w": (4, 3)}, body)
    graph = read_graph(grouping()(module))
    split, matmul = graph.groups
    assert (split.operators, split.inputs, split.weights) == (("split",), ("x",), ())
    assert (matmul.operators, matmul.weights, matmul.weight_bytes) == (
        ("matmul", "add"),
        ("w",),
        48,
    )
    assert matmul.inputs == ("split_0_out0", "y")
    assert graph.inputs == ("x", "y", "unused")
    assert graph.outputs == ("matmul_1_out", "split_0_out1")
    assert graph.tensors == (
        Tensor("x", (2, 8), "float32", None, ("split_0",)),
        Tensor("y", (2, 3), "float32", None, ("matmul_1",)),
        Tensor("unused", (5,), "float32", None, ()),
        Tensor("split_0_out0", (2, 4), "float32", "split_0", ("matmul_1",)),
        Tensor("split_0_out1", (2, 4), "float32", "split_0", (), output=True),
        Tensor("matmul_1_out", (2, 3), "float32", "matmul_1", (), output=True),
    )


def test_weight_bytes_are_those_of_the_arrays(tmp_path: Path) -> None:
    network = load_network(branching_model(tmp_path))
    assert any(g.weight_bytes for g in network.graph.groups)
    for group in network.graph.groups:
        assert group.weight_bytes == sum(network.weights[w].nbytes for w in group.weights)


def test_placement_is_read_from_the_groups_that_carry_one() -> None:
    module = grouping()(relax_main({"x": (2, 8)}, {}, lambda b, x: [b.emit(op.nn.softmax(x))]))
    assert read_placement(module) == {}
    var = module.get_global_var("softmax_0")
    placed = module[var].with_attr(PLACEMENT, "cloud")
    assert read_placement(tvm.IRModule({**dict(module.functions), var: placed})) == {
        "softmax_0": "cloud"
    }


def test_shape_that_depends_on_the_data_is_a_clear_error() -> None:
    module = relax_main({"x": (3, 4)}, {}, lambda b, x: [b.emit(op.nonzero(x))])
    grouped = grouping()(module)
    with pytest.raises(ModelError, match=r"shape that depends on the data.*fixed shapes"):
        read_graph(grouped)
