"""Kernels built by the short pipeline compute what those built by TVM's own do."""

from __future__ import annotations

import numpy as np
import tvm

from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.lower_blocks import LowerBlocks
from tests.test_lower_blocks import with_blocks


def test_both_pipelines_compute_the_same() -> None:
    module = tvm.IRModule({"f": with_blocks().with_attr("global_symbol", "f")})
    lowered = tvm.transform.Sequential([LowerBlocks()])(module)
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    results = []
    for pipeline in (LOOPS_TO_CODE, "default"):
        result = tvm.runtime.tensor(np.zeros_like(x))
        tvm.tirx.build(lowered, "llvm", pipeline)["f"](tvm.runtime.tensor(x), result)
        results.append(result.numpy())
    np.testing.assert_array_equal(*results)
    assert np.any(results[0])
