"""Arguments that cannot be right: one line, exit 1 (2 for usage), nothing written."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.deploy.loopback import LoopbackLab
from tests.command import Command, contents


@pytest.fixture
def refused(jointdnn: Command, tmp_path: Path) -> Callable[..., str]:
    """Run words that cannot be done; returns the one line, after a look at what was written."""

    def refuse(*words: object) -> str:
        before = contents(tmp_path)
        line = jointdnn(*words).complaint
        assert contents(tmp_path) == before
        return line

    return refuse


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "required: VERB"),
        (["fly"], "invalid choice: 'fly'"),
        (["compile"], "required: MODEL, -o/--output"),
        (["compile", "m.onnx", "-o", "b", "--objective", "beauty"], "invalid choice: 'beauty'"),
        (["compile", "m.onnx", "-o", "b", "--device-timeout", "0"], "seconds above 0"),
        (["compile", "m.onnx", "-o", "b", "--device-timeout", "nan"], "seconds above 0"),
        (["run", "b", "--repeat", "many"], "invalid int value: 'many'"),
        (["run", "b", "--timeout", "-1"], "seconds above 0"),
        (["run", "b", "--colour"], "unrecognized arguments: --colour"),
        (["device", "--slowdown", "0.5"], "0.5 is not from 1 to 1000"),
    ],
)
def test_usage(words: list[str], told: str, jointdnn: Command) -> None:
    ended = jointdnn(*words)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--mobile", "iphone"], "'iphone'"),
        (["--cloud", "mainframe"], "'mainframe'"),
        (["--mobile", "/nowhere/phone.toml"], "/nowhere/phone.toml"),
        (["--mobile", "raspberry-pi-4"], "`jointdnn device --key mobile --target raspberry-pi-4`"),
        (["--link", "string"], "'string'"),
        (["--link", "up=1e6"], "down"),
        (["--link", "up=fast,down=1e6,rtt=0.05"], "fast"),
        (["--link", "up=-1,down=1e6,rtt=0.05"], "-1"),
        (["--link", "up=nan,down=1e6,rtt=0.05"], "nan"),
        (["--link", "/nowhere/link.toml"], "/nowhere/link.toml"),
        (["--placement", "everywhere"], "use auto, mobile-only, cloud-only, random:SEED"),
        (["--placement", "random:"], "needs a whole number, such as random:1"),
        (["--placement", "random:x"], "needs a whole number, such as random:1"),
        (["--placement", "/nowhere/p.json"], "placement '/nowhere/p.json' is unknown"),
        (["--tracker", "localhost"], "'localhost' is not an address; write HOST:PORT"),
        (["--tracker", "localhost:0"], "has no port from 1 to 65535"),
        (["--tracker", "127.0.0.1:1"], "no tracker at 127.0.0.1:1 (Connection refused); start one"),
    ],
)
def test_compile(words: list[str], told: str, branching_path: Path, refused: Any) -> None:
    assert told in refused("compile", branching_path, "-o", branching_path.parent / "b.jd", *words)
    assert not (branching_path.parent / "b.jd").exists()


TARGETS = {
    "not toml": "name = ",
    "empty": "",
    "unknown key": 'colour = "blue"',
    "wrong type": 'kind = "cpu"\ncores = "many"',
}


@pytest.mark.parametrize("text", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("option", ["--mobile", "--link"])
def test_profile_that_is_wrong(
    text: str, option: str, branching_path: Path, tmp_path: Path, refused: Any
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    words = ["compile", branching_path, "-o", tmp_path / "b.jd", option, path]
    assert str(path) in refused(*words)


def test_target_that_tvm_does_not_know(
    branching_path: Path, tmp_path: Path, jointdnn: Command, refused: Any
) -> None:
    host = (
        Path(sys.modules["jointdnn_tvm"].__path__[0]) / "targets/raspberry-pi-4.toml"
    ).read_text()
    path = tmp_path / "mine.toml"
    path.write_text(host.replace("cortex-a72", "cortex-a99"))
    line = refused("compile", branching_path, "-o", tmp_path / "b.jd", "--mobile", path)
    assert "mine" in line or str(path) in line


PLACEMENTS = {
    "not JSON": ("{", "is not JSON"),
    "a list": ("[1]", "holds no placement"),
    "numbers": ('{"placement": {"g": 1}}', "holds no placement"),
    "unknown group": ('{"g": "mobile"}', "'g'"),
    "too few": ("{}", "no side for operator"),
}


@pytest.mark.parametrize("name", PLACEMENTS)
def test_placement_file(
    name: str, branching_path: Path, tmp_path: Path, lab: LoopbackLab, refused: Any
) -> None:
    text, told = PLACEMENTS[name]
    path = tmp_path / "placement.json"
    path.write_text(text)
    words = ["-o", tmp_path / "b.jd", "--placement", path, "--tracker", lab.tracker]
    assert told in refused("compile", branching_path, *words)


def test_side_that_does_not_exist(
    branching_path: Path, tmp_path: Path, lab: LoopbackLab, jointdnn: Command, refused: Any
) -> None:
    words = [branching_path, "--tracker", lab.tracker, "--json"]
    answer = json.loads(jointdnn("plan", *words).out)
    placement = {name: "desktop" for name in answer["placement"]}
    path = tmp_path / "placement.json"
    path.write_text(json.dumps(placement))
    line = refused("compile", *words[:3], "-o", tmp_path / "b.jd", "--placement", path)
    assert "'desktop'" in line


def test_key_that_nobody_serves(
    branching_path: Path, tmp_path: Path, lab: LoopbackLab, refused: Any
) -> None:
    words = ["--tracker", lab.tracker, "--cloud-key", "gpu", "--device-timeout", "2"]
    line = refused("compile", branching_path, "-o", tmp_path / "b.jd", *words)
    assert f"no device with key 'gpu' became free at tracker {lab.tracker} within 2 s" in line
    assert f"start one with `jointdnn device --tracker {lab.tracker} --key gpu`" in line
    assert f"look with `jointdnn tracker --status {lab.tracker}`" in line


def test_tracker_that_is_none(branching_path: Path, tmp_path: Path, refused: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        words = ["--tracker", address, "--device-timeout", "1"]
        line = refused("compile", branching_path, "-o", tmp_path / "b.jd", *words)
    assert f"what listens at {address} is not a TVM RPC tracker" in line


def _database(name: str, folder: Path) -> Path:
    path = folder / "costs"
    if name == "text":
        path.write_text("not a database, but long enough to be taken for one" * 100)
    elif name == "folder":
        path.mkdir()
    elif name == "below a file":
        path.write_text("")
        path = path / "costs"
    else:
        path = Path("/proc/costs")
    return path


@pytest.mark.parametrize("name", ["text", "folder", "below a file", "unwritable"])
def test_costs(
    name: str, branching_path: Path, tmp_path: Path, lab: LoopbackLab, refused: Any
) -> None:
    path = _database(name, tmp_path)
    words = ["-o", tmp_path / "b.jd", "--tracker", lab.tracker, "--costs", path]
    line = refused("compile", branching_path, *words)
    assert str(path) in line
    assert "--costs" in line


def test_cache_that_cannot_be_written(
    branching_path: Path,
    tmp_path: Path,
    lab: LoopbackLab,
    monkeypatch: pytest.MonkeyPatch,
    refused: Any,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/cache")
    words = ["-o", tmp_path / "b.jd", "--tracker", lab.tracker]
    assert "choose another with --costs" in refused("compile", branching_path, *words)


@pytest.mark.parametrize("where", ["file/b.jd", "file/a/b.jd", "file", "full", "/proc/b.jd", "n"])
def test_output(where: str, branching_path: Path, tmp_path: Path, refused: Any) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    output = tmp_path / (where if where != "n" else "n" * 300)
    line = refused("compile", branching_path, "-o", output)
    assert str(output) in line
    assert "choose another output" in line


def test_folder_for_the_steps(
    branching_path: Path, tmp_path: Path, lab: LoopbackLab, refused: Any
) -> None:
    words = ["-o", tmp_path / "b.jd", "--tracker", lab.tracker, "--dump-ir", "/proc/steps"]
    assert "choose another --dump-ir" in refused("compile", branching_path, *words)


def test_only_the_line(tmp_path: Path) -> None:
    """The real command, in a process of its own."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"text")
    words = ["-m", "jointdnn_tvm.cli", "compile", str(model), "-o", str(tmp_path / "b.jd")]
    ended = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"jointdnn: error: '{model}' is not an ONNX file, or is cut short; "
        "export or download it again\n"
    )
    assert list(tmp_path.iterdir()) == [model]
