"""`jointdnn tracker`: run a TVM RPC tracker, or look at one."""

from __future__ import annotations

import argparse
import os
from typing import Any

from jointdnn_tvm.runtime.address import Address

HELP = "run a TVM RPC tracker, or print the queue of one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=9190, help="0: any free one (%(default)s)")
    parser.add_argument("--status", metavar="HOST:PORT", help="print what that tracker knows")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Serve in the foreground until SIGTERM or Ctrl-C; with --status return the queue."""
    if args.status:
        from jointdnn_tvm.runtime.tracker_client import tracker_summary

        return _status(tracker_summary(Address.parse(args.status)))
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
    from jointdnn_tvm.deploy.sockets import warn_if_exposed
    from jointdnn_tvm.deploy.tracker_server import serve_tracker

    def ready(address: Address) -> None:
        warn_if_exposed(args.host, "register devices and learn where the others are")
        print(f"READY {address}", flush=True)

    serve_tracker(args.host, args.port, ready, 0 if args.until_stdin_closes else None)
    return None


def render(result: dict[str, Any]) -> str:
    """The queue as a table."""
    rows = [("key", "servers", "free", "waiting", "addresses")]
    for name, key in result["keys"].items():
        counts = (str(key["servers"]), str(key["free"]), str(key["waiting"]))
        rows.append((name, *counts, " ".join(key["addresses"])))
    if len(rows) == 1:
        return "no device is registered"
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _status(summary: dict[str, Any]) -> dict[str, Any]:
    keys: dict[str, dict[str, Any]] = {}

    def entry(name: str) -> dict[str, Any]:
        return keys.setdefault(name, {"servers": 0, "free": 0, "waiting": 0, "addresses": []})

    for server in summary["server_info"]:
        found = entry(server["key"].removeprefix("server:"))
        found["servers"] += 1
        found["addresses"].append(":".join(map(str, server["addr"])))
    for name, queue in summary["queue_info"].items():
        if queue["free"] or queue["pending"] or name in keys:
            entry(name).update(free=queue["free"], waiting=queue["pending"])
    return {"keys": dict(sorted(keys.items()))}
