"""ONNX nodes by PyTorch, one after the other: to train a network as PyTorch does.

Nothing of jointdnn_tvm is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

Values = dict[str, torch.Tensor]


def take_constants(model: onnx.ModelProto) -> Values:
    """Initializers and constant nodes, which leave the model, floats in torch's default dtype."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "Constant":
            tensors[node.output[0]] = node.attribute[0].t
            model.graph.node.remove(node)
    arrays = {n: torch.from_numpy(numpy_helper.to_array(t).copy()) for n, t in tensors.items()}
    dtype = torch.get_default_dtype()
    return {n: a.to(dtype) if a.is_floating_point() else a for n, a in arrays.items()}


def trainable(model: onnx.ModelProto, values: Values) -> Values:
    """The weights among the constants."""
    statistics = set(statistics_of(model))
    return {
        n: v
        for n, v in values.items()
        if v.is_floating_point() and v.ndim and v.numel() > 1 and n not in statistics
    }


def statistics_of(model: onnx.ModelProto) -> list[str]:
    """Running means and variances."""
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    return sorted({name for node in norms for name in node.input[3:]})


def scores_of(
    model: onnx.ModelProto, values: Values, state: Values, batch_norm: bool = False
) -> torch.Tensor:
    """What is given to a softmax at the end, of a model without constants, and its inputs.

    With `batch_norm`, normalisations go by the batch, and running statistics in `state` follow.
    """
    nodes = list(model.graph.node)
    last = model.graph.output[0].name
    while nodes[-1].op_type in ("Identity", "Softmax"):
        last = nodes.pop().input[0]
    for node in nodes:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        operands = [values[name] for name in node.input]
        if node.op_type == "BatchNormalization" and batch_norm:
            results = [_batch_norm(operands, attributes, list(node.input[3:]), state)]
        elif node.op_type == "Split":
            parts = attributes["num_outputs"]
            results = list(operands[0].chunk(parts, attributes["axis"]))
        else:
            results = [_OPERATORS[node.op_type](attributes, *operands)]
        values.update(zip(node.output, results, strict=False))
    return values[last]


def _batch_norm(
    operands: list[torch.Tensor], attributes: dict[str, Any], names: list[str], state: Values
) -> torch.Tensor:
    """By the batch; running statistics as ONNX has them."""
    x, scale, shift, *running = operands
    axes = [axis for axis in range(x.ndim) if axis != 1]
    batch = x.detach().mean(axes), x.detach().var(axes, unbiased=False)
    kept = attributes["momentum"]
    for name, old, new in zip(names, running, batch, strict=True):
        state[name] = old * kept + new * (1 - kept)
    return F.batch_norm(x, None, None, scale, shift, True, 0.0, attributes["epsilon"])


def _conv(a: dict[str, Any], x: torch.Tensor, w: torch.Tensor, b: Any = None) -> torch.Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    return F.conv2d(
        F.pad(x, (left, right, top, bottom)),
        w,
        b,
        stride=a.get("strides", [1, 1]),
        dilation=a.get("dilations", [1, 1]),
        groups=a.get("group", 1),
    )


def _max_pool(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    padded = F.pad(x, (left, right, top, bottom), value=-torch.inf)
    return F.max_pool2d(padded, a["kernel_shape"], a.get("strides", [1, 1]))


def _lrn(a: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    return F.local_response_norm(x, a["size"], a["alpha"], a["beta"], a.get("bias", 1.0))


def _gemm(a: dict[str, Any], x: torch.Tensor, w: torch.Tensor, b: Any = 0.0) -> torch.Tensor:
    return x @ (w.T if a.get("transB", 0) else w) + b


_DTYPES = {6: torch.int32, 7: torch.int64}
_OPERATORS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": lambda a, x: F.avg_pool2d(x, a["kernel_shape"], a["strides"]),
    "BatchNormalization": lambda a, x, scale, shift, mean, var: F.batch_norm(
        x, mean, var, scale, shift, False, 0.0, a["epsilon"]
    ),
    "Cast": lambda a, x: x.to(_DTYPES.get(a["to"], torch.get_default_dtype())),
    "Clip": lambda a, x, low, high: x.clamp(low.item(), high.item()),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Div": lambda a, x, y: x / y,
    "Dropout": lambda a, x: x,
    "Erf": lambda a, x: torch.erf(x),
    "Flatten": lambda a, x: x.flatten(1),
    "Gather": lambda a, x, i: x[i],
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": lambda a, x: (a["alpha"] * x + a["beta"]).clamp(0, 1),
    "LRN": _lrn,
    "LayerNormalization": lambda a, x, scale, shift: F.layer_norm(
        x, scale.shape, scale, shift, a["epsilon"]
    ),
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "ReduceMean": lambda a, x, axes: x.mean(axes.tolist(), keepdim=bool(a["keepdims"])),
    "Relu": lambda a, x: x.relu(),
    "Reshape": lambda a, x, shape: x.reshape(shape.tolist()),
    "Shape": lambda a, x: torch.tensor(x.shape),
    "Slice": lambda a, x, start, end, axes, steps: x[int(start) : int(end)],
    "Softmax": lambda a, x: x.softmax(a["axis"]),
    "Squeeze": lambda a, x, axes: x.squeeze(int(axes)),
    "Sum": lambda a, *xs: sum(xs[1:], xs[0]),
    "Transpose": lambda a, x: x.permute(a["perm"]),
}
