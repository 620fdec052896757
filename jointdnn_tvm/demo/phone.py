"""The demo's phone: a process of its own, so that it can be slowed down alone.

It reads one JSON job from standard input, says ``ready`` once it is up, waits for one more line
(the demo slows it down meanwhile), runs each bundle in turns, and prints the latencies as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.runtime.session import open_session


def main() -> None:
    """Do the job."""
    job = json.loads(sys.stdin.readline())
    inputs = {name: np.load(file) for name, file in job["inputs"].items()}
    print("ready", flush=True)
    sys.stdin.readline()
    latencies: dict[str, list[float]] = {name: [] for name in job["bundles"]}
    for _ in range(job["rounds"]):  # in turns, so that a drift of the machine hits all alike
        for name, bundle in job["bundles"].items():
            with open_session(bundle, cloud=job["cloud"], key=job["key"]) as session:
                outputs = session.run(inputs)  # warm-up: pages of weights, thread pool
                for _ in range(job["runs"]):
                    started = time.perf_counter()
                    outputs = session.run(inputs)
                    latencies[name].append(time.perf_counter() - started)
                if session.cloud_error:
                    raise RuntimeError(session.cloud_error)
            _save(Path(job["folder"]), name, outputs)
    print(json.dumps(latencies), flush=True)


def _save(folder: Path, name: str, outputs: dict[str, np.ndarray[Any, Any]]) -> None:
    for index, array in enumerate(outputs.values()):
        np.save(folder / f"{name}-{index}.npy", array)


if __name__ == "__main__":
    main()
