"""Which weights of a network are trained: by rule, then by the user's filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph

_LAYERS = {"Conv": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1), "Gather": (0,)}
"""Operators that begin a layer, and the places of their weights."""

_OTHERS = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "Mul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
}
"""Operators that belong to the layer before them."""

_VIEWS = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that hand a weight on."""

_BIASES = {"Add": (0, 1), "Conv": (2,), "Gemm": (2,)}
_SHIFTS = {name: (2,) for name in _OTHERS if name.endswith("Normalization")}


@dataclass(frozen=True)
class TrainedWeights:
    """A filter. By default all weights that the rule finds are trained.

    The rule: float constants with an element for each channel or connection that convolutions,
    matrix products, embeddings, normalisations, additions and multiplications read; not the
    running statistics of batch normalisations.
    """

    last_layers: int | None = None
    """Only those of so many last layers, counted in the order of the file."""
    biases_only: bool = False
    """Only what is added: of layers and of normalisations."""
    names: tuple[str, ...] = ()
    """Only those whose names match one of these shell patterns."""


@dataclass(frozen=True)
class _Found:
    name: str
    layer: int
    is_bias: bool


def choose_weights(graph: OnnxGraph, chosen: TrainedWeights) -> list[str]:
    """The constants to train, in the order in which they are used first.

    Raises:
        ModelError: there are none, or a pattern fits none.
    """
    found = _weights(graph)
    if not found:
        raise ModelError("the network has no weight that could be trained: all of it is fixed")
    for pattern in chosen.names:
        if not any(fnmatchcase(weight.name, pattern) for weight in found):
            names = [weight.name for weight in found]
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise ModelError(
                f"no trainable weight is named '{pattern}'; the network's {len(names)} are {shown}"
            )
    last = max(weight.layer for weight in found)
    first = 0 if chosen.last_layers is None else last - chosen.last_layers + 1
    kept = [
        weight.name
        for weight in found
        if weight.layer >= first
        and (weight.is_bias or not chosen.biases_only)
        and (not chosen.names or any(fnmatchcase(weight.name, p) for p in chosen.names))
    ]
    if not kept:
        raise ModelError(
            f"no weight is left to train: of {len(found)} none fits all of the filters; "
            "drop one of them"
        )
    return kept


def _weights(graph: OnnxGraph) -> list[_Found]:
    found: dict[str, _Found] = {}
    views: dict[str, str] = {}
    layer = 0
    for node in graph.nodes:
        if node.op in _VIEWS:
            source = views.get(node.input(0), node.input(0))
            views.update((name, source) for name in node.outputs if source in graph.constants)
        names = _weights_of(node, graph, views)
        layer += bool(names) and node.op in _LAYERS
        for place, name in names:
            is_bias = place in (*_BIASES.get(node.op, ()), *_SHIFTS.get(node.op, ()))
            found.setdefault(name, _Found(name, layer, is_bias))
    return list(found.values())


def _weights_of(
    node: Node, graph: OnnxGraph, views: Mapping[str, str]
) -> Sequence[tuple[int, str]]:
    places = () if node.domain else (_LAYERS | _OTHERS).get(node.op, ())
    names = [(place, views.get(node.input(place), node.input(place))) for place in places]
    # A single number is a setting of the network, unless an operator calls it a parameter.
    least = 2 if node.op in ("Add", "Gather", "MatMul", "Mul") else 1
    return [(place, name) for place, name in names if _is_weight(name, least, graph)]


def _is_weight(name: str, least: int, graph: OnnxGraph) -> bool:
    array = graph.constants.get(name)
    return array is not None and array.dtype.kind == "f" and array.size >= least and array.ndim > 0
