"""Write a finished placement onto the groups, as an attribute of their functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm

from jointdnn_tvm.graph import check_placement
from jointdnn_tvm.passes.attributes import PLACEMENT
from jointdnn_tvm.passes.read_graph import read_graph
from jointdnn_tvm.placement import Side


@tvm.transform.module_pass(opt_level=0, name="AnnotatePlacement")
@dataclass
class AnnotatePlacement:
    """Set the placement attribute of every group.

    An error that a pass raises reaches the caller as a RuntimeError with its text, so check a
    placement with `graph.check_placement` first.
    """

    placement: Mapping[str, Side]

    def transform_module(self, module: tvm.IRModule, _ctx: Any) -> tvm.IRModule:
        """Return the module with its groups annotated."""
        check_placement(read_graph(module), self.placement)
        functions = dict(module.functions.items())
        for var, function in functions.items():
            if var.name_hint in self.placement:
                functions[var] = function.with_attr(PLACEMENT, self.placement[var.name_hint])
        return tvm.IRModule(functions, attrs=module.attrs)
