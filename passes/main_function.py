"""`main` of a module, apart from the functions that it calls."""

from __future__ import annotations

import tvm


def without_main(module: tvm.IRModule) -> tvm.IRModule:
    """Copy the module's other functions, to build a new `main` or its parts beside them."""
    others = {v: f for v, f in module.functions.items() if v.name_hint != "main"}
    return tvm.IRModule(others, attrs=module.attrs)
