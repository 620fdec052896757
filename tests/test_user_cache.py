from __future__ import annotations

import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from jointdnn_tvm.cost.database import default_path
from jointdnn_tvm.deploy.file_cache import default_directory
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.user_cache import user_cache
from tests.command import Command


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_in_this_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir="/users/me"))
    assert user_cache() == Path("/users/me/.cache/jointdnn")
    monkeypatch.setenv("HOME", "/home/me")
    assert user_cache() == Path("/home/me/.cache/jointdnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert user_cache() == Path("/home/me/.cache/jointdnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert user_cache() == Path("/cache/jointdnn")
    assert default_path() == Path("/cache/jointdnn/costs.sqlite")
    assert default_directory() == Path("/cache/jointdnn/device")


def _nobody(uid: int) -> None:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def test_no_home_at_all(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], branching_path: Path
) -> None:
    """As in a container that runs under a number."""
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    with pytest.raises(JointdnnError, match="set HOME or XDG_CACHE_HOME"):
        user_cache()
    output = branching_path.parent / "b.jd"
    words = ["compile", branching_path, "-o", output, "--tracker", "127.0.0.1:1"]
    assert "no home folder to keep a cache in" in Command(capfd)(*words).complaint
    assert not output.exists()
