"""A group computes the same bits, however far the stage reaches that it stands in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from jointdnn_tvm.compiling import compile_library
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.keep_groups_apart import DropGroupEnds, KeepGroupsApart
from jointdnn_tvm.passes.pipeline import grouping
from jointdnn_tvm.targets import load_target
from tests.tiny_models import Array, random_arrays, relax_main

op = relax.op
apart = tvm.transform.Sequential([grouping(), KeepGroupsApart()])


def product_and_sum() -> tvm.IRModule:
    """The product belongs to the first group, the sum to the second: fused, they round once."""

    def body(b: relax.BlockBuilder, x: Any, y: Any) -> list[Any]:
        product = b.emit(op.multiply(b.emit(op.cumsum(x, 1)), y))
        return [b.emit(op.add(b.emit(op.cumsum(y, 1)), product))]

    return relax_main({"x": (8, 300), "y": (8, 300)}, {}, body)


def run(module: tvm.IRModule, arrays: dict[str, Array], folder: Path) -> list[Array]:
    compile_library(module, load_target("host"), folder / "main.so")
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(folder / "main.so")), tvm.cpu())
    return [r.numpy() for r in machine["main"](*map(tvm.runtime.tensor, arrays.values()))]


def test_groups_give_the_bits_that_they_give_alone(tmp_path: Path) -> None:
    module = product_and_sum()
    arrays = random_arrays(module, 0)
    together = run(apart(module), arrays, tmp_path)
    alone = HostNetwork(Network("sums", module, {}, (), ()))
    assert len(alone.graph.groups) == 2
    expected = alone.outputs(alone.tensors(arrays), {})
    for found, wanted in zip(together, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_marks_are_dropped_again() -> None:
    grouped = grouping()(product_and_sum())
    marked = tvm.transform.Sequential([KeepGroupsApart()])(grouped)
    assert "end_of_group" in marked.script()
    dropped = tvm.transform.Sequential([DropGroupEnds()])(marked)
    assert "end_of_group" not in dropped.script()
    for module in (marked, dropped):
        assert relax.analysis.check_well_formed(module)
