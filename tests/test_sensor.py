from pathlib import Path

import pytest

from jointdnn_tvm.deploy.sensor import read_number, read_text
from jointdnn_tvm.errors import DeviceError


def test_numbers_of_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text(" -42\n")
    assert read_number(path) == -42
    path.write_bytes(b"Raspberry Pi\0")
    assert read_text(path) == "Raspberry Pi"
    with pytest.raises(DeviceError, match=r"value says 'Raspberry Pi', not a number; check"):
        read_number(path)
    with pytest.raises(DeviceError, match=r"gone is gone \(No such file or directory\); check"):
        read_number(tmp_path / "gone")


def test_missing_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # a test may run as root, who may read all
    with pytest.raises(DeviceError, match="value may not be read; run the device server as root"):
        read_number(tmp_path / "value")
