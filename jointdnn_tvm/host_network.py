"""A network that runs group by group on this machine, so that every tensor can be seen."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from tvm import runtime
from tvm.runtime.vm import VirtualMachine

from jointdnn_tvm.compiling import compile_library, first_line
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.graph import Group, Placement
from jointdnn_tvm.group_library import groups_module, symbol
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.placement import Side
from jointdnn_tvm.targets import load_target

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]
"""Inputs of a network, by the names of their tensors."""


class HostNetwork:
    """Compiled for this machine; a group's kernels are those of the target `host`.

    BuildError when a group cannot be built here, LinkError when nothing can be linked; RunError
    when one fails on its inputs.
    """

    def __init__(self, network: Placeable) -> None:
        self.graph = network.graph
        names = {g.key: g.name for g in self.graph.groups}
        module = groups_module(network.grouped, list(names.items()))
        with tempfile.TemporaryDirectory(prefix="jointdnn-host-") as folder:
            library = Path(folder) / "groups.so"
            taken = compile_library(module, load_target("host"), library)
            machine = VirtualMachine(tvm_ffi.load_module(library), runtime.cpu())
        self._functions = {key: machine[symbol(key)] for key in names}
        self._weights: dict[str, list[runtime.Tensor]] = {}
        for group in self.graph.groups:
            own = {f"w{i}": network.weights[name] for i, name in enumerate(group.weights)}
            arrays = (weight.of(own) for weight in taken[symbol(group.key)])
            self._weights[group.name] = [runtime.tensor(array) for array in arrays]

    def tensors(self, inputs: Sample) -> dict[str, Array]:
        """Every tensor of the graph, for the network's inputs; all by their names in the graph."""
        values = dict(inputs)
        for group in self.graph.groups:
            values.update(self._run(group, values))
        return values

    def outputs(self, tensors: Mapping[str, Array], changed: Mapping[str, Array]) -> list[Array]:
        """The network's outputs when some of its `tensors` are `changed`.

        Only what depends on these is computed again.
        """
        values = {**tensors, **changed}
        stale = set(changed)
        for group in self.graph.groups:
            if not stale.isdisjoint(group.inputs):
                stale.update(group.outputs)
                values.update(self._run(group, values))
                values.update(changed)
        return [values[name] for name in self.graph.outputs]

    def placed(
        self,
        inputs: Sample,
        placement: Placement,
        send: Callable[[str, Array], Array],
    ) -> list[Array]:
        """The network's outputs on the mobile, as a plan computes them.

        `send` gives what of a tensor arrives on the other side.
        """
        made_on = {t: placement[g.name] for g in self.graph.groups for t in g.outputs}
        values = dict(inputs)
        arrived: dict[str, Array] = {}

        def there(name: str, side: Side) -> Array:
            if made_on.get(name, "mobile") == side:
                return values[name]
            if name not in arrived:
                arrived[name] = send(name, values[name])
            return arrived[name]

        for group in self.graph.groups:
            read = {name: there(name, placement[group.name]) for name in group.inputs}
            values.update(self._run(group, read))
        return [there(name, "mobile") for name in self.graph.outputs]

    def _run(self, group: Group, values: Mapping[str, Array]) -> dict[str, Array]:
        arguments = [runtime.tensor(np.asarray(values[t], order="C")) for t in group.inputs]
        try:
            made = self._functions[group.key](*arguments, *self._weights[group.name])
        except Exception as error:  # of many kinds; the compiled group checks its arguments
            reason = first_line(error)
            raise RunError(f"group {group.name!r} failed on this machine: {reason}") from error
        results = [made] if len(group.outputs) == 1 else list(made)
        return {n: r.numpy() for n, r in zip(group.outputs, results, strict=True)}
