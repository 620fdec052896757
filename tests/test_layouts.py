from __future__ import annotations

import tvm
from tvm import relax

from jointdnn_tvm.passes.convert_layout import convert_layout
from jointdnn_tvm.passes.layouts import NHWC, Layouts, dims, has_static_shape, rank, size
from tests.onnx_models import calls

op = relax.op


def variable(name: str, *shape: int) -> relax.Var:
    return relax.Var(name, relax.TensorType(shape, "float32"))


def test_facts_of_a_tensor() -> None:
    x = variable("x", 2, 3)
    assert (rank(x), dims(x), size(x), has_static_shape(x)) == (2, [2, 3], 6, True)


def test_facts_of_a_tensor_of_unknown_shape() -> None:
    symbolic = relax.Var("x", relax.TensorType((tvm.tirx.Var("n", "int64"), 3), "float32"))
    unknown = relax.Var("x", relax.TensorType(dtype="float32", ndim=2))
    other = relax.Var("x", relax.ShapeType((2, 3)))
    assert [rank(v) for v in (symbolic, unknown, other)] == [2, 2, -1]
    assert not any(has_static_shape(v) for v in (symbolic, unknown, other))
    assert [size(v) for v in (symbolic, unknown, other)] == [0, 0, 0]


def test_one_transposition_for_all_users() -> None:
    x, w = variable("x", 1, 4, 6, 6), variable("w", 4, 4, 1, 1)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            convolved = [builder.emit(op.nn.conv2d(x, w)) for _ in range(3)]
            result = builder.emit_output(relax.Tuple(convolved))
        builder.emit_func_output(result)
    names = calls(convert_layout(builder.get()))
    assert names.count("relax.permute_dims") == 2 + 3  # x and w once, each result


def test_the_largest_operand_decides() -> None:
    x, y, w = variable("x", 1, 4, 6, 6), variable("y", 1, 4, 1, 6), variable("w", 4, 4, 1, 1)
    builder = relax.BlockBuilder()
    layouts = Layouts(builder, {w})
    assert layouts.preferred([x, y], 4) == (0, 1, 2, 3)
    with builder.function("main", [x, y, w]):
        with builder.dataflow():
            turned = builder.emit(op.permute_dims(x, list(NHWC)))
            result = builder.emit_output(turned)
        builder.emit_func_output(result)
    assert layouts.is_activation(y)
    assert not layouts.is_activation(w)
    assert not layouts.is_activation(relax.const(1.0))


def test_moving_dimensions_of_one_element_is_a_reshape() -> None:
    x, w = variable("x", 1, 1, 6, 6), variable("w", 1, 1, 3, 3)
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            value = builder.emit(op.nn.conv2d(x, w))
            result = builder.emit_output(relax.Tuple([value]))
        builder.emit_func_output(result)
    assert "relax.permute_dims" not in calls(convert_layout(builder.get()))
