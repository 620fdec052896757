from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm
from onnx import helper
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.to_relax import to_relax
from tests.onnx_models import calls, make_model, random_like, simplified


def converted(model: onnx.ModelProto, folder: Path) -> tuple[tvm.IRModule, dict[str, np.ndarray]]:
    return to_relax(simplified(model, folder))


def test_parameters_and_result(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    weight = random_like((30, 40))
    model = make_model(nodes, {"x": (2, 30)}, ["y"], {"w": weight})
    module, weights = converted(model, tmp_path)
    main = module["main"]
    assert [param.name for param in main.params] == ["x", "w"]
    assert int(main.attrs["num_input"]) == 1
    assert list(weights) == ["w"]
    np.testing.assert_array_equal(weights["w"], weight)
    assert len(main.body.blocks) == 1
    assert isinstance(main.body.blocks[0], relax.DataflowBlock)
    assert isinstance(main.ret_ty, relax.TupleType)
    assert calls(module) == ["relax.matmul", "relax.nn.relu"]


def test_names_are_safe_and_differ(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["in/put:0", "0weight"], ["a.b"]),
        helper.make_node("Relu", ["a.b"], ["a/b"]),
        helper.make_node("Neg", ["a/b"], ["a_b"]),
    ]
    model = make_model(nodes, {"in/put:0": (70,)}, ["a_b"], {"0weight": random_like((70,))})
    module, weights = converted(model, tmp_path)
    main = module["main"]
    names = [param.name for param in main.params]
    names += [binding.var.name for binding in main.body.blocks[0].bindings]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)
    assert len(set(names)) == len(names)
    assert list(weights) == ["v0weight"]


def test_a_weight_of_two_users_is_one_parameter(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "w"], ["y"])]
    model = make_model(nodes, {"x": (70,)}, ["y"], {"w": random_like((70,))})
    assert len(converted(model, tmp_path)[1]) == 1


def test_all_unsupported_operators_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonsenseA", ["x"], ["a"], domain="own"),
        helper.make_node("Det", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("NonsenseB", ["c"], ["y"], domain="own"),
    ]
    model = make_model(nodes, {"x": (2, 2)}, ["y"], domains=["own"])
    with pytest.raises(ModelError, match=r"operators Det, own\.NonsenseA, own\.NonsenseB cannot"):
        converted(model, tmp_path)


def test_failure_names_the_node_and_leaves_stderr_clean(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], name="up")
    model = make_model([node], {"x": (1, 2, 3, 3), "scales": (4,)}, ["y"])
    with pytest.raises(ModelError, match=r"node 'up' \(Resize\) cannot be imported: [^\n]*$"):
        converted(model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_outputs_that_tvm_does_not_give(tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])
    model = make_model([node], {"x": (1, 2, 4, 4)}, ["y", "places"])
    with pytest.raises(ModelError, match="its output 1 is not supported"):
        converted(model, tmp_path)


def test_shapes_that_depend_on_the_data(tmp_path: Path) -> None:
    node = helper.make_node("Range", ["a", "b", "c"], ["y"])
    model = make_model([node], {"a": (), "b": (), "c": ()}, ["y"])
    with pytest.raises(ModelError, match="depends on the data"):
        converted(model, tmp_path)


def test_output_may_be_a_constant(tmp_path: Path) -> None:
    node = helper.make_node("Shape", ["x"], ["y"])
    module, _ = converted(make_model([node], {"x": (2, 3)}, ["y"]), tmp_path)
    (result,) = module["main"].body.blocks[0].bindings
    np.testing.assert_array_equal(result.value[0].value.numpy(), [2, 3])


def test_dropout_in_training_mode(tmp_path: Path) -> None:
    node = helper.make_node("Dropout", ["x", "", "training"], ["y"], name="drop")
    model = make_model([node], {"x": (2, 3)}, ["y"], {"training": np.array(True)})
    told = r"node 'drop' \(Dropout\) is in training mode; export the model for inference"
    with pytest.raises(ModelError, match=told):
        converted(model, tmp_path)
