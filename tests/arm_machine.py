"""An AArch64 machine emulated by qemu: its Python with what a phone needs, in a folder.

    python -m tests.arm_machine     makes it (Debian, and root unless the tools are there)

A cross compiler for it comes too where that can be had; without one its Python still runs.

Correctness is what it is for: emulation is 10 to 20 times slower, so no time taken on it means
anything.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent / "build" / "arm"
EMULATOR = "qemu-aarch64-static"
TOOLS = {EMULATOR: "qemu-user-static", "aarch64-linux-gnu-ld": "binutils-aarch64-linux-gnu"}
COMPILERS = {"cmake": "cmake", "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu"}
_PACKAGES = (
    "numpy",
    "apache-tvm",
    "apache-tvm-ffi",
    "cloudpickle",
    "psutil",
    "tornado",
    "zstandard",
)
_NEEDED_BY_THOSE = ("ml_dtypes", "typing_extensions")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_SYSTEM = ROOT / "system"
_WHEELS = ROOT / "packages"
_READY = "ready"


class Unavailable(Exception):
    """What the machine is made of cannot be had here."""


def why_not() -> str | None:
    """Why the machine cannot be used, or None."""
    if missing := _missing(TOOLS):
        return f"no {' and no '.join(missing)} on this machine; `make test-arm` installs them"
    if not (ROOT / _READY).exists():
        return "no emulated ARM machine; `make test-arm` makes one"
    return None


def why_no_compiler() -> str | None:
    """Why nothing can be compiled for the machine, or None."""
    if missing := _missing(COMPILERS):
        return f"no {' and no '.join(missing)} on this machine; `make test-arm` installs them"
    return None


def python() -> Path:
    """Its Python, which runs like any other."""
    return ROOT / "python"


def program(file: Path) -> tuple[str, ...]:
    """The command that runs a program that was compiled for it."""
    return EMULATOR, "-L", str(_SYSTEM), str(file)


def libraries() -> dict[str, Path]:
    """Where the machine's own libraries lie, as CMake's variables of `device_server/`."""
    return {
        "WHEELS": _WHEELS,
        "zstd_headers": _SYSTEM / "usr" / "include",
        "zstd": _SYSTEM / "usr" / "lib" / "aarch64-linux-gnu" / "libzstd.a",
    }


def make() -> None:
    """Install the tools that are missing, and make the machine unless it is there.

    Unavailable when it cannot be had; without a compiler it is made all the same.
    """
    _install_tools(TOOLS)
    try:
        _install_tools(COMPILERS)
    except Unavailable as reason:
        print(f"nothing can be compiled for the emulated ARM machine: {reason}")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    system = (f"python{version}", "libstdc++6", "libzstd-dev")
    done, made_of = ROOT / _READY, " ".join((*system, *_wanted()))
    if done.exists() and done.read_text() == made_of:
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    _SYSTEM.mkdir(parents=True)
    for package in _debian_packages(*system):
        _run("dpkg", "-x", str(package), str(_SYSTEM))
    _install(version)
    _write_python(version)
    subprocess.run([python(), "-c", "import tvm"], check=True)
    done.write_text(made_of)


def _missing(tools: dict[str, str]) -> list[str]:
    return [package for tool, package in tools.items() if shutil.which(tool) is None]


def _install_tools(tools: dict[str, str]) -> None:
    if missing := _missing(tools):
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise Unavailable(f"install {' '.join(missing)} (as root: apt-get install …)")
        _run("apt-get", "-q", "update")
        _run("apt-get", "-q", "-y", "--no-install-recommends", "install", *missing)


def _debian_packages(*names: str) -> list[Path]:
    """The files of arm64 packages and of all that they need.

    Apt works in a folder of its own, so the packages of this machine stay as they are.
    """
    state = ROOT / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "-q", "-y", *(f"-o{name}={value}" for name, value in settings.items())]
    _run(*apt, "update")
    _run(*apt, "--no-install-recommends", "--download-only", "install", *names)
    return sorted((state / "cache" / "archives").glob("*.deb"))


def _install(version: str) -> None:
    """The phone's packages."""
    platforms = [f"--platform={platform}" for platform in _PLATFORMS]
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", f"--python-version={version}", *platforms),
        *("--target", str(_WHEELS), *_wanted(), *_NEEDED_BY_THOSE),
    )


def _wanted() -> list[str]:
    """In the versions that are installed here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in _PACKAGES]


def _write_python(version: str) -> None:
    """A command that emulates, and that Python takes for itself when it starts another one."""
    project = Path(__file__).parent.parent
    script = f"""#!/bin/sh
exec {EMULATOR} -L {_SYSTEM} -0 {python()} -E PYTHONHOME=/usr \\
    -E PYTHONPATH={_WHEELS}:{project} {_SYSTEM}/usr/bin/python{version} "$@"
"""
    python().write_text(script)
    python().chmod(0o755)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"{' '.join(command)[:200]}: {error}") from error


if __name__ == "__main__":
    try:
        make()
    except Unavailable as reason:
        print(f"no emulated ARM machine: {reason}")
