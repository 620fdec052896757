"""The order of the import: one walk that infers, evaluates and rewrites, then the folds.

In the walk, nodes are taken in order. A rewrite answers with the nodes to put in a node's place;
they are taken next, so that a rewrite may produce what another one rewrites further. It knows
the types of all inputs and the values of those that are constant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from jointdnn_tvm.importer.check_indices import settle_indices
from jointdnn_tvm.importer.drop_no_ops import drop_no_op
from jointdnn_tvm.importer.expand_functions import expand_function
from jointdnn_tvm.importer.expand_lrn import expand_lrn
from jointdnn_tvm.importer.expand_recurrent import expand_recurrent
from jointdnn_tvm.importer.expand_resize import expand_resize
from jointdnn_tvm.importer.expand_transposed_convolution import expand_transposed_convolution
from jointdnn_tvm.importer.explicit_padding import explicit_padding
from jointdnn_tvm.importer.fold_batch_norm import fold_batch_norm
from jointdnn_tvm.importer.infer_types import evaluate, infer_types, is_constant
from jointdnn_tvm.importer.lift_to_2d import lift_to_2d
from jointdnn_tvm.importer.lower_operators import lower_operator
from jointdnn_tvm.importer.modernise import modernise
from jointdnn_tvm.importer.onnx_graph import Node, OnnxGraph
from jointdnn_tvm.importer.prune import prune
from jointdnn_tvm.importer.split_sum import split_sum
from jointdnn_tvm.importer.track_sequences import track_sequences
from jointdnn_tvm.importer.unroll_control_flow import unroll_control_flow

Rewrite = Callable[[Node, OnnxGraph], "list[Node] | None"]

REWRITES: tuple[Rewrite, ...] = (
    track_sequences,
    drop_no_op,
    modernise,
    settle_indices,
    split_sum,
    explicit_padding,
    lift_to_2d,
    expand_transposed_convolution,
    expand_lrn,
    expand_resize,
    lower_operator,
    unroll_control_flow,
    expand_recurrent,
    expand_function,
)


def simplify(graph: OnnxGraph, first: Sequence[Rewrite] = ()) -> None:
    """Rewrites the graph in place into few plain operators.

    Rewrites in `first` are tried before all others.

    Raises:
        ModelError: something in the graph does not fit, or cannot be expressed.
    """
    prune(graph)
    _walk(graph, (*first, *REWRITES))
    fold_batch_norm(graph)
    prune(graph)


def _walk(graph: OnnxGraph, rewrites: Sequence[Rewrite]) -> None:
    pending = deque(graph.nodes)
    graph.nodes = []
    while pending:
        node = pending.popleft().with_inputs(graph.resolve)
        infer_types(node, graph)
        if is_constant(node, graph) and evaluate(node, graph):
            continue
        replacement = _rewrite(node, graph, rewrites)
        if replacement is None:
            graph.nodes.append(node)
        else:
            pending.extendleft(reversed(replacement))
    graph.outputs = [graph.resolve(name) for name in graph.outputs]


def _rewrite(node: Node, graph: OnnxGraph, rewrites: Sequence[Rewrite]) -> list[Node] | None:
    for rewrite in rewrites:
        replacement = rewrite(node, graph)
        if replacement is not None:
            return replacement
    return None
