"""How many more trials two devices make than one, in the same time.

    python benchmarks/tuning_devices.py [--network squeezenet] [--minutes 1] [--slowdown 4]

Device servers of this machine, each on one core of its own, stand for boards: they are taken for
hosts of their own. Kernels are compiled on the same cores, which takes time from both; with
`--slowdown` the devices are emulated slower ones, as boards are, that leave time for that.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from unittest import mock

from known_networks import network_file, network_names

from jointdnn_tvm import devices as devices_module
from jointdnn_tvm.cli.console import note
from jointdnn_tvm.cli.tune import watched
from jointdnn_tvm.cost import bench
from jointdnn_tvm.cost.database import CostDatabase
from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.tuning.tune_network import tune
from jointdnn_tvm.tuning.tuner import SOURCE

_START_S = 60.0


def _apart(session: RemoteSession) -> Device:
    """As if every server were on a host of its own."""
    device = describe_device(session)
    return replace(device, host=f"host {session.address.port}")


def trials(network: Network, count: int, options: argparse.Namespace, costs: Path) -> int:
    """What so many devices try in the minutes; of before only the groups' times are known."""
    with closing(sqlite3.connect(costs)) as connection, connection:
        connection.execute("DELETE FROM measurements WHERE source LIKE ?", (f"{SOURCE}%",))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}))
        for module in (devices_module, bench):
            stack.enter_context(mock.patch.object(module, "describe_device", _apart))

        def start(*words: str) -> ServerProcess:
            line = ["-m", "jointdnn_tvm.cli", *words, "--port", "0", "--until-stdin-closes"]
            return stack.enter_context(ServerProcess(words[0], line, {"TVM_NUM_THREADS": "1"}))

        tracker = start("tracker").wait_ready(_START_S)
        watch = stack.enter_context(watched())
        for core in range(count):
            words = ["--tracker", str(tracker), "--key", "board", "--private-cache"]
            server = start("device", *words, "--slowdown", str(options.slowdown))
            os.sched_setaffinity(server.pid, {core})
            server.wait_ready(_START_S)
        found = tune(
            network,
            tracker=str(tracker),
            key="board",
            minutes=options.minutes,
            database=costs,
            progress=lambda what, done, total: note(f"{what}: {done} of {total}"),
            watch=watch,
        )
        return found.trials


def main() -> int:
    """Prints both numbers and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="squeezenet", choices=network_names(), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--slowdown", type=float, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        network = load_network(network_file(options.network, Path(folder)))
        costs = Path(folder) / "costs"
        CostDatabase.open(costs).close()
        one, two = (trials(network, count, options, costs) for count in (1, 2))
    print(json.dumps({"one": one, "two": two, "ratio": round(two / max(one, 1), 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
