from __future__ import annotations

from typing import Any

import pytest
from tvm import relax

from jointdnn_tvm.passes.convert_layout import convert_layout
from tests.onnx_models import calls

op = relax.op
nn = op.nn


def converted(body: Any, shape: tuple[int, ...] = (1, 4, 6, 6)) -> list[Any]:
    """The calls of a function of x and of a kernel of one pixel."""
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    w = relax.Var("w", relax.TensorType((4, 4, 1, 1), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w], attrs={"num_input": 1}):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple([builder.emit(body(x, w))]))
        builder.emit_func_output(result)
    module = convert_layout(builder.get())
    values = [binding.value for binding in module["main"].body.blocks[0].bindings]
    assert len(calls(module)) == len(values) - 1
    return values[:-1]


def test_convolution_takes_all_its_attributes_along() -> None:
    def body(x: Any, w: Any) -> Any:
        options = {"strides": (2, 1), "padding": (1, 2, 3, 4), "dilation": (1, 2)}
        return nn.conv2d(x, w, out_dtype="float32", **options)

    (conv,) = (call for call in converted(body) if call.op.name == "relax.nn.conv2d")
    assert list(conv.attrs.strides) == [2, 1]
    assert list(conv.attrs.padding) == [1, 2, 3, 4]
    assert list(conv.attrs.dilation) == [1, 2]
    assert (conv.attrs.data_layout, conv.attrs.kernel_layout) == ("NHWC", "HWIO")
    assert conv.attrs.out_dtype == "float32"


POOLS = {
    "max": lambda x: nn.max_pool2d(x, (2, 3), (2, 1), (1, 0, 0, 1), (1, 2), True),
    "avg": lambda x: nn.avg_pool2d(x, (2, 3), (2, 1), (1, 0, 0, 1), (1, 1), False, True),
    "resize": lambda x: op.image.resize2d(x, (3, 9), method="linear"),
}


@pytest.mark.parametrize("name", POOLS)
def test_window_after_a_convolution(name: str) -> None:
    values = converted(lambda x, w: POOLS[name](nn.conv2d(x, w)))
    assert [value.attrs.layout for value in values if hasattr(value.attrs, "layout")] == ["NHWC"]


@pytest.mark.parametrize("name", POOLS)
def test_window_of_an_image_stays(name: str) -> None:
    (value,) = converted(lambda x, _w: POOLS[name](x))
    assert value.attrs.layout == "NCHW"


def test_other_layouts_stay() -> None:
    def body(x: Any, w: Any) -> Any:
        return nn.conv2d(x, w, data_layout="NHWC", kernel_layout="OHWI")

    (value,) = converted(body, (1, 6, 6, 1))[-1:]
    assert value.attrs.kernel_layout == "OHWI"
