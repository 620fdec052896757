"""Put a kernel of ours, and weights packed for it, in the place of an operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tvm
from tvm import relax, te
from tvm.relax.expr_functor import PyExprMutator, mutator

from jointdnn_tvm.passes.kernels.choice import chosen
from jointdnn_tvm.passes.kernels.convolution import Convolution, Dense
from jointdnn_tvm.passes.kernels.depthwise import Depthwise
from jointdnn_tvm.passes.kernels.matmul import Factor, Matmul
from jointdnn_tvm.passes.kernels.packing import Array, Packing
from jointdnn_tvm.passes.kernels.pooling import Pooling
from jointdnn_tvm.passes.kernels.softmax import Softmax
from jointdnn_tvm.passes.kernels.tunable import tunable
from jointdnn_tvm.passes.kernels.winograd import Winograd, fast_algorithms
from jointdnn_tvm.passes.layouts import dims, has_static_shape
from jointdnn_tvm.targets import TargetProfile


class Plain(Protocol):
    """An operator without weights that one of our kernels computes."""

    name: str

    def compute(self, *operands: te.Tensor) -> te.Tensor:
        """What is meant."""


class Kernel(Protocol):
    """An operator over a weight that one of our kernels computes."""

    name: str

    def packing(self, profile: TargetProfile) -> Packing | None:
        """How the weight is packed for a target; None: left as it is."""

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant, over the packed weight."""


_TAKES_EPILOGUE = {"op_pattern": 4}  # FuseOps: elementwise operators after it may join
_STANDS_APART = {"op_pattern": 8}


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
    weights: Weights = {}
    for var, function in _networks(module):
        rewritten, weights[var.name_hint] = rewriter.rewrite(function)
        rewriter.builder_.update_func(var, rewritten)
    return rewriter.builder_.get(), weights


def chosen_kernels(
    module: tvm.IRModule, profile: TargetProfile
) -> dict[str, tuple[Kernel | Plain, ...]]:
    """The kernels that `choose_kernels` chooses, in each of those functions."""
    rewriter = _Rewriter(module, profile)
    kernels = {}
    for var, function in _networks(module):
        rewriter.rewrite(function)
        kernels[var.name_hint] = tuple(rewriter.kernels)
    return kernels


def plain_weights(module: tvm.IRModule) -> Weights:
    """The weights of all functions with `num_input` where none is packed."""
    return {
        var.name_hint: tuple(Weight(p.name) for p in function.params[_inputs(function) :])
        for var, function in _networks(module)
    }


def _networks(module: tvm.IRModule) -> Iterator[tuple[tvm.ir.GlobalVar, relax.Function]]:
    """The functions that tell how many of their parameters are no weights."""
    for var, function in module.functions.items():
        if isinstance(function, relax.Function) and "num_input" in (function.attrs or {}):
            yield var, function


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
        self.kernels: list[Kernel | Plain] = []

    def rewrite(self, function: relax.Function) -> tuple[relax.Function, tuple[Weight, ...]]:
        """The function over packed weights, and what these are."""
        count = _inputs(function)
        self._weights = {param: param.name for param in function.params[count:]}
        self._packed = {}
        self.kernels = []
        body = self.visit_expr(function).body
        used = set(relax.analysis.free_vars(body))
        kept = {Weight(p.name): p for p in function.params[count:] if p in used}
        weights = {**kept, **self._packed}
        params = [*function.params[:count], *weights.values()]
        rewritten = relax.Function(params, body, function.ret_ty, function.is_pure, function.attrs)
        return rewritten, tuple(weights)

    def visit_call_(self, op: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(op)
        name = getattr(call.op, "name", "")
        if not all(_holds_floats(e) for e in (op, *call.args)):
            return call
        if name in _CHOICES and call.args[1] in self._weights:
            kernel = _CHOICES[name](call, self._profile)
            if kernel is not None:
                return self._call(kernel, *call.args)
        if name == "relax.nn.conv2d":
            return self._changing_convolution(call)
        if name == "relax.matmul":
            return self._product(call, dims(op))
        plain = _PLAIN_CHOICES[name](call, dims(op)) if name in _PLAIN_CHOICES else None
        return call if plain is None else self._emit(plain, call.args)

    def _changing_convolution(self, call: relax.Call) -> relax.Expr:
        """Over a kernel that is no weight: it is packed at run time."""
        plain = _plain_convolution(call)
        if plain is None:
            return call
        x, w = call.args
        if not isinstance(plain, Depthwise):
            packing = plain.packing(self._profile)
            pack = self.builder_.call_te(packing.compute, w, primfunc_name_hint="pack")
            w = self.builder_.emit(pack)
        return self._emit(plain, (x, w))

    def _product(self, call: relax.Call, shape: Sequence[int]) -> relax.Expr:
        """Of two activations; one that is only transposed is read where it was before."""
        if min(len(dims(arg)) for arg in call.args) < 2:
            return call
        operands = [self._before_transposition(arg) for arg in call.args]
        a, b = (
            Factor(tuple(dims(operand)), not operand.same_as(arg))
            for operand, arg in zip(operands, call.args, strict=True)
        )
        product = Matmul(a, b, tuple(shape[:-2]))
        return self._emit(product, operands)

    def _before_transposition(self, arg: relax.Expr) -> relax.Expr:
        made: Any = self.lookup_binding(arg) if isinstance(arg, relax.Var) else None
        if getattr(getattr(made, "op", None), "name", "") != "relax.permute_dims":
            return arg
        last = len(dims(arg)) - 1
        axes = made.attrs.axes or range(last, -1, -1)
        turned = [*range(last - 1), last, last - 1]
        return made.args[0] if [int(axis) for axis in axes] == turned else arg

    def _call(self, kernel: Kernel, x: relax.Expr, w: relax.Var) -> relax.Expr:
        packing = kernel.packing(self._profile)
        operands = x, w if packing is None else self._pack(w, packing)
        return self._emit(kernel, operands)

    def _emit(self, kernel: Kernel | Plain, operands: Sequence[relax.Expr]) -> relax.Expr:
        self.kernels.append(kernel)
        apart = chosen(tunable(kernel), self._profile).get("apart", 0)
        return self.builder_.call_te(
            kernel.compute,
            *operands,
            primfunc_name_hint=kernel.name,
            primfunc_attrs=_STANDS_APART if apart else _TAKES_EPILOGUE,
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


def _plain_convolution(call: relax.Call) -> Convolution | Depthwise | None:
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NHWC", "HWIO", "NHWC"):
        return None
    x, w = (tuple(dims(arg)) for arg in call.args)
    strides, padding, dilation = (
        tuple(int(v) for v in values) for values in (attrs.strides, attrs.padding, attrs.dilation)
    )
    plain = Convolution(x, w, strides, padding, dilation, int(attrs.groups))  # type: ignore[arg-type]
    depthwise = Depthwise(plain)
    return depthwise if plain.groups == x[3] == w[3] and depthwise.is_narrow else plain


def _convolution(call: relax.Call, profile: TargetProfile) -> Kernel | None:
    plain = _plain_convolution(call)
    if not isinstance(plain, Convolution):
        return plain
    forms: dict[int, Convolution | Winograd] = {0: plain}
    forms |= {form.outputs: form for form in fast_algorithms(plain)}
    decided = forms.get(chosen(plain, profile).get("outputs", -1))
    return decided or min(forms.values(), key=lambda form: form.seconds(profile))


def _dense(call: relax.Call, profile: TargetProfile) -> Kernel | None:
    x, w = (tuple(dims(arg)) for arg in call.args)
    return Dense(x, w) if len(w) == 2 and len(x) >= 2 else None


_CHOICES: dict[str, Callable[[relax.Call, TargetProfile], Kernel | None]] = {
    "relax.matmul": _dense,
    "relax.nn.conv2d": _convolution,
}


def _pool(call: relax.Call, shape: Sequence[int]) -> Pooling | None:
    attrs = call.attrs
    if (attrs.layout, attrs.out_layout) != ("NHWC", "NHWC"):
        return None
    largest = call.op.name == "relax.nn.max_pool2d"
    image = tuple(dims(call.args[0]))
    window, strides, before, dilation = (
        tuple(int(v) for v in values)
        for values in (attrs.pool_size, attrs.strides, attrs.padding[:2], attrs.dilation)
    )
    # How far the last windows reach beyond the image; it tells what `ceil_mode` leads to.
    after = [
        max(0, (shape[i + 1] - 1) * strides[i] + (window[i] - 1) * dilation[i] + 1 - above)
        for i, above in enumerate((image[1] + before[0], image[2] + before[1]))
    ]
    kernel = (*window, 1, image[3])
    windows = Convolution(image, kernel, strides, (*before, *after), dilation, image[3])  # type: ignore[arg-type]
    plain = attrs.count_include_pad
    pool = Pooling(windows, "largest" if largest else "mean with border" if plain else "mean")
    fits = windows.output == tuple(shape) and pool.is_narrow
    return pool if fits and (largest or dilation == (1, 1)) else None


def _softmax(call: relax.Call, shape: Sequence[int]) -> Softmax | None:
    axis = int(call.attrs.axis) % len(shape)
    return Softmax(tuple(shape), axis) if len(shape) > 1 else None


_PLAIN_CHOICES: dict[str, Callable[[relax.Call, Sequence[int]], Plain | None]] = {
    "relax.nn.avg_pool2d": _pool,
    "relax.nn.max_pool2d": _pool,
    "relax.nn.softmax": _softmax,
}
