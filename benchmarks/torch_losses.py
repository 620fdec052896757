"""Train the networks of `tests/training_models.py` with PyTorch and store what their losses were.

    python benchmarks/torch_losses.py tests/torch_losses.json

PyTorch (a CPU build does) and the packages of the tests have to be installed; nothing of
jointdnn_tvm is used. Everything is computed in float64.
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
from torch.nn import functional as F
from torch_network import Values, scores_of, statistics_of, take_constants, trainable

from tests.training_models import TASKS, Task

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
    torch.set_default_dtype(torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        runs = [_run(*run, Path(folder)) for run in RUNS]
    path.write_text(json.dumps({"torch": torch.__version__, "runs": runs}, indent=1) + "\n")


def _run(
    name: str, optimizer: str, rate: float, steps: int, options: dict[str, Any], folder: Path
) -> Any:
    task = TASKS[name]
    model = onnx.load(task.model(folder))
    values = take_constants(model)
    trained = {n: v.requires_grad_() for n, v in trainable(model, values).items()}
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
            {n: values[n].tolist() for n in statistics_of(model)} if "batch_norm" in options else {}
        ),
    }


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
    given = {**values, task.input: feed}
    scores = scores_of(model, given, values, "batch_norm" in options)
    loss = F.cross_entropy(scores, labels)
    mover.zero_grad()
    loss.backward()
    if "clip_norm" in options:
        ws = [w for group in mover.param_groups for w in group["params"]]
        torch.nn.utils.clip_grad_norm_(ws, options["clip_norm"])
    mover.step()
    return float(loss.detach())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
