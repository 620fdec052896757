"""Train the networks of `tests/training_models.py` with PyTorch and store what their losses were.

    python benchmarks/torch_losses.py tests/torch_losses.json

PyTorch (a CPU build does) and the packages of the tests have to be installed; nothing of
jointdnn_tvm is used. Everything is computed in float64 by an interpreter of ONNX nodes below.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

from tests.training_models import TASKS, Task

Values = dict[str, torch.Tensor]

OPTIMIZERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "sgd": lambda ws, lr: torch.optim.SGD(ws, lr),
    "momentum": lambda ws, lr: torch.optim.SGD(ws, lr, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda ws, lr: torch.optim.SGD(ws, lr, momentum=0.9, nesterov=True),
    "adam": lambda ws, lr: torch.optim.Adam(ws, lr, weight_decay=1e-2),
    "adamw": lambda ws, lr: torch.optim.AdamW(ws, lr, weight_decay=0.05),
}
RUNS: list[tuple[str, str, float, int, dict[str, Any]]] = [
    ("small_cnn", "sgd", 0.05, 50, {}),
    ("small_cnn", "momentum", 0.02, 50, {}),
    ("small_cnn", "nesterov", 0.02, 50, {}),
    ("small_cnn", "adam", 2e-3, 50, {}),
    ("small_cnn", "adamw", 2e-3, 50, {}),
    ("small_cnn", "momentum", 0.02, 50, {"batch_norm": "batch"}),
    ("small_cnn", "momentum", 0.02, 50, {"clip_norm": 0.5}),
    ("transformer", "momentum", 0.02, 50, {}),
    ("transformer", "adamw", 2e-3, 50, {}),
    ("transformer", "adamw", 2e-3, 50, {"clip_norm": 0.5}),
    ("ppocr_cls", "momentum", 3e-5, 20, {}),
    ("squeezenet", "sgd", 1e-3, 2, {}),
    ("bvlc_alexnet", "sgd", 1e-3, 2, {}),
]
"""Network, optimizer, learning rate, steps, and what is special."""


def main(path: Path) -> None:
    """Run everything and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_run(*run, Path(folder)) for run in RUNS]
    path.write_text(json.dumps({"torch": torch.__version__, "runs": runs}, indent=1) + "\n")


def _run(
    name: str, optimizer: str, rate: float, steps: int, options: dict[str, Any], folder: Path
) -> Any:
    task = TASKS[name]
    model = onnx.load(task.model(folder))
    values = _constants(model)
    statistics = {
        name
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[3:]
    }
    trained = {
        n: v.requires_grad_()
        for n, v in values.items()
        if v.is_floating_point() and v.ndim and v.numel() > 1 and n not in statistics
    }
    first = {n: v.detach().clone() for n, v in trained.items()}
    mover = OPTIMIZERS[optimizer](trained.values(), rate)
    losses = []
    for step in range(steps):
        losses.append(_step(task, model, values, mover, step, options))
    # Some biases have no gradient but for rounding, which Adam makes large.
    moved = {n: float((v.detach() - first[n]).norm()) for n, v in trained.items() if v.ndim > 1}
    print(name, optimizer, options, losses[0], losses[-1])
    return {
        "network": name,
        "optimizer": optimizer,
        "learning_rate": rate,
        "options": options,
        "losses": losses,
        "moved": moved,
        "statistics": (
            {n: values[n].tolist() for n in sorted(statistics)} if "batch_norm" in options else {}
        ),
    }


def _constants(model: onnx.ModelProto) -> Values:
    """Initializers and constant nodes, floats as float64."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "Constant":
            tensors[node.output[0]] = node.attribute[0].t
            model.graph.node.remove(node)
    arrays = {n: torch.from_numpy(numpy_helper.to_array(t).copy()) for n, t in tensors.items()}
    return {n: a.double() if a.is_floating_point() else a for n, a in arrays.items()}


def _step(
    task: Task,
    model: onnx.ModelProto,
    values: Values,
    mover: torch.optim.Optimizer,
    step: int,
    options: dict[str, Any],
) -> float:
    inputs, labels = (torch.from_numpy(array) for array in task.batch(step))
    feed = inputs if task.tokens else inputs.double()
    scores = _forward(model, {**values, task.input: feed}, values, "batch_norm" in options)
    loss = F.cross_entropy(scores, labels)
    mover.zero_grad()
    loss.backward()
    if "clip_norm" in options:
        ws = [w for group in mover.param_groups for w in group["params"]]
        torch.nn.utils.clip_grad_norm_(ws, options["clip_norm"])
    mover.step()
    return float(loss.detach())


def _forward(
    model: onnx.ModelProto, values: Values, state: Values, batch_norm: bool
) -> torch.Tensor:
    """The scores: what is given to a softmax at the end."""
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


_DTYPES = {1: torch.float64, 6: torch.int32, 7: torch.int64}
_OPERATORS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": lambda a, x: F.avg_pool2d(x, a["kernel_shape"], a["strides"]),
    "BatchNormalization": lambda a, x, scale, shift, mean, var: F.batch_norm(
        x, mean, var, scale, shift, False, 0.0, a["epsilon"]
    ),
    "Cast": lambda a, x: x.to(_DTYPES[a["to"]]),
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
    "Transpose": lambda a, x: x.permute(a["perm"]),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
