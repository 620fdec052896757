"""Gradients of Relax graphs against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.passes.append_backward import append_backward
from jointdnn_tvm.passes.gradients.rules import LEGALIZATIONS

op = relax.op
Array = np.ndarray[Any, Any]
Function = Callable[..., list[Array]]

_STEP = 1e-5


def check_gradients(
    compute: Callable[..., Any],
    *operands: Array,
    varied: Sequence[int] | None = None,
    tolerance: float = 1e-6,
) -> None:
    """Fails where a gradient is not the slope along a random direction.

    Args:
        compute: takes the builder and a variable for each operand, and returns a tensor.
        operands: arrays of float64, and of integers and booleans, which are not varied.
        varied: the operands whose gradients are asked for, by default all that are floats.
        tolerance: how far off a slope may be, as a part of the gradient's and direction's norms.
    """
    floats = [i for i, operand in enumerate(operands) if operand.dtype.kind == "f"]
    varied = floats if varied is None else varied
    function = gradients_of(compute, operands, varied)
    rng = np.random.default_rng(0)
    for place, gradient in zip(varied, function(*operands)[1:], strict=True):
        operand = operands[place]
        assert gradient.shape == operand.shape
        assert np.isfinite(gradient).all()
        direction = rng.standard_normal(operand.shape)
        step = _STEP * direction
        ends = [
            function(*operands[:place], operand + move, *operands[place + 1 :])[0]
            for move in (step, -step)
        ]
        slope = float(ends[0] - ends[1]) / (2 * _STEP)
        found = float((gradient * direction).sum())
        scale = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
        assert abs(found - slope) <= tolerance * (scale + 1e-3), (place, found, slope)


def check_against(
    compute: Callable[..., Any],
    reference: Callable[..., Array],
    *operands: Array,
    varied: Sequence[int],
    tolerance: float = 1e-5,
) -> None:
    """Fails where a gradient in float32 is not the slope of a formula in float64.

    For operators that TVM has in float32 only; `reference` takes the operands and gives what
    `compute` gives. Otherwise as `check_gradients`.
    """
    small = [x.astype(np.float32) if x.dtype == np.float64 else x for x in operands]
    function = gradients_of(compute, small, varied)
    factors = _factors(reference(*operands).shape)
    rng = np.random.default_rng(0)
    for place, gradient in zip(varied, function(*small)[1:], strict=True):
        operand = operands[place]
        direction = rng.standard_normal(operand.shape)
        step = _STEP * direction
        ends = [
            (factors * reference(*operands[:place], operand + move, *operands[place + 1 :])).sum()
            for move in (step, -step)
        ]
        slope = float(ends[0] - ends[1]) / (2 * _STEP)
        found = float((gradient.astype(np.float64) * direction).sum())
        scale = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
        assert gradient.shape == operand.shape
        assert abs(found - slope) <= tolerance * (scale + 1e-3), (place, found, slope)


def gradients_of(
    compute: Callable[..., Any], operands: Sequence[Array], varied: Sequence[int]
) -> Function:
    """Compiled: a random weighted sum of the result, then its gradients."""
    return compiled(gradient_module(compute, operands, varied))


def gradient_module(
    compute: Callable[..., Any], operands: Sequence[Array], varied: Sequence[int]
) -> tvm.IRModule:
    """Of `gradients_of`, not compiled."""
    builder = relax.BlockBuilder()
    params = [
        relax.Var(f"x{i}", relax.TensorType(operand.shape, str(operand.dtype)))
        for i, operand in enumerate(operands)
    ]
    with builder.function("main", params, attrs={"num_input": len(params)}):
        with builder.dataflow():
            result = builder.emit(compute(builder, *params))
            shape = [int(extent) for extent in result.ty.shape]
            factors = relax.const(_factors(shape), str(result.ty.dtype))
            loss = builder.emit(op.sum(op.multiply(result, factors)))
            output = builder.emit_output(relax.Tuple([loss]))
        builder.emit_func_output(output)
    return append_backward(builder.get(), [params[i].name for i in varied])


def _factors(shape: Sequence[int]) -> Array:
    return np.random.default_rng(1).standard_normal(shape)


def compiled(module: tvm.IRModule) -> Function:
    """`main` as TVM compiles it by default."""
    module = relax.transform.LegalizeOps(LEGALIZATIONS)(module)
    executable = tvm.compile(module, tvm.target.Target({"kind": "llvm", "opt-level": 0}))
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def call(*arrays: Array) -> list[Array]:
        results = main(*map(tvm.runtime.tensor, arrays))
        return [np.asarray(results[i].numpy()) for i in range(len(results))]

    return call
