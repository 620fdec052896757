"""Small ONNX models for tests of the importer, run by onnxruntime before and after a rewrite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import helper, numpy_helper
from tvm import relax

from jointdnn_tvm.importer.onnx_graph import RULE_OPSET, OnnxGraph
from jointdnn_tvm.importer.read_model import read_onnx_graph
from jointdnn_tvm.importer.simplify import simplify
from jointdnn_tvm.network import Network

Array = np.ndarray[Any, Any]


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any] | Array],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = RULE_OPSET,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model. An input is a shape (of float32) or an array to be alike."""
    infos = []
    for name, like in inputs.items():
        dtype = like.dtype if isinstance(like, np.ndarray) else np.dtype(np.float32)
        shape = like.shape if isinstance(like, np.ndarray) else like
        element = helper.np_dtype_to_tensor_dtype(dtype)
        infos.append(helper.make_tensor_value_info(name, element, shape))
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(
        list(nodes), "g", infos, [onnx.ValueInfoProto(name=name) for name in outputs], tensors
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=functions)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def random_like(shape: Sequence[int], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def feeds_of(model: onnx.ModelProto, seed: int = 0) -> dict[str, Array]:
    """Seeded random values for float32 inputs of static shape."""
    rng = np.random.default_rng(seed)
    return {
        item.name: rng.standard_normal(
            [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for item in model.graph.input
    }


def run_onnx(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """onnxruntime's answer."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


def simplified(model: onnx.ModelProto, folder: Path) -> OnnxGraph:
    """The graph after all rewrites."""
    graph = read_onnx_graph(save(model, folder), {})
    simplify(graph)
    return graph


def to_model(graph: OnnxGraph) -> onnx.ModelProto:
    """A rewritten graph as a model again."""
    nodes = [node.proto for node in graph.nodes]
    nodes += [
        helper.make_node("Identity", [name], [f"{name}.out{i}"])
        for i, name in enumerate(graph.outputs)
    ]
    infos = [helper.make_value_info(name, graph.types[name]) for name in graph.inputs]
    outputs = [onnx.ValueInfoProto(name=f"{name}.out{i}") for i, name in enumerate(graph.outputs)]
    constants = [
        numpy_helper.from_array(array, name)
        for name, array in graph.constants.items()
        if name not in graph.inputs
    ]
    return helper.make_model(
        helper.make_graph(nodes, "g", infos, outputs, constants),
        opset_imports=[helper.make_opsetid("", RULE_OPSET)],
        ir_version=10,
    )


def assert_same_answers(
    model: onnx.ModelProto,
    folder: Path,
    feeds: Mapping[str, Array] | None = None,
    tolerance: float = 1e-5,
) -> OnnxGraph:
    """onnxruntime gives the same before and after the rewrites; returns the graph after them."""
    feeds = feeds_of(model) if feeds is None else feeds
    graph = simplified(model, folder)
    answers = run_onnx(to_model(graph), feeds)
    for answer, expected in zip(answers, run_onnx(model, feeds), strict=True):
        assert answer.shape == expected.shape
        assert answer.dtype == expected.dtype
        scale = np.abs(expected).max(initial=1e-6)
        np.testing.assert_allclose(answer, expected, rtol=tolerance, atol=tolerance * scale)
    return graph


def operators(graph: OnnxGraph) -> list[str]:
    return [node.op for node in graph.nodes]


def run_network(network: Network, feeds: Mapping[str, Array]) -> list[Array]:
    """TVM's answer, with its stock kernels."""
    values = [*(feeds[item.name] for item in network.inputs), *network.weights.values()]
    return run_module(network.module, values)


def run_module(module: tvm.IRModule, values: Sequence[Array]) -> list[Array]:
    executable = tvm.compile(module, target=tvm.target.Target({"kind": "llvm"}))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    results = machine["main"](*[tvm.runtime.tensor(np.ascontiguousarray(v)) for v in values])
    return [result.numpy() for result in results]


def calls(module: tvm.IRModule) -> list[str]:
    """Names of the operators of `main`, in order."""
    (block,) = module["main"].body.blocks
    values = [binding.value for binding in block.bindings]
    return [value.op.name for value in values if isinstance(value, relax.Call)]
