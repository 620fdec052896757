"""What crossings cost two devices beside the link: t = a + bytes * (1 / rate + c).

The link's profile has the rate, and its round trip. What is packed, copied and unpacked on both
sides takes their processors' time: c for a byte of a message, a for a visit to the cloud.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jointdnn_tvm.placement import Link
from jointdnn_tvm.runtime.link_probe import PathTimes

SOURCE = "measured:messages"
_STRAY = 0.1


@dataclass(frozen=True)
class Transfer:
    """a (`call_s`, both ways together) and c of a pair of devices, each way.

    They are what messages took over what plain bytes took on a link of `uplink_bps` and
    `downlink_bps`: the faster it was, the surer they are. `error` is the median of the messages'
    relative distances from the line.
    """

    call_s: float
    up_s_per_byte: float
    down_s_per_byte: float
    uplink_bps: float
    downlink_bps: float
    source: str = SOURCE
    error: float = 0.0

    @property
    def steady(self) -> bool:
        """Whether the messages lay on a line; else a device or the link was busy."""
        return self.error <= _STRAY

    @classmethod
    def of(cls, times: PathTimes, source: str = SOURCE) -> Transfer:
        """What the messages took more than the link, and no less than nothing."""
        link, messages = times.link, times.messages
        return cls(
            max(messages.fixed_s - link.fixed_s, 0.0),
            max(messages.up_s_per_byte - link.up_s_per_byte, 0.0),
            max(messages.down_s_per_byte - link.down_s_per_byte, 0.0),
            8 / link.up_s_per_byte,
            8 / link.down_s_per_byte,
            source,
            messages.error,
        )

    def own_value(self, condition: str, value: float) -> float:
        """The link's own rate or round trip where crossings find `value`; infinite where none is.

        `condition` is one that `placement.explain` varies; those of the cloud stay as they are.
        """
        if condition == "rtt_s":
            return max(value - self.call_s, 0.0)
        costs = {"uplink_bps": self.up_s_per_byte, "downlink_bps": self.down_s_per_byte}
        if condition not in costs:
            return value
        link_s_per_byte = 8 / value - costs[condition]
        return 8 / link_s_per_byte if link_s_per_byte > 0 else math.inf

    def over(self, link: Link, busy_w: float) -> Link:
        """The link as crossings find it: its rates lower, its round trip longer.

        While messages are packed and unpacked the mobile takes `busy_w`, as if it had to do all of
        that itself; its radio takes the time of the bits alone.
        """
        up_s, down_s = link.upload_s(1), link.download_s(1)
        all_up_s, all_down_s = up_s + self.up_s_per_byte, down_s + self.down_s_per_byte
        return replace(
            link,
            uplink_bps=8 / all_up_s,
            downlink_bps=8 / all_down_s,
            rtt_s=link.rtt_s + self.call_s,
            transmit_w=(link.transmit_w * up_s + busy_w * self.up_s_per_byte) / all_up_s,
            receive_w=(link.receive_w * down_s + busy_w * self.down_s_per_byte) / all_down_s,
        )
