"""What is checked on this machine, without asking any other."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from jointdnn_tvm.cost.database import default_path, look_into
from jointdnn_tvm.doctor.finding import Finding, failure, ok, warning
from jointdnn_tvm.errors import JointdnnError, LinkError
from jointdnn_tvm.linking import linker_command
from jointdnn_tvm.targets import load_target, target_names

_PACKAGE = "jointdnn-tvm"
_PIN = re.compile(r"(apache-tvm[a-z-]*)==([^\s;]+)")
_HOST = "host"


def check_this_machine(costs: Path | None = None) -> Iterator[Finding]:
    """Everything that can be said here; `costs` is the measurement database, if not the user's."""
    yield ok("Python", f"{platform.python_version()} at {sys.executable}")
    yield check_tvm()
    yield check_llvm()
    yield check_host()
    yield from check_linkers()
    yield check_costs(costs)


def check_tvm() -> Finding:
    """Is it the version that this package was made for?"""
    try:
        lines = metadata.requires(_PACKAGE) or []
        pins = {pin[1]: pin[2] for line in lines if (pin := _PIN.match(line))}
        found = {name: metadata.version(name) for name in pins}
    except metadata.PackageNotFoundError as error:
        return failure("TVM", f"the package {error.name} is not installed; pip install {_PACKAGE}")
    wrong = [f"{name}=={pin}" for name, pin in pins.items() if found[name] != pin]
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if wrong:
        return failure("TVM", f"{text}: not what is needed; pip install {' '.join(wrong)}")
    return ok("TVM", text, versions=found)


def check_llvm() -> Finding:
    """Can networks be compiled, for this machine and for ARM?"""
    try:
        from tvm.target import codegen

        version, targets = codegen.llvm_version_major(), codegen.llvm_get_targets()
    except Exception as error:  # of many kinds: there is no compiler
        return _no_compiler(str(error))
    missing = sorted({"aarch64", "x86_64"} - {str(name) for name in targets})
    if missing:
        return warning(
            "LLVM", f"{version}, which cannot compile for {', '.join(missing)}; install TVM's wheel"
        )
    return ok("LLVM", f"{version}, for x86-64 and AArch64 among others", version=version)


def _no_compiler(reason: str) -> Finding:
    first_line = next(iter(reason.splitlines()), "")
    return warning(
        "LLVM",
        f"this TVM runs bundles but compiles none ({first_line}); compile on a machine that has "
        "TVM's compiler",
    )


def check_host() -> Finding:
    """Which processor is it that `host` means?"""
    try:
        from jointdnn_tvm.compiling import tvm_target

        profile = load_target(_HOST)
        cpu = str(tvm_target(profile).attrs["mcpu"])
    except JointdnnError as error:
        return failure("target host", error)
    except Exception as error:  # of many kinds: there is no compiler
        return warning("target host", f"not known without a compiler ({type(error).__name__})")
    return ok(
        "target host",
        f"{cpu}, {profile.cores} cores, vectors of {profile.vector_bits} bits",
        cpu=cpu,
        cores=profile.cores,
        vector_bits=profile.vector_bits,
    )


def check_linkers() -> Iterator[Finding]:
    """Has every target the linker that it needs here?"""
    targets: dict[tuple[str, ...], list[str]] = {}
    for name in target_names():
        targets.setdefault(load_target(name).linker, []).append(name)
    for names in targets.values():
        about = f"linker for {', '.join(names)}"
        try:
            command = " ".join(linker_command(load_target(names[0])))
        except LinkError as error:
            yield failure(about, error) if _HOST in names else warning(about, error)
        else:
            yield ok(about, command, targets=names, command=command)


def check_costs(path: Path | None = None) -> Finding:
    """Can the measurement database be used?"""
    about = "measurements"
    try:
        path = path or default_path()
        if not path.exists():
            return ok(about, f"none yet; measuring makes {path}", path=str(path))
        file = look_into(path)
    except JointdnnError as error:
        return failure(about, error)
    size_bytes = path.stat().st_size
    rows = ", ".join(f"{count} {name}" for name, count in file.rows.items())
    return ok(
        about,
        f"{path}: {rows}, {size_bytes / 1e6:.1f} MB, format {file.format}",
        path=str(path),
        size_bytes=size_bytes,
        format=file.format,
        rows=dict(file.rows),
    )
