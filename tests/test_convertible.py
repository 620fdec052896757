from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.importer.convertible import is_convertible
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph


def convertible(op: str, dtype: type = np.float32, outputs: int = 1, **attributes: Any) -> bool:
    graph = OnnxGraph(inputs=["x"], outputs=[])
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph.types["x"] = helper.make_tensor_type_proto(element, (2, 3, 4))
    names = [f"y{i}" for i in range(outputs)]
    return is_convertible(Node(helper.make_node(op, ["x"], names, **attributes)), graph)


@pytest.mark.parametrize("op", ["Conv", "Relu", "Clip", "BitCast", "LayerNormalization", "Elu"])
def test_operators_with_a_converter(op: str) -> None:
    assert convertible(op)


@pytest.mark.parametrize("op", ["ConvInteger", "LSTM", "Attention", "NoSuch"])
def test_operators_without(op: str) -> None:
    assert not convertible(op)


def test_domains() -> None:
    assert convertible("FastGelu", domain="com.microsoft")
    assert convertible("Relu", domain="ai.onnx")
    assert not convertible("Relu", domain="own")


def test_cases_that_tvm_gets_wrong() -> None:
    assert not convertible("LayerNormalization", outputs=2)
    assert not convertible("Elu", np.float16)
    assert convertible("RMSNormalization", axis=2)
    assert not convertible("RMSNormalization", axis=1)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Dropout", ["x"], {}),  # those that drop nothing are gone before
        ("BatchNormalization", ["x", "s", "b", "m", "v"], {"training_mode": 1}),
        ("MaxUnpool", ["x", "i", "shape"], {"kernel_shape": [2, 2]}),
        ("NonMaxSuppression", ["x", "scores", "count"], {}),
        ("RoiAlign", ["x", "rois", "batch"], {"mode": "max"}),
    ],
)
def test_forms_that_tvm_gets_wrong(op: str, inputs: list[str], attributes: dict[str, Any]) -> None:
    graph = OnnxGraph(inputs=inputs, outputs=[])
    assert not is_convertible(Node(helper.make_node(op, inputs, ["y"], **attributes)), graph)


def test_like_forms_that_tvm_gets_right() -> None:
    graph = OnnxGraph(inputs=["x"], outputs=[])
    graph.set_constant("count", np.array([3]))
    for op, inputs in [
        ("BatchNormalization", ["x", "s", "b", "m", "v"]),
        ("MaxUnpool", ["x", "i"]),
        ("NonMaxSuppression", ["x", "scores", "count", "", "threshold"]),
        ("RoiAlign", ["x", "rois", "batch"]),
    ]:
        assert is_convertible(Node(helper.make_node(op, inputs, ["y"])), graph)


def test_unsigned_top_k() -> None:
    assert convertible("TopK", np.int32)
    assert not convertible("TopK", np.uint8)
