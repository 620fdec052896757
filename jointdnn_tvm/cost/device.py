"""Who a device is that costs are measured on, in its own words."""

from __future__ import annotations

import json
from dataclasses import dataclass

from jointdnn_tvm.deploy.throttle import period_s
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.remote import RemoteSession

SOURCE = "measured:time_evaluator"
SHORTEST_REPEAT_MS = 5
_SHORTEST_SLOWED_MS = 20
_KIND = ("cpu", "machine", "cores", "accelerator", "slowdown")
_IDENTITY = ("hostname", *_KIND)


@dataclass(frozen=True)
class Device:
    """Who the other side of a session is.

    `target` is the profile that it was started with, None for a stock TVM server; `slowdown` is
    over 1 where its speed is emulated. Devices of one `kind` are alike but for their `host`.
    """

    identity: str
    target: str | None = None
    slowdown: float = 1.0
    kind: str = ""
    host: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.host} ({self.target})" if self.target else self.identity

    @property
    def source(self) -> str:
        """How a time measured there was got."""
        return SOURCE + self.emulated

    @property
    def emulated(self) -> str:
        """What the source of a number from there ends with, where its speed is emulated."""
        return "" if self.slowdown == 1 else f" emulated slowdown {self.slowdown:g}x"

    @property
    def shortest_repeat_ms(self) -> int:
        """How long a repeat must last to mean something there; for `EvaluatorConfig`.

        The number of calls is found by trying, often in an instant in which a slowed device runs
        freely, so that a repeat then lasts up to `slowdown` times as long.
        """
        if self.slowdown == 1:
            return SHORTEST_REPEAT_MS
        return max(_SHORTEST_SLOWED_MS, round(1e3 * period_s(self.slowdown)))


def describe_device(session: RemoteSession) -> Device:
    """Ask the device who it is; a stock TVM server is known by its key and address only.

    DeviceError for one whose processor an emulator plays on a machine of another kind: its times
    tell nothing of that processor.
    """
    if not session.has_function("jointdnn.device_info"):
        where = str(session.address)
        return Device(f"{session.key} at {where}", kind=session.key, host=session.address.host)
    ask = session.function("jointdnn.device_info")
    with session.deadline(10.0, "asking who it is"):
        info = json.loads(ask())
    if info["emulated"] and info["slowdown"] == 1:
        raise DeviceError(
            f"{session} runs {info['machine']} by an emulator, so its times are no costs; measure "
            "on the board itself, or plan with --costs analytic"
        )
    identity, kind = (
        json.dumps({n: info[n] for n in names if info.get(n) is not None}, sort_keys=True)
        for names in (_IDENTITY, (*_KIND, "target"))
    )
    return Device(identity, info["target"], info["slowdown"], kind, info["hostname"])
