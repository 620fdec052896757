"""A whole deployment on this machine: a tracker and two device servers, for demos and tests."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.runtime.address import Address

_START_S = 30.0
_COMMAND = ("-m", "jointdnn_tvm.cli")


class LoopbackLab:
    """Context manager with a `tracker` that has a device of each key, `mobile` and `cloud`.

    The mobile device is slowed by `slowdown`: an emulated processor, in its own words too. When
    the block ends, however it ends, no process and no file is left. DeviceError when a server
    does not start, with what it said last.
    """

    mobile_key = "mobile"
    cloud_key = "cloud"

    def __init__(
        self, mobile_target: str = "host", cloud_target: str = "host", slowdown: float = 1.0
    ) -> None:
        self.tracker: Address
        self._devices = (
            (self.mobile_key, mobile_target, slowdown),
            (self.cloud_key, cloud_target, 1.0),
        )
        self._stack = ExitStack()
        self._servers: dict[str, ServerProcess] = {}
        self._addresses: dict[str, Address] = {}

    def __enter__(self) -> LoopbackLab:
        """Start everything; returns when both devices are registered."""
        with self._stack as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def _start(self, stack: ExitStack) -> None:
        tracker = self._launch(stack, "tracker", "tracker", ["tracker", "--port", "0"])
        self.tracker = tracker.wait_ready(_START_S)
        for key, target, slowdown in self._devices:
            words = ["device", "--port", "0", "--tracker", str(self.tracker), "--key", key]
            words += ["--target", target, "--slowdown", str(slowdown), "--private-cache"]
            self._launch(stack, key, f"{key} device server", words)
        for key in (self.mobile_key, self.cloud_key):
            self._addresses[key] = self._servers[key].wait_ready(_START_S)

    def _launch(self, stack: ExitStack, key: str, name: str, words: Sequence[str]) -> ServerProcess:
        server = ServerProcess(name, [*_COMMAND, *words, "--until-stdin-closes"])
        self._servers[key] = stack.enter_context(server)
        return server

    def address(self, key: str) -> Address:
        """Where the device server of that key listens."""
        return self._addresses[key]

    def log(self, key: str) -> str:
        """What the device server of that key (or the ``tracker``) has written to its log."""
        return self._servers[key].log()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        self._stack.close()
