"""Outline operator groups, the units of placement, into private functions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from jointdnn_tvm.passes.attributes import GROUP, GROUP_KEY, OPERATORS
from jointdnn_tvm.passes.main_function import without_main

# Operators that give one element for one element, or a view of the same elements: they join the
# group of their latest producer, where they fuse into its loops and cost next to nothing.
_JOINING = frozenset(
    "relax." + name
    for name in (
        "abs",
        "acos",
        "acosh",
        "add",
        "asin",
        "asinh",
        "astype",
        "atan",
        "atanh",
        "bitwise_and",
        "bitwise_not",
        "bitwise_or",
        "bitwise_xor",
        "ceil",
        "clip",
        "cos",
        "cosh",
        "divide",
        "equal",
        "erf",
        "exp",
        "expand_dims",
        "flatten",
        "floor",
        "floor_divide",
        "floor_mod",
        "greater",
        "greater_equal",
        "isfinite",
        "isinf",
        "isnan",
        "left_shift",
        "less",
        "less_equal",
        "log",
        "log_add_exp",
        "logical_and",
        "logical_not",
        "logical_or",
        "logical_xor",
        "maximum",
        "minimum",
        "mod",
        "multiply",
        "negative",
        "nn.gelu",
        "nn.gelu_tanh",
        "nn.leakyrelu",
        "nn.prelu",
        "nn.relu",
        "nn.relu6",
        "nn.selu",
        "nn.silu",
        "nn.softplus",
        "not_equal",
        "permute_dims",
        "power",
        "reshape",
        "right_shift",
        "round",
        "rsqrt",
        "sigmoid",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "squeeze",
        "subtract",
        "tan",
        "tanh",
        "trunc",
        "where",
    )
)


@tvm.transform.module_pass(opt_level=0, name="GroupOperators")
class GroupOperators:
    """Turn `main` into calls of private functions, one an operator group.

    An anchor (convolution, dense, pooling, concat, …) opens a group; an elementwise operator joins
    the latest group that feeds it. So groups are numbered in topological order and every edge goes
    from a lower to the same or a higher number: no path leaves a group and comes back (convex).
    What depends on weights alone is computed inside each group that reads it.
    """

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the grouped module; `main` must be one dataflow block that returns a tuple."""
        main = module["main"]
        count = int(main.attrs["num_input"])
        flow = _Flow.of(main, count)
        groups = flow.close()
        builder = relax.BlockBuilder(without_main(module))
        for group in groups:
            builder.add_func(_outline(group, module), group.name)
        values: dict[relax.Var, relax.Expr] = {p: p for p in main.params}
        with builder.function("main", list(main.params), attrs={"num_input": count}):
            with builder.dataflow():
                for group in groups:
                    _call(builder, group, values)
                result = builder.emit_output(relax.Tuple([values[v] for v in flow.outputs]))
            builder.emit_func_output(result)
        return builder.finalize()


@dataclass
class _Group:
    """A group while it is collected: its bindings, and what it reads and hands out."""

    name: str
    bindings: list[relax.VarBinding] = field(default_factory=list)
    inputs: list[relax.Var] = field(default_factory=list)
    weights: list[relax.Var] = field(default_factory=list)
    outputs: list[relax.Var] = field(default_factory=list)


@dataclass
class _Flow:
    """`main` taken apart: the group of each value, and the values that need weights only."""

    params: frozenset[relax.Var]
    outputs: list[relax.Var]
    groups: list[_Group] = field(default_factory=list)
    group_of: dict[relax.Var, _Group] = field(default_factory=dict)
    from_weights: dict[relax.Var, relax.VarBinding] = field(default_factory=dict)

    @classmethod
    def of(cls, main: relax.Function, input_count: int) -> _Flow:
        bindings = list(main.body.blocks[0].bindings)
        values = {b.var: b.value for b in bindings}
        result = main.body.body
        while isinstance(values.get(result), relax.Var):
            result = values[result]
        flow = cls(frozenset(main.params[input_count:]), list(values[result].fields))
        inputs = set(main.params[:input_count])
        for binding in bindings:
            if binding.var != result:
                flow._add(binding, inputs)
        for output in flow.outputs:
            if output in flow.from_weights or output in flow.params:
                flow._open(f"constant_{len(flow.groups)}", output)
        return flow

    def _add(self, binding: relax.VarBinding, inputs: set[relax.Var]) -> None:
        used = relax.analysis.free_vars(binding.value)
        if not any(v in inputs or v in self.group_of for v in used):
            self.from_weights[binding.var] = binding
            return
        feeding = [self.group_of[v] for v in used if v in self.group_of]
        latest = max(feeding, key=self.groups.index, default=None)
        if latest is None or not _joins(binding.value):
            latest = self._open(f"{_kind(binding.value)}_{len(self.groups)}")
        latest.bindings.append(binding)
        self.group_of[binding.var] = latest

    def _open(self, name: str, *outputs: relax.Var) -> _Group:
        self.groups.append(_Group(name, outputs=list(outputs)))
        return self.groups[-1]

    def close(self) -> list[_Group]:
        """Fill in what each group reads and hands out."""
        handed_out = set(self.outputs)
        for group in self.groups:
            self._read(group, handed_out)
        for group in self.groups:
            group.outputs += [b.var for b in group.bindings if b.var in handed_out]
        return self.groups

    def _read(self, group: _Group, handed_out: set[relax.Var]) -> None:
        inside = {b.var for b in group.bindings}
        wanted = [v for b in group.bindings for v in relax.analysis.free_vars(b.value)]
        sunk: dict[relax.Var, relax.VarBinding] = {}
        for var in wanted + group.outputs:
            self._sink(var, sunk, group)
        for var in dict.fromkeys(wanted):
            if var not in inside and var not in sunk and var not in self.params:
                group.inputs.append(var)
                handed_out.add(var)
        group.bindings = [*sunk.values(), *group.bindings]

    def _sink(self, var: relax.Var, sunk: dict[relax.Var, relax.VarBinding], group: _Group) -> None:
        if var in self.params and var not in group.weights:
            group.weights.append(var)
        elif var in self.from_weights and var not in sunk:
            binding = self.from_weights[var]
            for used in relax.analysis.free_vars(binding.value):
                self._sink(used, sunk, group)
            sunk[var] = binding


def _joins(value: relax.Expr) -> bool:
    if isinstance(value, relax.Call):
        return isinstance(value.op, tvm.ir.Op) and value.op.name in _JOINING
    return True  # TupleGetItem, Tuple: no work of their own


def _kind(value: relax.Expr) -> str:
    if not isinstance(value, relax.Call):
        return type(value).__name__.lower()
    if isinstance(value.op, relax.GlobalVar):
        return str(value.op.name_hint)
    if value.op.name == "relax.call_tir":
        return str(value.args[0].name_hint)
    return str(value.op.name).split(".")[-1]


@mutator
class _Substitute(PyExprMutator):
    """Put other expressions in the place of variables."""

    def __init__(self, values: dict[relax.Var, relax.Expr]) -> None:
        super().__init__()
        self.values = values

    def visit_var_(self, op: relax.Var) -> relax.Expr:
        return self.values.get(op, op)

    def visit_dataflow_var_(self, op: relax.DataflowVar) -> relax.Expr:
        return self.values.get(op, op)


def _outline(group: _Group, module: tvm.IRModule) -> relax.Function:
    """Make the group's function with names of its own, so that alike groups print alike."""
    xs = [relax.Var(f"x{i}", v.ty) for i, v in enumerate(group.inputs)]
    ws = [relax.Var(f"w{i}", v.ty) for i, v in enumerate(group.weights)]
    values: dict[relax.Var, relax.Expr] = dict(
        zip([*group.inputs, *group.weights], [*xs, *ws], strict=True)
    )
    substitute = _Substitute(values)
    builder = relax.BlockBuilder(module)
    with builder.function("group", [*xs, *ws], private=True):
        with builder.dataflow():
            for binding in group.bindings:
                values[binding.var] = builder.emit(substitute.visit_expr(binding.value), "v")
            results = [values[v] for v in group.outputs]
            result = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
        builder.emit_func_output(result)
    function = builder.get()["group"]
    operators = [tvm.runtime.convert(_kind(b.value)) for b in group.bindings]
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
