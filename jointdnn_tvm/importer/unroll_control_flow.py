"""Branches and loops that are known in advance become plain nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.check_model import used_names
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph, make_node
from jointdnn_tvm.importer.read_tensors import take_constant

MAX_STEPS = 512
"""A loop or a recurrent layer of more steps than this is not unrolled: the module would be huge."""


def check_steps(count: int, node: Node) -> None:
    """Refuses to unroll too much.

    Raises:
        ModelError: there are more than `MAX_STEPS` steps.
    """
    if count > MAX_STEPS:
        raise ModelError(
            f"{node.describe()} takes {count} steps, more than the {MAX_STEPS} that are unrolled; "
            "give a shorter sequence with --shape"
        )


def unroll_control_flow(node: Node, graph: OnnxGraph) -> list[Node] | None:
    """`If`, computed on both sides when it has to be; `Loop` and `Scan` of a known length."""
    match node.op:
        case "If":
            return _choose(node, graph)
        case "Loop":
            return _unroll_loop(node, graph)
        case "Scan":
            return _unroll_scan(node, graph)
    return None


def _choose(node: Node, graph: OnnxGraph) -> list[Node] | None:
    then, other = node.attribute("then_branch"), node.attribute("else_branch")
    if node.input(0) in graph.constants:
        branch = then if graph.constants[node.input(0)].all() else other
        nodes, results = inline(branch, [], graph, node.opset)
        return nodes + _bind(results, node.outputs)
    # Both branches are computed: they have no effects, and one answer is picked.
    nodes, names = [], []
    for branch in (then, other):
        inner, results = inline(branch, [], graph, node.opset)
        nodes += inner
        names.append(results)
    for output, left, right in zip(node.outputs, *names, strict=True):
        if output:
            nodes.append(make_node("Where", [node.input(0), left, right], [output]))
    return nodes


def _unroll_loop(node: Node, graph: OnnxGraph) -> list[Node] | None:
    body: onnx.GraphProto = node.attribute("body")
    trips, keep_going = node.input(0), node.input(1)
    condition = graph.constants.get(keep_going, np.array(not keep_going))
    if trips not in graph.constants or (keep_going and keep_going not in graph.constants):
        return None
    count = int(graph.constants[trips].item()) if condition.all() else 0
    if not _runs_on(body, graph):
        return None
    check_steps(count, node)
    state = node.inputs[2:]
    scanned: list[list[str]] = [[] for _ in body.output[1 + len(state) :]]
    nodes: list[Node] = []
    for step in range(count):
        index = graph.constant(np.array(step, np.int64))
        always = graph.constant(np.array(True))
        inner, results = inline(body, [index, always, *state], graph, node.opset)
        nodes += inner
        state = results[1 : 1 + len(state)]
        for rows, name in zip(scanned, results[1 + len(state) :], strict=True):
            rows.append(name)
    if not count and any(node.outputs[len(state) :]):
        return None
    nodes += _bind(state, node.outputs[: len(state)])
    for rows, output in zip(scanned, node.outputs[len(state) :], strict=False):
        if output:
            nodes += _stack(rows, output, 0, graph)
    return nodes


def _runs_on(body: onnx.GraphProto, graph: OnnxGraph) -> bool:
    """Whether the loop's own condition is plainly always true."""
    condition = body.output[0].name
    if len(body.input) > 1 and condition == body.input[1].name:
        return True
    source = next((n for n in body.node if condition in n.output), None)
    if source is None:
        found = [t for t in body.initializer if t.name == condition]
        return bool(found) and bool(take_constant(found[0]).all())
    if source.op_type == "Identity":
        return bool(source.input[0] == body.input[1].name)
    if source.op_type == "Constant":
        return bool(take_constant(source.attribute[0].t).all())
    return False


def _unroll_scan(node: Node, graph: OnnxGraph) -> list[Node] | None:
    body: onnx.GraphProto = node.attribute("body")
    scans = node.attribute("num_scan_inputs")
    if node.opset < 9 or any(node.attribute(a) for a in ("scan_input_axes", "scan_output_axes")):
        return None
    if any(node.attribute(a) for a in ("scan_input_directions", "scan_output_directions")):
        return None
    state, sequences = node.inputs[:-scans], node.inputs[-scans:]
    shapes = [graph.shape(name) for name in sequences]
    if any(shape is None for shape in shapes):
        return None
    count = shapes[0][0] if shapes[0] else 0
    check_steps(count, node)
    scanned: list[list[str]] = [[] for _ in body.output[len(state) :]]
    nodes: list[Node] = []
    for step in range(count):
        rows = []
        for name in sequences:
            rows.append(graph.fresh(name))
            index = graph.constant(np.array(step, np.int64))
            nodes.append(make_node("Gather", [name, index], [rows[-1]], axis=0))
        inner, results = inline(body, [*state, *rows], graph, node.opset)
        nodes += inner
        state = results[: len(state)]
        for collected, name in zip(scanned, results[len(state) :], strict=True):
            collected.append(name)
    nodes += _bind(state, node.outputs[: len(state)])
    for collected, output in zip(scanned, node.outputs[len(state) :], strict=False):
        if output:
            nodes += _stack(collected, output, 0, graph)
    return nodes


def inline(
    body: onnx.GraphProto, arguments: list[str], graph: OnnxGraph, opset: int
) -> tuple[list[Node], list[str]]:
    """A copy of a subgraph's nodes between these values, and the names of its results."""
    prefix = graph.fresh("body")
    names = dict(zip((item.name for item in body.input), arguments, strict=True))
    for tensor in body.initializer:
        names[tensor.name] = f"{prefix}.{tensor.name}"
        graph.set_constant(names[tensor.name], take_constant(tensor))
    for inner in body.node:
        names.update((name, f"{prefix}.{name}") for name in inner.output if name)
    nodes = []
    for inner in body.node:
        proto = onnx.NodeProto()
        proto.CopyFrom(inner)
        rename_node(proto, names)
        nodes.append(Node(proto, opset))
    return nodes, [names.get(item.name, item.name) for item in body.output]


def rename_node(proto: onnx.NodeProto, names: dict[str, str]) -> None:
    """Renames what a node uses and produces, and what its subgraphs use from outside."""
    proto.input[:] = [names.get(name, name) for name in proto.input]
    proto.output[:] = [names.get(name, name) for name in proto.output]
    for attribute in proto.attribute:
        if attribute.HasField("g"):
            outer = set(used_names(proto))
            inside = {name: new for name, new in names.items() if name in outer}
            for inner in attribute.g.node:
                rename_node(inner, inside)
            for item in attribute.g.output:
                item.name = inside.get(item.name, item.name)


def _bind(values: list[str], outputs: list[str]) -> list[Node]:
    return [
        make_node("Identity", [value], [output])
        for value, output in zip(values, outputs, strict=False)
        if output
    ]


def _stack(rows: list[str], output: str, axis: int, graph: OnnxGraph) -> list[Node]:
    where: Any = graph.constant(np.array([axis], np.int64))
    lifted = [graph.fresh(row) for row in rows]
    nodes = [make_node("Unsqueeze", [r, where], [n]) for r, n in zip(rows, lifted, strict=True)]
    return [*nodes, make_node("Concat", lifted, [output], axis=axis)]
