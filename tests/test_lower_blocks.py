"""Functions with blocks become loops; functions without are left as they are."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import s_tir, te, tirx

from jointdnn_tvm.passes.lower_blocks import LowerBlocks


def with_blocks() -> tirx.PrimFunc:
    x = te.placeholder((4, 6), name="x")
    doubled = te.compute((4, 6), lambda i, j: x[i, j] * 2.0, name="doubled")
    shifted = te.compute((4, 6), lambda i, j: doubled[i, j] + 1.0, name="shifted")
    return te.create_prim_func([x, shifted])


def test_blocks_are_lowered() -> None:
    module = tvm.IRModule({"f": with_blocks().with_attr("global_symbol", "f")})
    lowered = tvm.transform.Sequential([LowerBlocks()])(module)
    assert isinstance(module["f"].body, s_tir.SBlockRealize)
    assert "sblock" not in lowered["f"].script()
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    result = tvm.runtime.tensor(np.zeros_like(x))
    tvm.compile(lowered, "llvm")["f"](tvm.runtime.tensor(x), result)
    np.testing.assert_array_equal(result.numpy(), x * np.float32(2) + np.float32(1))


def test_plain_loops_stay_the_same_function() -> None:
    buffer = tirx.decl_buffer((4,), "float32", "x")
    plain = tirx.PrimFunc([buffer], tirx.BufferStore(buffer, tirx.const(1.0), [0]))
    module = tvm.IRModule({"plain": plain, "f": with_blocks()})
    lowered = tvm.transform.Sequential([LowerBlocks()])(module)
    assert lowered["plain"].same_as(module["plain"])
