"""Checks on a parsed model, of what TVM would accept without a word or die of."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from jointdnn_tvm.errors import ModelError

MAX_OPSET = onnx.defs.onnx_opset_version()


def domain(name: str) -> str:
    """The default domain has two spellings."""
    return "" if name == "ai.onnx" else name


def check_versions(model: onnx.ModelProto) -> None:
    """The operator set must be one that is known."""
    versions = [item.version for item in model.opset_import if domain(item.domain) == ""]
    if not versions:
        if all(domain(node.domain) for node in model.graph.node):
            return
        raise ModelError("the model does not say which operator set it uses; export it again")
    if not 1 <= versions[0] <= MAX_OPSET:
        raise ModelError(
            f"the model uses operator set {versions[0]}; known are 1 to {MAX_OPSET}: export it "
            f"with opset_version={min(MAX_OPSET, 17)}"
        )


def check_names(graph: onnx.GraphProto) -> None:
    """There is a node, and every value has one name and one source."""
    if not graph.node:
        raise ModelError("the graph has no node; export the model again")
    if graph.sparse_initializer:
        raise ModelError("sparse weights are not supported; export the model with dense ones")
    initializers = [tensor.name for tensor in graph.initializer]
    inputs = {item.name for item in graph.input}
    outputs = [name for node in graph.node for name in node.output if name]
    _check_unique("weight", initializers)
    _check_unique("input", (item.name for item in graph.input))
    _check_unique("output", (item.name for item in graph.output))
    _check_unique("value", [*outputs, *{*initializers, *inputs}])
    known = {*outputs, *initializers, *inputs}
    if not graph.output:
        raise ModelError("the graph has no output; export the model again")
    for item in graph.output:
        if item.name not in known:
            raise ModelError(f"output '{item.name}' is produced by no node; fix the model")


def _check_unique(kind: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ModelError(f"{kind} name '{name}' is used {count} times; names must be unique")
        if not name:
            raise ModelError(f"a {kind} of the graph has no name; fix the model")


def check_no_strings(graph: onnx.GraphProto) -> None:
    """Inputs and outputs are tensors of numbers."""
    initializers = {tensor.name for tensor in graph.initializer}
    for item in [*graph.input, *graph.output]:
        if item.name in initializers:
            continue
        if item.type.HasField("optional_type"):  # taken as given
            item.type.CopyFrom(onnx.TypeProto.FromString(_inside_optional(item)))
        kind = item.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            raise ModelError(
                f"'{item.name}' is a {str(kind).removesuffix('_type')}, not a tensor; export the "
                "model with tensors as inputs and outputs"
            )
        if item.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            raise ModelError(f"'{item.name}' holds text, which is not supported; remove it")


def _inside_optional(item: onnx.ValueInfoProto) -> bytes:
    return bytes(item.type.optional_type.elem_type.SerializeToString())


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Puts the nodes in an order in which every value is there before it is used."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waits: list[set[int]] = []
    users: dict[int, list[int]] = defaultdict(list)
    for index, node in enumerate(graph.node):
        sources = {producer[name] for name in used_names(node) if name in producer}
        waits.append(sources)
        for source in sources:
            users[source].append(index)
    ready = [index for index, sources in enumerate(waits) if not sources]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            waits[user].discard(index)
            if not waits[user]:
                heapq.heappush(ready, user)
    if len(order) < len(graph.node):
        stuck = next(node for node, sources in zip(graph.node, waits, strict=True) if sources)
        name = stuck.name or (stuck.output[0] if stuck.output else stuck.op_type)
        raise ModelError(f"the graph has a cycle through node '{name}'; fix the model")
    if order != sorted(order):
        nodes = [graph.node[index] for index in order]
        del graph.node[:]
        graph.node.extend(nodes)


def used_names(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node uses, in its subgraphs too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            defined = {tensor.name for tensor in graph.initializer}
            defined.update(item.name for item in graph.input)
            defined.update(name for inner in graph.node for name in inner.output)
            for inner in graph.node:
                yield from (name for name in used_names(inner) if name not in defined)
            yield from (item.name for item in graph.output if item.name not in defined)


def check_with_onnx(model: onnx.ModelProto, constants: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Runs the checker of the `onnx` package on the model without its weights.

    Types are not checked here: the import infers them node by node. (The checker's own full
    check rejects models whose outputs have no shape.)
    """
    graph = model.graph
    count = len(graph.input)
    for name, array in constants.items():
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(name, element, array.shape))
    for item in [*graph.input, *graph.output]:  # the checker wants a type, which is inferred anyway
        if not item.HasField("type"):
            item.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape"):
            item.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split("==> Context")[0].split())
        raise ModelError(f"the model is not valid ONNX: {reason.rstrip('.')}; fix it") from error
    finally:
        del graph.input[count:]
