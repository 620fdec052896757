"""A network of many groups whose code is compiled at once; also a program that measures it.

    python -m tests.many_groups TRACKER LIBRARY DATABASE COUNT

The program says the key of each group that it measures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import tvm

from jointdnn_tvm import library_shelf, measuring
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.graph import Graph, Group
from jointdnn_tvm.group_library import GroupLibrary
from jointdnn_tvm.network import Network
from jointdnn_tvm.targets import load_target
from tests.measurable import PRODUCT, QUICK


def measure_many(
    devices: Devices, library: Path, database: Path, count: int, said: Callable[[int], None]
) -> CostTable:
    """Measure that many groups on both sides of a tracker, which share one kind of device."""
    keys = [f"group_{n}" for n in range(count)]
    network = Network("many", tvm.IRModule(), {}, (), ())
    groups = tuple(Group(key, ("matmul",), (), (), (), 0, key) for key in keys)
    vars(network)["graph"] = Graph(groups, (), (), ())

    def build(
        network: Network, keys: Sequence[str], *others: Any
    ) -> tuple[list[GroupLibrary], dict[str, str]]:
        batches = [keys[i : i + 10] for i in range(0, len(keys), 10)]
        workloads = [tuple(replace(PRODUCT, key=k) for k in batch) for batch in batches]
        return [GroupLibrary(library, batch) for batch in workloads], {}

    def progress(what: str, done: int, total: int) -> None:
        if what.startswith("measuring"):
            said(done)

    with (
        mock.patch.object(library_shelf, "build_group_libraries", build),
        mock.patch.object(measuring, "what_to_time", return_value=keys),  # no whole network
        mock.patch.object(measuring, "EvaluatorConfig", return_value=QUICK),
        mock.patch.object(measuring, "tuned_target", load_target),  # there is no code to mark
    ):
        return measuring.measure(network, devices=devices, database=database, progress=progress)


if __name__ == "__main__":
    tracker, library, database, count = sys.argv[1:]
    table = measure_many(
        Devices(tracker, cloud_key="mobile"),
        Path(library),
        Path(database),
        int(count),
        lambda done: print(done, flush=True),
    )
    print("new", table.measured, flush=True)
