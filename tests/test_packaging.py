"""What an installation puts where imports find it: one package, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

_IMPORTS = """
import importlib, sys
for name in ("passes", "targets", "tests"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"import {name} finds something")
from jointdnn_tvm.passes import attributes
from jointdnn_tvm.targets import load_link, load_target
load_target("raspberry-pi-4"), load_link("huang2012-wifi")
print(importlib.import_module("jointdnn_tvm").__file__)
"""


def imported_from(folder: Path, **environment: str) -> Path:
    """Where the package comes from in a process that was started in that folder."""
    ended = subprocess.run(
        [sys.executable, "-c", _IMPORTS],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return Path(ended.stdout.strip())


def test_editable_install(tmp_path: Path) -> None:
    assert imported_from(tmp_path) == ROOT / "jointdnn_tvm" / "__init__.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel, made from a copy: a build leaves files in its folder."""
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("jointdnn_tvm", "passes", "targets"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    (file,) = source.glob("*.whl")
    return zipfile.Path(file)


def test_wheel_holds_one_package(wheel: zipfile.Path) -> None:
    names = wheel.root.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert sorted(tops) == ["jointdnn_tvm", "jointdnn_tvm-0.1.0.dist-info"]
    for folder in ("jointdnn_tvm", "passes", "targets"):
        inside = "" if folder == "jointdnn_tvm" else f"{folder}/"
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".toml", ".typed"):
                assert f"jointdnn_tvm/{inside}{file.relative_to(ROOT / folder)}" in names
    assert "jointdnn = jointdnn_tvm.cli:main" in (
        wheel / "jointdnn_tvm-0.1.0.dist-info" / "entry_points.txt"
    ).read_text(encoding="utf-8")


def test_installed_wheel(wheel: zipfile.Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    wheel.root.extractall(site)
    found = imported_from(tmp_path, PYTHONPATH=str(site))
    assert found == site / "jointdnn_tvm" / "__init__.py"
