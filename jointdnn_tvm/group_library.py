"""Distinct operator groups compiled into libraries, to be measured on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.cost.bench import Workload
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.passes.choose_kernels import Weight
from jointdnn_tvm.passes.layouts import dims
from jointdnn_tvm.targets import TargetProfile

# Small enough that progress shows and that one bad group costs little to find, large enough that
# linking and uploading do not count.
_GROUPS_A_LIBRARY = 16


@dataclass(frozen=True)
class GroupLibrary:
    """A linked library, and the workload of each function in it."""

    path: Path
    workloads: tuple[Workload, ...]


def build_group_libraries(
    network: Placeable,
    keys: Sequence[str],
    profile: TargetProfile,
    folder: Path,
    report: Callable[[int], None],
) -> tuple[list[GroupLibrary], dict[str, str]]:
    """Compile one group of each key, as it will be compiled into a stage.

    Returns the libraries, and for each group that does not build the reason. `report` is told
    after each library how many groups it settled. LinkError when nothing can be linked.
    """
    groups = {g.key: g.name for g in network.graph.groups}
    libraries: list[GroupLibrary] = []
    failures: dict[str, str] = {}
    todo = [list(keys[i : i + _GROUPS_A_LIBRARY]) for i in range(0, len(keys), _GROUPS_A_LIBRARY)]
    while todo:
        batch = todo.pop(0)
        path = folder / f"groups_{len(libraries)}.so"
        try:
            workloads = _build(network.grouped, [(k, groups[k]) for k in batch], profile, path)
        except LinkError:
            raise  # not the group's fault
        except BuildError as error:
            if len(batch) > 1:  # find the one at fault by halves
                half = len(batch) // 2
                todo[:0] = [batch[:half], batch[half:]]
                continue
            failures[batch[0]] = str(error)
        else:
            libraries.append(GroupLibrary(path, workloads))
        report(len(batch))
    return libraries, failures


def _build(
    module: tvm.IRModule,
    groups: Sequence[tuple[str, str]],
    profile: TargetProfile,
    path: Path,
) -> tuple[Workload, ...]:
    weights = compile_library(groups_module(module, groups), profile, path)
    return tuple(
        Workload(key, symbol(key), arguments(module[name], weights[symbol(key)]))
        for key, name in groups
    )


def groups_module(module: tvm.IRModule, groups: Sequence[tuple[str, str]]) -> tvm.IRModule:
    """Groups, each a key and a name, as public functions that are called by `symbol`."""
    functions = {
        v: f for v, f in module.functions.items() if isinstance(f, tvm.tirx.PrimFunc)
    }  # kernels that the import brought along
    for key, name in groups:
        public = module[name].with_attr("global_symbol", symbol(key))
        functions[tvm.ir.GlobalVar(symbol(key))] = public
    return tvm.IRModule(functions)


def symbol(key: str) -> str:
    """The function of the groups with that key."""
    return f"group_{key[:32]}"


def arguments(
    function: tvm.relax.Function, weights: Sequence[Weight]
) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shape and dtype of what a compiled function takes: inputs, then weights as packed."""
    types = {p.name: (tuple(dims(p)), str(p.ty.dtype)) for p in function.params}
    inputs = [types[p.name] for p in function.params[: int(function.attrs["num_input"])]]
    return (*inputs, *(_packed(weight, *types[weight.source]) for weight in weights))


def _packed(weight: Weight, shape: tuple[int, ...], dtype: str) -> tuple[tuple[int, ...], str]:
    return (weight.packing.shape(shape) if weight.packing else shape), dtype
