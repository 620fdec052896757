"""The functions beside `main`."""

from __future__ import annotations

import tvm

from jointdnn_tvm.passes.main_function import without_main
from jointdnn_tvm.passes.pipeline import grouping
from tests.tiny_models import random_module


def test_everything_but_main_is_kept() -> None:
    module = grouping()(random_module(1)).with_attr("note", "kept")
    others = without_main(module)
    names = {v.name_hint for v in module.functions}
    assert {v.name_hint for v in others.functions} == names - {"main"}
    assert others.attrs["note"] == "kept"
    for var, function in others.functions.items():
        tvm.ir.assert_structural_equal(function, module[var.name_hint])
    assert "main" in names
