"""What a network takes end to end over the sum of its groups, on this CPU.

    python benchmarks/sum_of_groups.py [--network squeezenet]... [--json FILE]

`whole` is the network measured as one stage, by which a plan corrects its groups; `session` is the
median of queries to a mobile-only bundle, which is what a user gets. Threads: one. Where that is
allowed, what is timed goes before other processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bed_sides import ONE_THREAD
from foreign_load import ForeignLoad
from known_networks import network_file, network_inputs, network_names
from undisturbed import urgent

import jointdnn_tvm as jd
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.graph import stage_key, whole_network

_DEFAULT = ("opennsfw", "ppocr_det", "ppocr_rec", "ppocr_cls", "onet", "squeezenet", "resnet50")
_QUERIES, _LEAST_S = 20, 2.0


def compare(name: str, folder: Path) -> dict[str, Any]:
    """One network's row; seconds."""
    load = ForeignLoad()
    network = jd.load_network(network_file(name, folder))
    with ExitStack() as stack:
        with urgent():
            lab = stack.enter_context(LoopbackLab())
        report = stack.enter_context(progress())
        devices = jd.Devices(str(lab.tracker), lab.mobile_key, lab.cloud_key)
        database = folder / f"{name}.sqlite"
        costs = jd.measure(network, devices=devices, database=database, progress=report)
    graph = network.graph
    whole = costs.on_mobile[stage_key(graph, whole_network(graph))]
    plan = jd.plan(network, costs, placement="mobile-only")
    bundle = jd.build(network, plan, fallback=False).save(folder / f"{name}.jd")
    inputs = network_inputs(name, network.inputs)
    taken: list[float] = []
    with urgent(), jd.open_session(bundle) as session:
        session.run(inputs)
        while len(taken) < _QUERIES or sum(taken) < _LEAST_S:
            started = time.perf_counter()
            session.run(inputs)
            taken.append(time.perf_counter() - started)
    parts_s = [costs.on_mobile[g.key].latency_s or 0.0 for g in graph.groups]
    return {
        "network": name,
        "groups": len(graph.groups),
        "sum_s": sum(parts_s),
        "whole_s": whole.latency_s,
        "session_s": statistics.median(taken),
        "foreign_cores": load.cores(),
    }


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=network_names(), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD)
    rows = []
    print(
        f"{'network':14}{'groups':>7}{'sum':>12}{'whole':>12}{'session':>12}{'whole/sum':>11}"
        f"{'session/sum':>13}{'session/whole':>15}{'others':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in options.network or _DEFAULT:
            row = compare(name, Path(folder))
            rows.append(row)
            sum_s, whole_s, session_s = (row[key] for key in ("sum_s", "whole_s", "session_s"))
            print(
                f"{name:14}{row['groups']:7}{sum_s * 1e3:9.3f} ms{whole_s * 1e3:9.3f} ms"
                f"{session_s * 1e3:9.3f} ms{whole_s / sum_s:11.3f}{session_s / sum_s:13.3f}"
                f"{session_s / whole_s:15.3f}{row['foreign_cores']:8.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
