"""`main`, and the functions beside it."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from jointdnn_tvm.passes.main_function import extend_main, with_num_input, without_main
from jointdnn_tvm.passes.pipeline import grouping
from tests.tiny_models import random_module, relax_main

op = relax.op


def test_everything_but_main_is_kept() -> None:
    module = grouping()(random_module(1)).with_attr("note", "kept")
    others = without_main(module)
    names = {v.name_hint for v in module.functions}
    assert {v.name_hint for v in others.functions} == names - {"main"}
    assert others.attrs["note"] == "kept"
    for var, function in others.functions.items():
        tvm.ir.assert_structural_equal(function, module[var.name_hint])
    assert "main" in names


def test_main_goes_on_from_its_results() -> None:
    module = relax_main(
        {"x": (2,)}, {"w": (2,)}, lambda b, x, w: [b.emit(op.add(x, w)), b.emit(op.exp(w)), x]
    )
    extra = relax.Var("extra", relax.TensorType((2,), "float32"))
    x, w = module["main"].params

    def extension(builder: relax.BlockBuilder, fields: list[Any]) -> list[Any]:
        total, unused, same = fields
        assert same.same_as(x)
        del unused
        return [builder.emit(op.multiply(total, extra)), same]

    extended = extend_main(module, extension, [x, extra, w], 2)
    assert relax.analysis.check_well_formed(extended)
    main = extended["main"]
    assert [p.name for p in main.params] == ["x", "extra", "w"]
    assert int(main.attrs["num_input"]) == 2
    operators = [b.value.op.name for b in main.body.blocks[0].bindings[:-1]]
    assert operators == ["relax.add", "relax.multiply"]  # nobody needs the exponential any more


def test_extension_that_changes_nothing() -> None:
    module = random_module(2)
    tvm.ir.assert_structural_equal(extend_main(module, lambda _, fields: fields), _clean(module))


def _clean(module: tvm.IRModule) -> tvm.IRModule:
    return relax.transform.DeadCodeElimination(["main"])(module)


def test_count_of_inputs_is_set() -> None:
    module = random_module(1)
    changed = with_num_input(module, 3)
    assert int(changed["main"].attrs["num_input"]) == 3
    assert int(module["main"].attrs["num_input"]) != 3
    tvm.ir.assert_structural_equal(changed["main"].body, module["main"].body, True)
