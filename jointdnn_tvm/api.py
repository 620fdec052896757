"""The whole flow, a call a step; `compile` is its table of contents."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from jointdnn_tvm import targets
from jointdnn_tvm.build import build, tvm_target
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.cost.database import CostDatabase, Measurement
from jointdnn_tvm.cost.table import CostTable, make_problem
from jointdnn_tvm.group_library import build_group_libraries
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.plan import AUTO, Plan, answer_problem
from jointdnn_tvm.targets import LinkProfile, TargetProfile

Progress = Callable[[str, int, int], None]  # what is being done, how many done, of how many


def compile(
    model: str | PathLike[str],
    *,
    mobile: str = "host",
    cloud: str = "host",
    link: str | LinkProfile = "huang2012-wifi",
    objective: str = "latency",
    placement: str = AUTO,
    shapes: Mapping[str, Sequence[int]] | None = None,
    devices: Devices | None = None,
    database: str | Path | None = None,
    dump_ir: Path | None = None,
    fallback: bool = True,
    progress: Progress | None = None,
) -> Bundle:
    """Import a network, measure it on both devices, place it, and compile both halves.

    `mobile`, `cloud` and `link` are names of profiles or paths of TOML files. Without `devices`
    two device servers are started on loopback. The result is in memory: `save` it.
    """
    network = load_network(model, shapes)
    costs = measure(
        network, mobile=mobile, cloud=cloud, devices=devices, database=database, progress=progress
    )
    made = plan(network, costs, link=link, objective=objective, placement=placement)
    return build(network, made, fallback=fallback, dump_ir=dump_ir)
