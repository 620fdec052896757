from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tvm
from tvm import relax

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.drop_scope_marks import DropScopeMarks
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target
from tests.onnx_models import run_module

op = relax.op


def scatter(value: relax.Var) -> relax.Expr:
    indices = relax.const(np.array([[1, 2], [0, 0]]), "int64")
    return op.scatter_nd(value, indices, relax.const(np.array([7, 8], np.float32)))


def scatter_along(value: relax.Var) -> relax.Expr:
    indices = relax.const(np.array([[1, 0, 1, 1]]), "int64")
    return op.scatter_elements(value, indices, relax.const(np.ones((1, 4), np.float32)), axis=0)


def module_of(make: Callable[[relax.Var], relax.Expr]) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    value = relax.Var("x", relax.TensorType((2, 4), "float32"))
    with builder.function("main", [value]):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple([builder.emit(make(value))]))
        builder.emit_func_output(result)
    return builder.get()


@pytest.mark.parametrize("make", [scatter, scatter_along])
def test_kernels_stay_what_they_are(make: Callable[[relax.Var], relax.Expr]) -> None:
    module = relax.transform.LegalizeOps()(module_of(make))
    assert "pragma_scope" in module.script()
    dropped = tvm.transform.Sequential([DropScopeMarks()])(module)
    assert "pragma_scope" not in dropped.script()
    assert relax.analysis.check_well_formed(dropped)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_array_equal(run_module(dropped, [x]), run_module(module, [x]))


@pytest.mark.parametrize("make", [scatter, scatter_along])
def test_nothing_is_printed(
    make: Callable[[relax.Var], relax.Expr], capfd: pytest.CaptureFixture[str]
) -> None:
    profile = load_target("host")
    target = tvm_target(profile)
    with target:
        lowered, _ = lower(module_of(make), target, profile)
        tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE)
    assert capfd.readouterr() == ("", "")
