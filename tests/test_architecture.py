"""Libraries for other processors are known by their header."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.architecture import check_architecture


def elf(folder: Path, machine: int, order: int = 1) -> Path:
    path = folder / "mobile.so"
    path.write_bytes(b"\x7fELF\x02" + bytes([order]) + bytes(12) + machine.to_bytes(2, "little"))
    return path


@pytest.mark.parametrize(
    ("number", "name"), [(40, "arm"), (62, "x86_64"), (183, "aarch64"), (243, "riscv64")]
)
def test_header_tells_the_processor(
    number: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: name)
    check_architecture(elf(tmp_path, number))
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    with pytest.raises(BundleError, match=f"mobile.so is for {name}, and this machine is s390x"):
        check_architecture(elf(tmp_path, number))


@pytest.mark.parametrize(
    ("number", "told"), [(62, "AMD64"), (183, "arm64"), (40, "armv7l"), (40, "armv6l")]
)
def test_systems_have_other_names(
    number: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: told)
    check_architecture(elf(tmp_path, number))


def test_processor_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is for processor 9999"):
        check_architecture(elf(tmp_path, 9999))


@pytest.mark.parametrize("content", [b"", b"\x7fELF", bytes(64), b"\xcf\xfa\xed\xfe" + bytes(60)])
def test_what_is_no_such_file_is_left_to_the_loader(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mobile.so"
    path.write_bytes(content)
    check_architecture(path)
    check_architecture(elf(tmp_path, 62, order=2))
