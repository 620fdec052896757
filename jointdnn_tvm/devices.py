"""The devices of both sides, found at a tracker by their keys."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import RemoteSession, request
from jointdnn_tvm.runtime.tracker_client import tracker_summary

_MORE_S = 2.0  # for a device that the tracker says is free


@dataclass(frozen=True)
class Devices:
    """Where device servers are found: a tracker at ``host:port``, and the key of each side."""

    tracker: str
    mobile_key: str = "mobile"
    cloud_key: str = "cloud"
    timeout_s: float = 30.0

    def request(self, side: Side) -> RemoteSession:
        """Wait for a free device of that side; DeviceError when none comes in time."""
        return request(Address.parse(self.tracker), self._key(side), self.timeout_s)

    def request_all(self, side: Side) -> dict[RemoteSession, Device]:
        """Wait for a free device of that side, and take all others like it that are free too.

        No two are on the same host: there they would slow each other down.
        """
        opened: list[RemoteSession] = []
        taken: dict[RemoteSession, Device] = {}
        try:
            opened.append(self.request(side))
            first = taken[opened[0]] = describe_device(opened[0])
            with suppress(DeviceError):  # gone meanwhile, or somebody else was quicker
                for _ in range(self._free(side)):
                    opened.append(request(Address.parse(self.tracker), self._key(side), _MORE_S))
                    device = describe_device(opened[-1])
                    if device.kind == first.kind and device.host not in _hosts(taken):
                        taken[opened[-1]] = device
        except BaseException:
            taken.clear()
            raise
        finally:
            for session in opened:
                if session not in taken:
                    session.close()
        return taken

    def _free(self, side: Side) -> int:
        """How many more devices the tracker could give out now."""
        waiting = tracker_summary(Address.parse(self.tracker))["queue_info"]
        return int(waiting.get(self._key(side), {}).get("free", 0))

    def _key(self, side: Side) -> str:
        return self.mobile_key if side == "mobile" else self.cloud_key


def _hosts(taken: dict[RemoteSession, Device]) -> set[str]:
    return {device.host for device in taken.values()}
