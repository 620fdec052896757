"""An ONNX file as a network whose weights may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tvm

from jointdnn_tvm.importer.prune import prune
from jointdnn_tvm.importer.read_model import read_onnx_graph
from jointdnn_tvm.importer.simplify import simplify
from jointdnn_tvm.importer.to_relax import to_relax
from jointdnn_tvm.interrupts import let_interrupts_through
from jointdnn_tvm.network import TensorSpec, safe_stem, spec_of
from jointdnn_tvm.passes.convert_layout import convert_layout
from jointdnn_tvm.passes.fold_weights import fold_weights
from jointdnn_tvm.passes.main_function import with_num_input
from jointdnn_tvm.passes.store_weights import store_weights
from jointdnn_tvm.runtime.form import Form
from jointdnn_tvm.runtime.masks import DropoutMask
from jointdnn_tvm.training.batch_norm import TrainBatchNorm, freeze_batch_norm
from jointdnn_tvm.training.choose_weights import TrainedWeights, choose_weights
from jointdnn_tvm.training.dropout import MaskDropout

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StateTensor:
    """A parameter that changes while the network is trained."""

    name: str
    """Of the parameter of `main`."""
    source: str
    """Of the weight in the file."""
    form: Form


@dataclass(frozen=True)
class Trainable:
    """The forward pass of a network over weights that change.

    `module` has one function, `main`, as a `Network` has. Its parameters are the inputs, the
    dropout masks, the trained weights, the running statistics, all these counted by `num_input`,
    and then the weights that stay. Its results are the outputs, then the new running statistics.
    """

    name: str
    module: tvm.IRModule
    weights: dict[str, Array]
    """Values of all parameters after the masks, as they are stored."""
    inputs: tuple[TensorSpec, ...]
    masks: tuple[DropoutMask, ...]
    outputs: tuple[TensorSpec, ...]
    trained: tuple[StateTensor, ...]
    statistics: tuple[StateTensor, ...]


def load_trainable(
    path: str | PathLike[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    batch: int = 1,
    trained: TrainedWeights | None = None,
    batch_norm: Literal["frozen", "batch"] = "frozen",
    dropout: bool = False,
) -> Trainable:
    """Imports an ONNX file to train it.

    Args:
        path: the `.onnx` file.
        shapes: shapes of inputs that the file leaves open; the first dimension is the batch.
        batch: the first dimension where it is left open and not in `shapes`.
        trained: which weights are trained; by default all that can be.
        batch_norm: whether batch normalisations use the running statistics, which stay as they
            are, or those of the batch, which the running ones then follow.
        dropout: whether dropouts in the file drop.

    Raises:
        ModelError: the file cannot be read, checked or imported, or has nothing to train.
    """
    let_interrupts_through()
    path = Path(path)
    graph = read_onnx_graph(path, shapes or {}, batch)
    names, inputs = list(graph.outputs), list(graph.inputs)
    prune(graph)
    weights = choose_weights(graph, trained or TrainedWeights())
    values = {name: graph.constants.pop(name) for name in weights}
    masks, batches = MaskDropout(), TrainBatchNorm()
    simplify(
        graph,
        [
            *([masks] if dropout else []),
            batches if batch_norm == "batch" else freeze_batch_norm,
        ],
    )
    values |= batches.statistics
    specs = tuple(spec_of(name, name, graph) for name in inputs)
    results = graph.outputs[: len(names)]
    outputs = tuple(spec_of(n, v, graph) for n, v in zip(names, results, strict=True))
    given = [*inputs, *(mask.name for mask in masks.masks)]
    graph.inputs = [*given, *values]
    module, kept = to_relax(graph)
    del graph
    params = [param.name for param in module["main"].params[len(given) : len(given) + len(values)]]
    module, forms = store_weights(convert_layout(with_num_input(module, len(given))), params)
    module, kept = fold_weights(with_num_input(module, len(given) + len(values)), kept)
    state = [
        StateTensor(param, source, forms[param])
        for param, source in zip(params, values, strict=True)
    ]
    stored = {tensor.name: tensor.form.of(values.pop(tensor.source)) for tensor in state}
    return Trainable(
        name=safe_stem(path),
        module=module,
        weights=stored | kept,
        inputs=specs,
        masks=tuple(masks.masks),
        outputs=outputs,
        trained=tuple(state[: len(weights)]),
        statistics=tuple(state[len(weights) :]),
    )
