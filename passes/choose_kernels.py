"""Put a kernel of ours, and weights packed for it, in the place of an operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import tvm
from tvm import relax, te
from tvm.relax.expr_functor import PyExprMutator, mutator

from jointdnn_tvm.passes.kernels.convolution import Convolution, Dense
from jointdnn_tvm.passes.kernels.depthwise import Depthwise
from jointdnn_tvm.passes.kernels.packing import Array, Packing
from jointdnn_tvm.passes.kernels.winograd import Winograd, fast_algorithms
from jointdnn_tvm.passes.layouts import dims, has_static_shape
from jointdnn_tvm.targets import TargetProfile


class Kernel(Protocol):
    """An operator over a weight that one of our kernels computes."""

    name: str

    def packing(self, profile: TargetProfile) -> Packing | None:
        """How the weight is packed for a target; None: left as it is."""

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant, over the packed weight."""


_TAKES_EPILOGUE = {"op_pattern": 4}  # FuseOps: elementwise operators after it may join


@dataclass(frozen=True)
class Weight:
    """A parameter of a compiled function: a weight of the network, packed unless None."""

    source: str
    packing: Packing | None = None

    @property
    def name(self) -> str:
        """What the packed weight is called."""
        return self.source if self.packing is None else f"{self.source}.{self.packing.tag}"

    def of(self, weights: Mapping[str, Array]) -> Array:
        """The array, made of those of the network."""
        source = weights[self.source]
        return source if self.packing is None else self.packing.apply(source)


Weights = dict[str, tuple[Weight, ...]]
"""The weights that each public function takes after its inputs, in order."""


def choose_kernels(module: tvm.IRModule, profile: TargetProfile) -> tuple[tvm.IRModule, Weights]:
    """Choose a kernel for each operator over a weight, in all functions with `num_input`.

    That attribute tells how many of a function's parameters are no weights. In the functions
    returned, packed weights stand in the place of those that only kernels read.
    """
    rewriter = _Rewriter(module, profile)
    chosen: Weights = {}
    for var, function in module.functions.items():
        if isinstance(function, relax.Function) and "num_input" in (function.attrs or {}):
            rewritten, chosen[var.name_hint] = rewriter.rewrite(function)
            rewriter.builder_.update_func(var, rewritten)
    return rewriter.builder_.get(), chosen


def plain_weights(module: tvm.IRModule) -> Weights:
    """The weights of all functions with `num_input` where none is packed."""
    return {
        var.name_hint: tuple(Weight(p.name) for p in function.params[_inputs(function) :])
        for var, function in module.functions.items()
        if isinstance(function, relax.Function) and "num_input" in (function.attrs or {})
    }


def _inputs(function: relax.Function) -> int:
    return int(function.attrs["num_input"])


@mutator
class _Rewriter(PyExprMutator):
    """Rewrites one function after the other."""

    def __init__(self, module: tvm.IRModule, profile: TargetProfile) -> None:
        super().__init__(module)
        self._profile = profile
        self._weights: dict[relax.Var, str] = {}
        self._packed: dict[Weight, relax.Var] = {}

    def rewrite(self, function: relax.Function) -> tuple[relax.Function, tuple[Weight, ...]]:
        """The function over packed weights, and what these are."""
        count = _inputs(function)
        self._weights = {param: param.name for param in function.params[count:]}
        self._packed = {}
        body = self.visit_expr(function).body
        used = set(relax.analysis.free_vars(body))
        kept = {Weight(p.name): p for p in function.params[count:] if p in used}
        weights = {**kept, **self._packed}
        params = [*function.params[:count], *weights.values()]
        rewritten = relax.Function(params, body, function.ret_ty, function.is_pure, function.attrs)
        return rewritten, tuple(weights)

    def visit_call_(self, op: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(op)
        choose = _CHOICES.get(getattr(call.op, "name", ""))
        if choose is None or call.args[1] not in self._weights:
            return call
        if not all(_holds_floats(e) for e in (op, *call.args)):
            return call
        kernel = choose(call, self._profile)
        return call if kernel is None else self._call(kernel, *call.args)

    def _call(self, kernel: Kernel, x: relax.Expr, w: relax.Var) -> relax.Expr:
        packing = kernel.packing(self._profile)
        return self.builder_.call_te(
            kernel.compute,
            x,
            w if packing is None else self._pack(w, packing),
            primfunc_name_hint=kernel.name,
            primfunc_attrs=_TAKES_EPILOGUE,
        )

    def _pack(self, w: relax.Var, packing: Packing) -> relax.Var:
        weight = Weight(self._weights[w], packing)
        if weight not in self._packed:
            kind = relax.TensorType(packing.shape(dims(w)), "float32")
            self._packed[weight] = relax.Var(re.sub(r"\W", "_", weight.name), kind)
        return self._packed[weight]


def _holds_floats(expr: relax.Expr) -> bool:
    """Whether it is float32 and of a known shape that is not empty."""
    return has_static_shape(expr) and str(expr.ty.dtype) == "float32" and 0 not in dims(expr)


def _convolution(call: relax.Call, profile: TargetProfile) -> Kernel | None:
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NHWC", "HWIO", "NHWC"):
        return None
    x, w = (tuple(dims(arg)) for arg in call.args)
    strides, padding, dilation = (
        tuple(int(v) for v in values) for values in (attrs.strides, attrs.padding, attrs.dilation)
    )
    plain = Convolution(x, w, strides, padding, dilation, int(attrs.groups))  # type: ignore[arg-type]
    if plain.groups == x[3] == w[3]:
        return Depthwise(plain)
    forms: list[Convolution | Winograd] = [plain, *fast_algorithms(plain)]
    return min(forms, key=lambda form: form.seconds(profile))


def _dense(call: relax.Call, profile: TargetProfile) -> Kernel | None:
    x, w = (tuple(dims(arg)) for arg in call.args)
    return Dense(x, w) if len(w) == 2 and len(x) >= 2 else None


_CHOICES: dict[str, Callable[[relax.Call, TargetProfile], Kernel | None]] = {
    "relax.matmul": _dense,
    "relax.nn.conv2d": _convolution,
}
