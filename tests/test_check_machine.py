"""What `jointdnn doctor` says of this machine, and of one on which something is missing."""

from __future__ import annotations

import json
import sqlite3
from importlib import metadata
from pathlib import Path

import pytest
import tvm
from tvm.target import codegen

from jointdnn_tvm import compiling
from jointdnn_tvm.cost.database import CostDatabase
from jointdnn_tvm.doctor import check_machine
from jointdnn_tvm.doctor.check_machine import (
    check_costs,
    check_host,
    check_linkers,
    check_llvm,
    check_this_machine,
    check_tvm,
)
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.targets import TargetProfile, load_target, target_names


def test_this_machine_can_run_the_tests(tmp_path: Path) -> None:
    findings = list(check_this_machine(tmp_path / "costs"))
    assert not [f for f in findings if f.status == "failure"]
    assert len({f.about for f in findings}) == len(findings)
    assert all("\n" not in f.text for f in findings)
    json.dumps([f.to_json() for f in findings])
    assert not (tmp_path / "costs").exists()  # looking makes nothing


def test_tvm_is_what_was_tested() -> None:
    found = check_tvm()
    assert found.status == "ok"
    assert found.facts["versions"]["apache-tvm"] == tvm.__version__


def test_another_tvm(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "9.9" if n.endswith("ffi") else real(n))
    found = check_tvm()
    assert found.status == "failure"
    assert "apache-tvm-ffi 9.9" in found.text
    (pin,) = (line for line in metadata.requires("jointdnn-tvm") or () if "ffi" in line)
    assert found.text.endswith(f"pip install {pin}")


def test_no_tvm(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    found = check_tvm()
    assert found.status == "failure"
    assert found.text.startswith("the package apache-tvm")


def test_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    found = check_llvm()
    assert found.status == "ok"
    assert found.facts["version"] >= 10
    monkeypatch.setattr(codegen, "llvm_get_targets", lambda: ["x86_64", "wasm32"])
    assert check_llvm().status == "warning"
    assert "cannot compile for aarch64" in check_llvm().text


def test_a_runtime_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise AttributeError("there is no such function\nand a stack")

    monkeypatch.setattr(codegen, "llvm_get_targets", missing)
    found = check_llvm()
    assert found.status == "warning"
    assert "runs bundles but compiles none (there is no such function)" in found.text
    monkeypatch.setattr(compiling, "tvm_target", missing)
    assert check_host().status == "warning"


def test_the_processor_that_host_means(monkeypatch: pytest.MonkeyPatch) -> None:
    found = check_host()
    assert found.status == "ok"
    assert found.facts["cpu"] == codegen.llvm_get_system_cpu()
    assert found.facts["cores"] == load_target("host").cores
    assert found.facts["cpu"] in found.text

    def unknown(profile: TargetProfile) -> None:
        raise BuildError("TVM does not know it; correct it")

    monkeypatch.setattr(compiling, "tvm_target", unknown)
    assert check_host().status == "failure"
    assert check_host().text == "TVM does not know it; correct it"


def test_linkers(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(profile: TargetProfile) -> list[str]:
        if "cc" not in profile.linker:
            raise LinkError(f"target {profile.name} needs a linker; install it")
        return ["cc", "-pipe"]

    monkeypatch.setattr(check_machine, "linker_command", here)
    host, *others = sorted(check_linkers(), key=lambda f: "host" not in f.about)
    assert (host.status, host.text) == ("ok", "cc -pipe")
    assert "host" in host.facts["targets"]
    assert {f.status for f in others} == {"warning"}
    assert any("raspberry-pi-4" in f.about and "install it" in f.text for f in others)
    named = ", ".join(f.about.removeprefix("linker for ") for f in (host, *others)).split(", ")
    assert sorted(named) == sorted(target_names())


def test_no_linker_for_this_machine_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(profile: TargetProfile) -> list[str]:
        raise LinkError("install gcc")

    monkeypatch.setattr(check_machine, "linker_command", nowhere)
    failed = [f for f in check_linkers() if f.status == "failure"]
    assert len(failed) == 1
    assert "host" in failed[0].about


def test_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.sqlite"
    assert check_costs(path).status == "ok"
    assert "none yet" in check_costs(path).text
    CostDatabase.open(path).close()
    found = check_costs(path)
    assert found.status == "ok"
    assert found.facts["rows"] == {"measurements": 0, "transfers": 0}
    assert found.facts["size_bytes"] == path.stat().st_size
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert check_costs().facts["path"] == str(tmp_path / "cache" / "jointdnn" / "costs.sqlite")


def test_measurements_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, " * 100)
    connection = sqlite3.connect(tmp_path / "newer")
    connection.executescript(f"PRAGMA application_id = {0x4A444342}; PRAGMA user_version = 99;")
    connection.close()
    for name, complaint in (("text", "cannot be used"), ("newer", "format 99")):
        found = check_costs(tmp_path / name)
        assert found.status == "failure"
        assert complaint in found.text
        assert "--costs" in found.text
