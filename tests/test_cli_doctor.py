"""`jointdnn doctor`: its lines, its JSON, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from jointdnn_tvm.cli.doctor import exit_code, render
from jointdnn_tvm.deploy.loopback import LoopbackLab
from tests.command import Command


def test_a_deployment_that_is_well(lab: LoopbackLab, jointdnn: Command, tmp_path: Path) -> None:
    words = ("--tracker", lab.tracker, "--costs", tmp_path / "costs")
    ended = jointdnn("doctor", *words, "--json")
    assert ended.code == 0, ended
    document = json.loads(ended.out)
    assert document["status"] in ("ok", "warning")  # a linker for ARM may be missing
    assert all({"about", "status", "text"} <= check.keys() for check in document["checks"])
    abouts = [check["about"] for check in document["checks"]]
    assert abouts[:4] == ["Python", "TVM", "LLVM", "target host"]
    links = [check for check in document["checks"] if check["about"].endswith(": link")]
    assert len(links) == 2
    assert all(link["rtt_s"] > 0 and link["uplink_bps"] > 0 for link in links)
    devices = {check["key"]: check for check in document["checks"] if "tvm" in check}
    assert devices.keys() == {"mobile", "cloud"}
    assert devices["mobile"]["target"] == "host"
    assert devices["cloud"]["address"] == str(lab.address("cloud"))


def test_without_a_tracker_only_this_machine(jointdnn: Command, tmp_path: Path) -> None:
    ended = jointdnn("doctor", "--costs", tmp_path / "costs")
    assert ended.code == 0, ended
    assert "device" not in ended.out
    lines = ended.out.splitlines()
    assert all(line.split()[0] in ("ok", "warning") for line in lines[:-1])
    assert lines[0].startswith("ok       Python: ")


def test_a_failure_is_exit_1_with_the_whole_report(jointdnn: Command, tmp_path: Path) -> None:
    (tmp_path / "costs").write_text("no database, " * 100)
    ended = jointdnn("doctor", "--costs", tmp_path / "costs", "--json")
    assert ended.code == 1
    document = json.loads(ended.out)
    assert document["status"] == "failure"
    (failed,) = (check for check in document["checks"] if check["status"] == "failure")
    assert failed["about"] == "measurements"


def test_an_address_that_is_none(jointdnn: Command) -> None:
    assert "is not an address" in jointdnn("doctor", "--tracker", "nowhere").complaint


def test_how_many_are_not_well() -> None:
    checks = [
        {"about": "a", "status": "ok", "text": "fine"},
        {"about": "b", "status": "warning", "text": "hm; do this"},
    ]
    warned = {"status": "warning", "checks": checks}
    assert render(warned) == ("ok       a: fine\nwarning  b: hm; do this\nfailures: 0, warnings: 1")
    assert exit_code(warned) == 0
    assert render({"status": "ok", "checks": checks[:1]}).endswith("\nall is well")
    assert exit_code({"status": "failure", "checks": []}) == 1
