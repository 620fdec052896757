"""`jointdnn compile`: what it prints, and what is left when it cannot end."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from jointdnn_tvm.deploy.loopback import LoopbackLab
from tests.command import Command, Ended, contents
from tests.deployment import eventually
from tests.networks import light_network
from tests.onnx_models import make_model, save

_ANSWER = {
    *("status", "objective", "bound", "latency_s", "energy_j", "cloud_s", "mobile_bytes", "error"),
    *("bottleneck_s", "switches", "placement", "codecs", "solver", "solve_s"),
}


def test_result_as_json(
    branching_path: Path, tmp_path: Path, lab: LoopbackLab, jointdnn: Command
) -> None:
    bundle = tmp_path / "model.jd"
    words = ["--placement", "random:1", "--tracker", lab.tracker, "--costs", tmp_path / "costs"]
    ended = jointdnn("compile", branching_path, "-o", bundle, *words, "--json")
    assert ended.code == 0, ended
    result = json.loads(ended.out)
    assert result["bundle"] == str(bundle)
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert [s["name"] for s in result["stages"]] == [s["name"] for s in manifest["stages"]]
    assert {s["side"] for s in result["stages"]} == {"mobile", "cloud"}
    plan = result["plan"]
    assert plan.keys() >= _ANSWER
    assert plan["status"] == "feasible"
    assert set(plan["placement"].values()) == {"mobile", "cloud"}
    assert plan["latency_s"] > plan["cloud_s"] > 0
    assert plan["newly_measured"] > 0

    again = jointdnn("compile", branching_path, "-o", bundle, *words)
    assert again.code == 0, again
    assert "newly measured: 0 (all costs were known)" in again.out


def test_zeros_and_indices_out_of_range(
    tmp_path: Path, lab: LoopbackLab, jointdnn: Command
) -> None:
    """Measuring divides by zeros; so may a query. An index out of range is one line."""
    nodes = [
        helper.make_node("Div", ["a", "b"], ["quotient"]),
        helper.make_node("Mod", ["a", "b"], ["modulo"]),
        helper.make_node("Gather", ["table", "i"], ["y"]),
    ]
    values: dict[str, Any] = {"a": [7, -7, 5], "b": [0, 2, -3], "i": [-1, 0]}
    feeds = {name: np.array(value, np.int32) for name, value in values.items()}
    table = np.arange(5, dtype=np.float32)
    model = make_model(nodes, {"table": table, **feeds}, ["quotient", "modulo", "y"])
    path, bundle = save(model, tmp_path), tmp_path / "model.jd"
    words = ["--tracker", lab.tracker, "--costs", tmp_path / "costs", "--placement", "cloud-only"]
    ended = jointdnn("compile", path, "-o", bundle, *words)
    assert ended.code == 0, ended
    assert "Warning" not in ended.err

    def run(**changed: Any) -> Ended:
        words = []
        for name, value in {"table": table, **feeds, **changed}.items():
            np.save(tmp_path / name, value)
            words += ["--input", f"{name}={tmp_path / name}.npy"]
        return jointdnn("run", bundle, "--tracker", lab.tracker, "--output", tmp_path, *words)

    assert run().code == 0
    results = [np.load(tmp_path / f"{name}.npy").tolist() for name in ("quotient", "modulo", "y")]
    assert results == [[0, -3, -1], [0, 1, -1], [4, 0]]
    told = "an index of Gather is out of range: it must lie in -5 to 4; check the query's inputs"
    assert told in run(i=np.array([0, 5], np.int32)).complaint


def _no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("jointdnn_tvm.bundle.write_weights", "b.jd cannot be written (No space left on device)"),
        ("jointdnn_tvm.bundle._replace", "b.jd cannot be written (No space left on device)"),
        ("jointdnn_tvm.building.tempfile.TemporaryDirectory", "No space left on device"),
    ],
)
def test_full_disk(
    function: str,
    told: str,
    branching_path: Path,
    tmp_path: Path,
    lab: LoopbackLab,
    jointdnn: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["compile", branching_path, "-o", tmp_path / "b.jd", "--tracker", lab.tracker]
    monkeypatch.setattr(function, _no_room)
    assert told in jointdnn(*words).complaint
    assert contents(tmp_path) == {}


class Compiling:
    """`jointdnn compile` in a process of its own, with all that it starts and writes."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._mark = f"JOINTDNN_TEST={folder}".encode()
        self.output, self._temporary = folder / "out", folder / "tmp"
        self.output.mkdir()
        self._temporary.mkdir()
        words = ["compile", str(model), "-o", str(self.output / "model.jd")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jointdnn_tvm.cli", *words],
            env={
                **os.environ,
                "JOINTDNN_TEST": str(folder),
                "XDG_CACHE_HOME": str(folder / "cache"),
                "TMPDIR": str(self._temporary),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a job of its own, as in a shell, that Ctrl-C goes to
        )

    def wait_for(self, progress: str) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith(progress):
                return
        raise AssertionError(f"it ended without {progress!r}")

    def interrupt(self, sig: signal.Signals) -> tuple[int, str, str]:
        os.killpg(self._process.pid, sig)
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, err

    def processes(self) -> list[int]:
        """Every process that has inherited its environment."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    marked = self._mark in Path(f"/proc/{name}/environ").read_bytes()
                except OSError:
                    continue
                found += [int(name)] if marked else []
        return found

    def leftovers(self) -> list[Path]:
        return [*self.output.iterdir(), *self._temporary.iterdir()]


COMPILING, MEASURING = "compiling groups", "measuring on the mobile"


@pytest.mark.parametrize(
    ("sig", "progress"),
    [(signal.SIGINT, COMPILING), (signal.SIGINT, MEASURING), (signal.SIGTERM, MEASURING)],
)
def test_interrupted(sig: signal.Signals, progress: str, tmp_path: Path) -> None:
    compiling = Compiling(light_network("squeezenet", tmp_path), tmp_path)
    compiling.wait_for(progress)
    assert len(compiling.processes()) > 3  # the command, a tracker and two device servers at least
    started = time.monotonic()
    code, out, err = compiling.interrupt(sig)
    assert (code, out) == (128 + sig, "")
    assert err.splitlines()[-1] == "jointdnn: error: interrupted"
    assert "Traceback" not in err
    assert time.monotonic() - started < 20
    assert eventually(lambda: not compiling.processes())
    assert compiling.leftovers() == []
    if progress == MEASURING:
        with closing(sqlite3.connect(tmp_path / "cache" / "jointdnn" / "costs.sqlite")) as costs:
            assert costs.execute("SELECT count(*) FROM measurements").fetchone()[0] > 0


def test_analytic_costs_need_no_device(
    branching_path: Path, tmp_path: Path, jointdnn: Command
) -> None:
    """The bundle is built for this machine; an address that nobody has shows that none is asked."""
    words = ["--costs", "analytic", "--tracker", "127.0.0.1:1"]
    ended = jointdnn("compile", branching_path, "-o", tmp_path / "model.jd", *words)
    assert ended.code == 0, ended
    assert "mobile latency: model:roofline" in ended.out
    assert "newly measured" not in ended.out
    boards = ["--mobile", "raspberry-pi-5", "--cloud", "cuda-sm90", "--link", "lan-1g"]
    for verb in ("measure", "plan", "explain"):
        planning = [] if verb == "measure" else boards[4:]
        ended = jointdnn(verb, branching_path, *words, *boards[:4], *planning)
        assert ended.code == 0, ended
        assert "model:roofline" in ended.out
        assert not (tmp_path / "analytic").exists()
