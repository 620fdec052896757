"""Outline operator groups, the units of placement, into private functions."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.passes.attributes import GROUP, GROUP_KEY, OPERATORS
from jointdnn_tvm.passes.layouts import has_static_shape
from jointdnn_tvm.passes.main_function import without_main
from jointdnn_tvm.passes.substitute import substitution

# Operators that give one element for one element, or a view of the same elements: they join the
# group of their latest producer, where they fuse into its loops and cost next to nothing.
_JOINING = frozenset(
    f"relax.{name}"
    for name in """
        abs acos acosh add asin asinh astype atan atanh bitwise_and bitwise_not bitwise_or
        bitwise_xor ceil clip cos cosh divide equal erf exp expand_dims flatten flip floor
        floor_divide floor_mod greater greater_equal isfinite isinf isnan left_shift less
        less_equal log log_add_exp logical_and logical_not logical_or logical_xor maximum minimum
        mod multiply negative nn.gelu nn.gelu_tanh nn.leakyrelu nn.prelu nn.relu nn.relu6 nn.selu
        nn.silu nn.softplus not_equal permute_dims power reshape right_shift round rsqrt sigmoid
        sign sin sinh sqrt square squeeze subtract tan tanh trunc where
    """.split()  # noqa: SIM905 - a list would take a line a name
)


@tvm.transform.module_pass(opt_level=0, name="GroupOperators")
class GroupOperators:
    """Turn `main` into calls of private functions, one an operator group.

    An anchor (convolution, dense, pooling, concat, …) opens a group; an elementwise operator joins
    the latest group that feeds it, unless that gives it single numbers only. So groups are numbered
    in topological order and every edge goes from a lower to the same or a higher number: no path
    leaves a group and comes back (convex).
    Elementwise operators over inputs alone go where the elementwise operator goes that reads them,
    such as the momentum of a weight to its gradient, or into a group of their own.
    What depends on weights alone is computed inside each group that reads it, and so is a
    transposition that only products read: they read what it was made of.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the grouped module; `main` must be one dataflow block that returns a tuple."""
        main = module["main"]
        flow = _Flow(module)
        others = without_main(module)
        builder = relax.BlockBuilder(others)
        for group in flow.groups:
            builder.add_func(_outline(group, others), group.name)
        values: dict[relax.Var, relax.Expr] = {p: p for p in main.params}
        with builder.function("main", list(main.params), attrs=dict(main.attrs)):
            with builder.dataflow():
                for group in flow.groups:
                    _call(builder, group, values)
                result = builder.emit_output(relax.Tuple([values[v] for v in flow.outputs]))
            builder.emit_func_output(result)
        return builder.finalize()


@dataclass
class _Group:
    """A group while it is collected: what it computes, reads and hands out."""

    index: int
    name: str
    bindings: list[relax.VarBinding] = field(default_factory=list)
    inputs: list[relax.Var] = field(default_factory=list)
    weights: list[relax.Var] = field(default_factory=list)
    outputs: list[relax.Var] = field(default_factory=list)


class _Flow:
    """`main` taken apart: its groups, and the values that need weights only."""

    def __init__(self, module: tvm.IRModule) -> None:
        main = module["main"]
        count = int(main.attrs["num_input"])
        self._inputs = frozenset(main.params[:count])
        self._weights = frozenset(main.params[count:])
        taken = [v.name_hint for v in module.functions]
        self._taken = [p.name for p in main.params] + taken
        self._group_of: dict[relax.Var, _Group] = {}
        self._from_weights: dict[relax.Var, relax.VarBinding] = {}
        self._waiting: dict[relax.Var, relax.VarBinding] = {}  # elementwise, over inputs alone
        self._turned: dict[relax.Var, relax.VarBinding] = {}  # transposed for products
        self._for_products = _read_by_products(main)
        self.groups: list[_Group] = []
        self.outputs = [self._output(v) for v in self._collect(main)]
        self._connect()

    def _collect(self, main: relax.Function) -> list[relax.Expr]:
        """Sort every operator into a group; returns the fields of the result."""
        values: dict[relax.Var, relax.Expr] = {}  # of what is no operator: tuples, other names
        substitute = substitution(values)
        for binding in main.body.blocks[0].bindings:
            value = substitute(binding.value)
            if isinstance(value, relax.TupleGetItem) and isinstance(value.tuple_value, relax.Tuple):
                value = value.tuple_value.fields[value.index]
            if isinstance(value, (relax.Tuple, relax.Var)):
                values[binding.var] = value
            else:
                self._add(relax.VarBinding(binding.var, value))
        return list(substitute(main.body.body).fields)

    def _add(self, binding: relax.VarBinding) -> None:
        used = relax.analysis.free_vars(binding.value)
        found = (self._inputs, self._group_of, self._waiting, self._turned)
        if not any(v in known for v in used for known in found):
            self._from_weights[binding.var] = binding
        elif binding.var in self._for_products and _swaps_last_two(binding.value):
            self._turned[binding.var] = binding
        elif not _joins(binding.value):
            self._open_for(binding)
        else:
            self._join(binding, [v for v in used if v in self._group_of])

    def _open_for(self, binding: relax.VarBinding) -> None:
        for var in relax.analysis.free_vars(binding.value):
            self._settle(var)
        self._put(binding, self._open(_kind(binding.value)))

    def _join(self, binding: relax.VarBinding, fed_by: list[relax.Var]) -> None:
        """Add an elementwise operator, which these variables of groups feed."""
        latest = max((self._group_of[v] for v in fed_by), key=lambda g: g.index, default=None)
        if latest is None:
            self._waiting[binding.var] = binding
            return
        given = [v for v in fed_by if self._group_of[v] is latest]
        if all(_is_one_number(v) for v in given) and not _is_one_number(binding.var):
            latest = self._open(_kind(binding.value))
        self._put(binding, latest)

    def _put(self, binding: relax.VarBinding, group: _Group) -> None:
        """Into a group, behind what it reads of those that wait."""
        for var in relax.analysis.free_vars(binding.value):
            if var in self._waiting:
                self._put(self._waiting.pop(var), group)
        group.bindings.append(binding)
        self._group_of[binding.var] = group

    def _settle(self, var: relax.Var) -> None:
        """Give a variable that waits, or of which one that is transposed was made, its group."""
        if var in self._turned:
            for source in relax.analysis.free_vars(self._turned[var].value):
                self._settle(source)
        if var in self._waiting:
            binding = self._waiting.pop(var)
            self._put(binding, self._open(_kind(binding.value)))

    def _output(self, value: relax.Expr) -> relax.Var:
        """Give an output that no group computes a group of its own that hands it out."""
        self._settle(value)
        if value in self._group_of:
            return value
        var = relax.Var("output", value.ty)
        group = self._open("identity" if value in self._inputs else "constant")
        group.bindings.append(relax.VarBinding(var, value))
        self._group_of[var] = group
        return var

    def _open(self, kind: str) -> _Group:
        """Start a group whose name, and those of its outputs, nothing else has."""
        index = len(self.groups)
        name = f"{kind}_{index}"
        while any(t == name or t.startswith(f"{name}_out") for t in self._taken):
            name += "_"
        self.groups.append(_Group(index, name))
        return self.groups[-1]

    def _connect(self) -> None:
        """Fill in what each group reads and hands out."""
        for group in self.groups:
            self._read(group)
        read = {v for g in self.groups for v in g.inputs} | set(self.outputs)
        for var, group in self._group_of.items():
            if var in read:
                group.outputs.append(var)

    def _read(self, group: _Group) -> None:
        sunk: dict[relax.Var, relax.VarBinding] = {}
        for var in (v for b in group.bindings for v in relax.analysis.free_vars(b.value)):
            self._sink(var, sunk, group)
        group.bindings = [*sunk.values(), *group.bindings]
        for var in (v for b in group.bindings for v in relax.analysis.free_vars(b.value)):
            outside = var in self._inputs or self._group_of.get(var, group) is not group
            if outside and var not in group.inputs:
                group.inputs.append(var)

    def _sink(self, var: relax.Var, sunk: dict[relax.Var, relax.VarBinding], group: _Group) -> None:
        """Let the group compute by itself what depends on weights alone, or is transposed."""
        if var in self._weights and var not in group.weights:
            group.weights.append(var)
        binding = self._from_weights.get(var, self._turned.get(var))
        if binding is not None and var not in sunk:
            for used in relax.analysis.free_vars(binding.value):
                self._sink(used, sunk, group)
            sunk[var] = binding


def _read_by_products(main: relax.Function) -> set[relax.Var]:
    """The variables that nothing but matrix products reads."""
    products: set[relax.Var] = set()
    others = set(relax.analysis.free_vars(main.body.body))
    for binding in main.body.blocks[0].bindings:
        is_product = getattr(getattr(binding.value, "op", None), "name", "") == "relax.matmul"
        (products if is_product else others).update(relax.analysis.free_vars(binding.value))
    return products - others


def _swaps_last_two(value: relax.Expr) -> bool:
    if getattr(getattr(value, "op", None), "name", "") != "relax.permute_dims":
        return False
    last = len(value.ty.shape) - 1
    axes = range(last, -1, -1) if value.attrs.axes is None else value.attrs.axes
    return last > 0 and [int(axis) for axis in axes] == [*range(last - 1), last, last - 1]


def _is_one_number(var: relax.Var) -> bool:
    return has_static_shape(var) and math.prod(int(d) for d in var.ty.shape) == 1


def _joins(value: relax.Expr) -> bool:
    if isinstance(value, relax.Call):
        return isinstance(value.op, tvm.ir.Op) and value.op.name in _JOINING
    return True  # a field of a tuple: no work of its own


def _kind(call: relax.Call) -> str:
    if isinstance(call.op, relax.GlobalVar):
        return str(call.op.name_hint)
    if call.op.name == "relax.call_tir":
        return str(call.args[0].name_hint)
    return str(call.op.name).split(".")[-1]


def _outline(group: _Group, module: tvm.IRModule) -> relax.Function:
    """Make the group's function with names of its own, so that alike groups print alike."""
    xs = [relax.Var(f"x{i}", v.ty) for i, v in enumerate(group.inputs)]
    ws = [relax.Var(f"w{i}", v.ty) for i, v in enumerate(group.weights)]
    values: dict[relax.Var, relax.Expr] = dict(
        zip([*group.inputs, *group.weights], [*xs, *ws], strict=True)
    )
    substitute = substitution(values)
    builder = relax.BlockBuilder(module)
    with builder.function("group", [*xs, *ws], attrs={"num_input": len(xs)}, private=True):
        with builder.dataflow():
            for binding in group.bindings:
                values[binding.var] = builder.emit(substitute(binding.value), "v")
            results = [values[v] for v in group.outputs]
            result = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
        builder.emit_func_output(result)
    function = builder.get()["group"]
    calls = [b.value for b in group.bindings if isinstance(b.value, relax.Call)]
    operators = [tvm.runtime.convert(_kind(call)) for call in calls]
    return function.with_attr(
        {GROUP: group.name, GROUP_KEY: _key(function, module), OPERATORS: operators}
    )


def _key(function: relax.Function, module: tvm.IRModule) -> str:
    """Hash of the printed function, inline constants included, and of the kernels it names."""
    text = [function.script(show_meta=True)]
    for var in relax.analysis.all_global_vars(function):
        text.append(module[var].script(show_meta=True))
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def _call(builder: relax.BlockBuilder, group: _Group, values: dict[relax.Var, relax.Expr]) -> None:
    function = builder.get().get_global_var(group.name)
    arguments = [values[v] for v in [*group.inputs, *group.weights]]
    result = builder.emit(relax.Call(function, arguments), name_hint=f"{group.name}_out")
    if len(group.outputs) == 1:
        values[group.outputs[0]] = result
        return
    for i, var in enumerate(group.outputs):
        values[var] = builder.emit(relax.TupleGetItem(result, i), name_hint=f"{group.name}_out{i}")
