"""What several test files share: a small network and its bundle, the command, and devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.network import Network, load_network
from tests.command import Command
from tests.deployment import DeviceServerKind, device_server
from tests.native_programs import native_device_server
from tests.tiny_models import branching_model, interleaved, plan_of


@pytest.fixture(scope="session")
def branching_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file."""
    return branching_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def branching(branching_path: Path) -> Network:
    """A network with two inputs, three outputs and branches."""
    return load_network(branching_path)


@pytest.fixture(scope="session")
def built(branching: Network) -> Bundle:
    """Its build with stages that go back and forth between the sides, and a fallback."""
    return build(branching, plan_of(branching, interleaved(branching)))


@pytest.fixture
def new_bundle(built: Bundle, tmp_path: Path) -> Callable[[], Path]:
    """Save the build to a folder that the test may damage."""

    def save() -> Path:
        return built.save(tmp_path / "model.jd")

    return save


@pytest.fixture
def jointdnn(
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    """The command; what it keeps for its user, it keeps in the tests' own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    return Command(capfd)


@pytest.fixture(scope="session")
def lab() -> Iterator[LoopbackLab]:
    """A tracker that has a device of each side, for all tests."""
    with LoopbackLab() as lab:
        yield lab


@pytest.fixture(
    scope="session",
    params=["python", "native", pytest.param("sanitized", marks=pytest.mark.slow)],
)
def serve_device(request: pytest.FixtureRequest) -> DeviceServerKind:
    """Each of the device servers: in Python, in C++, and that with its memory watched."""
    if request.param == "python":
        return device_server
    return native_device_server(sanitized=request.param == "sanitized")
