"""Which processor a library was built for: asked before it is loaded."""

from __future__ import annotations

import platform
from pathlib import Path

from jointdnn_tvm.errors import BundleError

_NAMES = {40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""The field e_machine of an ELF file's header, for the processors that TVM builds for."""

_OTHER_NAMES = {"AMD64": "x86_64", "arm64": "aarch64"}
_LITTLE_ENDIAN = 1


def check_architecture(library: Path) -> None:
    """Raise BundleError for an ELF library that is for another processor than this machine's."""
    with library.open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF" or header[5] != _LITTLE_ENDIAN:
        return  # of another system: the loader tells
    number = int.from_bytes(header[18:20], "little")
    built_for = _NAMES.get(number, f"processor {number}")
    machine = platform.machine()
    here = "arm" if machine.startswith("armv") else _OTHER_NAMES.get(machine, machine)
    if built_for != here:
        raise BundleError(
            f"{library} is for {built_for}, and this machine is {here}; "
            "build the bundle for this machine's target"
        )
