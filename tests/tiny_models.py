"""Small networks with seeded random weights, as ONNX files and as Relax modules."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax

from jointdnn_tvm.graph import Stage, split_into_stages
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import (
    SIDES,
    Codec,
    Link,
    Operator,
    Problem,
    Side,
    SideCost,
    Tensor,
    fixed_placement,
)
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.runtime.manifest import StageEntry
from jointdnn_tvm.targets import load_link, load_target

op = relax.op
Array = np.ndarray[Any, Any]
Specs = Mapping[str, tuple[int, ...]]


def write_onnx(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Specs,
    outputs: Sequence[tuple[str, int]],
    weights: dict[str, Array],
) -> Path:
    """Save a model with float32 inputs; outputs are names and `TensorProto` types."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def branching_model(folder: Path, seed: int = 0) -> Path:
    """Two inputs, convolutions, a residual, a split, a concat, and three outputs of two types."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        array: Array = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return array.astype(np.float32)

    make = helper.make_node
    nodes = [
        make("Conv", ["image", "k0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        make("Relu", ["c0"], ["r0"]),
        make("MaxPool", ["r0"], ["p0"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", ["p0", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        make("Add", ["c1", "p0"], ["a1"]),
        make("Relu", ["a1"], ["r1"]),
        make("Split", ["r1", "halves"], ["s0", "s1"], axis=1),
        make("Conv", ["s0", "k2"], ["c2"]),
        make("Concat", ["c2", "s1"], ["joined"], axis=1),
        make("GlobalAveragePool", ["joined"], ["pooled"]),
        make("Flatten", ["pooled"], ["flat"]),
        make("Add", ["flat", "bias"], ["shifted"]),
        make("Gemm", ["shifted", "dense", "b3"], ["scores/raw"]),
        make("Softmax", ["scores/raw"], ["scores"]),
        make("ArgMax", ["scores/raw"], ["best"], axis=1, keepdims=0),
    ]
    weights = {
        "k0": normal(8, 3, 3, 3),
        "b0": normal(8),
        "k1": normal(8, 8, 3, 3),
        "b1": normal(8),
        "k2": normal(6, 4, 1, 1),
        "halves": np.array([4, 4]),
        "dense": normal(10, 5),
        "b3": normal(5),
    }
    inputs = {"image": (1, 3, 8, 8), "bias": (1, 10)}
    outputs = [
        ("scores", TensorProto.FLOAT),
        ("best", TensorProto.INT64),
        ("joined", TensorProto.FLOAT),
    ]
    return write_onnx(folder / "branching.onnx", nodes, inputs, outputs, weights)


def relax_main(
    inputs: Specs, weights: Specs, body: Callable[..., Sequence[relax.Expr]]
) -> tvm.IRModule:
    """A module as the import makes them; `body` gets the builder, then all parameters."""
    builder = relax.BlockBuilder()
    params = [
        relax.Var(n, relax.TensorType(s, "float32")) for n, s in [*inputs.items(), *weights.items()]
    ]
    with builder.function("main", params, attrs={"num_input": len(inputs)}):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple(list(body(builder, *params))))
        builder.emit_func_output(result)
    return builder.get()


def random_module(seed: int, length: int = 14) -> tvm.IRModule:
    """A random acyclic network over rows of a few numbers, with every kind of grouping in it."""
    draw = random.Random(seed)
    inputs = {f"x{i}": (2, 8) for i in range(draw.randint(1, 2))}
    weights: Specs = {"w0": (8, 8), "w1": (8, 8), "w2": (8, 8), "scale": (8,)}

    def body(builder: relax.BlockBuilder, *params: relax.Var) -> list[relax.Expr]:
        values, (w0, w1, w2, scale) = list(params[: len(inputs)]), params[len(inputs) :]
        prepared = builder.emit(op.tanh(builder.emit(op.multiply(w1, w2))))
        dense = [w0, w1, w2, prepared]

        def step(kind: str, a: relax.Var, b: relax.Var) -> relax.Expr:
            if kind == "split":
                parts = builder.emit(op.split(a, 2, 1))
                left, right = (builder.emit(relax.TupleGetItem(parts, i)) for i in range(2))
                return op.concat([right, builder.emit(op.sigmoid(left))], 1)
            return {
                "matmul": lambda: op.tanh(builder.emit(op.matmul(a, draw.choice(dense)))),
                "relu": lambda: op.nn.relu(a),
                "add": lambda: op.add(a, b),
                "multiply": lambda: op.multiply(a, op.sigmoid(scale)),
                "softmax": lambda: op.nn.softmax(a),
                "mean": lambda: op.subtract(a, builder.emit(op.mean(b, 1, keepdims=True))),
                "turn": lambda: op.reshape(builder.emit(op.permute_dims(a)), (2, 8)),
            }[kind]()

        kinds = ["matmul", "relu", "add", "multiply", "softmax", "mean", "turn", "split"]
        for _ in range(draw.randint(1, length)):
            a, b = draw.choice(values[-4:]), draw.choice(values[-4:])
            values.append(builder.emit(step(draw.choice(kinds), a, b)))
        outputs = [values[-1], *draw.sample(values, min(2, len(values)))]
        return outputs + ([prepared] if draw.random() < 0.3 else [])

    return relax_main(inputs, weights, body)


def random_arrays(module: tvm.IRModule, seed: int = 0) -> dict[str, Array]:
    """Values for every parameter of `main`."""
    rng = np.random.default_rng(seed)
    return {
        p.name: rng.standard_normal([int(d) for d in p.ty.shape]).astype(str(p.ty.dtype))
        for p in module["main"].params
    }


def random_placement(names: Sequence[str], seed: int) -> dict[str, Side]:
    """A side for each group, by coin."""
    draw = random.Random(seed)
    return {name: draw.choice(SIDES) for name in names}


def interleaved(network: Network) -> dict[str, Side]:
    """Of many random placements, one with the most stages where a tensor stays on the cloud."""
    names = [g.name for g in network.graph.groups]
    drawn = [random_placement(names, seed) for seed in range(200)]

    def interest(placement: dict[str, Side]) -> tuple[bool, int]:
        stages = split_into_stages(network.graph, placement)
        return bool(staying(stages, network.graph.outputs)), len(stages)

    return max(drawn, key=interest)


def staying(stages: Sequence[Stage | StageEntry], outputs: Sequence[str]) -> set[str]:
    """Tensors that only later cloud stages read."""
    on_mobile = {t for s in stages if s.side == "mobile" for t in s.inputs} | set(outputs)
    read = {t for s in stages if s.side == "cloud" for t in s.inputs}
    return {t for s in stages if s.side == "cloud" for t in s.outputs if t in read - on_mobile}


def problem_of(
    network: Network, cloud_s: float = 0.5, codecs: Mapping[str, str] | None = None
) -> Problem:
    """Every group takes 1 s on the mobile and `cloud_s` in the cloud.

    `codecs` names one for some tensors, which then have half the size.
    """
    graph = network.graph
    offered = {t: (codecs or {}).get(t.name) for t in graph.tensors}
    return Problem(
        tuple(Operator(g.name, SideCost(1.0), SideCost(cloud_s)) for g in graph.groups),
        tuple(
            Tensor(
                *(t.name, t.producer, t.consumers, t.size_bytes, t.output),
                () if codec is None else (Codec(codec, t.size_bytes / 2),),
            )
            for t, codec in offered.items()
            if t.producer or t.consumers
        ),
        Link(1e6, 1e6),
    )


def plan_of(
    network: Network, placement: dict[str, Side], codecs: Mapping[str, str] | None = None
) -> Plan:
    """That placement and those codecs, for this machine's own CPU on both sides."""
    problem = problem_of(network, codecs=codecs)
    return Plan(
        problem=problem,
        answer=fixed_placement(problem, placement, codecs),
        baselines={},
        mobile=load_target("host"),
        cloud=load_target("host"),
        link=load_link("huang2012-wifi"),
        sources={},
        newly_measured=0,
    )
