"""Time the real path between the devices of both sides: its link, and what crossings cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import tvm

from jointdnn_tvm import __version__
from jointdnn_tvm.cost.database import CostDatabase, PairKey
from jointdnn_tvm.cost.device import Device, describe_device
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.cost.transfer import SOURCE, Transfer
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.exchange_times import ExchangeTimes
from jointdnn_tvm.runtime.link_probe import PROBE, PathTimes, probe_link
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.targets import LinkProfile, RadioPower

LINK_SOURCE = "measured:probe"
_WORD = "probe"
_OPENING_S = 10.0
_PROBING_S = 60.0
_EMULATED = {"budget_s": 6.0, "shortest_s": 0.05}  # each exchange meets the device at another time


@dataclass(frozen=True)
class ProbedPath:
    """The link as it is, and what crossings cost its two ends.

    `transfer` is None where nobody asked, or where the path was timed from this machine, which is
    not the mobile.
    """

    link: LinkProfile
    transfer: Transfer | None = None

    def applied_to(self, costs: CostTable) -> CostTable:
        """The costs, with what crossings were found to cost on this very path."""
        return costs if self.transfer is None else replace(costs, transfer=self.transfer)


def asks_for_probe(spec: str) -> bool:
    """Whether a link is not named but to be measured: ``probe``, or ``PROFILE,probe``."""
    return _WORD in spec.split(",")


def radio_of(spec: str) -> str | None:
    """The profile whose radio power ``PROFILE,probe`` takes; None without one."""
    return ",".join(part for part in spec.split(",") if part != _WORD) or None


def probe(
    devices: Devices, radio: LinkProfile | None = None, database: CostDatabase | None = None
) -> ProbedPath:
    """Time the path from the mobile device to the cloud device, in some seconds.

    Where the mobile device cannot do that, the link from this machine to the cloud device is timed
    in its place, and the link's `source` says so and why. The radio's power is that of `radio`.
    The `database` keeps what crossings cost if it is steady, unless it knows that from a faster
    link: the less the link takes, the better what remains is known. DeviceError when a device
    cannot be reached.
    """
    with _both(devices) as pair:
        try:
            times = pair.time_path()
        except DeviceError as error:
            where = f"this machine to {pair.cloud.name}, because {error}"
            return ProbedPath(_profile(probe_link(pair.address), where, radio), None)
    transfer = pair.transfer(times)
    if database is not None:
        known = database.get_transfer(pair.key)
        if transfer.steady and (known is None or known.uplink_bps < transfer.uplink_bps):
            database.put_transfer(pair.key, transfer)
    where = f"{pair.mobile.name} to {pair.cloud.name}{pair.mobile.emulated}"
    return ProbedPath(_profile(times.link, where, radio), transfer)


def find_transfer(devices: Devices, database: CostDatabase) -> Transfer:
    """What crossings cost the two devices: what the database knows, else measured now.

    It is kept if it is steady. DeviceError when it cannot be measured.
    """
    with _both(devices) as pair:
        known = database.get_transfer(pair.key)
        if known is None:
            known = pair.transfer(pair.time_path())
            if known.steady:
                database.put_transfer(pair.key, known)
        return known


@dataclass(frozen=True)
class _Pair:
    """The devices of both sides, with a session of the mobile's."""

    mobile: Device
    cloud: Device
    session: RemoteSession
    address: Address
    cloud_key: str

    @property
    def key(self) -> PairKey:
        versions = f"tvm {tvm.__version__}, jointdnn {__version__}"
        return PairKey(self.mobile.identity, self.cloud.identity, versions)

    def time_path(self) -> PathTimes:
        """Let the mobile device do it; DeviceError when it cannot."""
        if self.session.address == self.address:
            raise DeviceError(f"{self.session} is both sides' device, without a path to itself")
        if not self.session.has_function(PROBE):
            raise DeviceError(f"{self.session} cannot time its path to another device: no Python")
        request = {
            "host": self.address.host,
            "port": self.address.port,
            "key": self.cloud_key,
            "deadline_s": _OPENING_S,
            **(_EMULATED if self.mobile.emulated else {}),
        }
        ask = self.session.function(PROBE)
        with self.session.deadline(_PROBING_S, "timing its path to the cloud device"):
            answer = json.loads(ask(json.dumps(request)))
        if "why_not" in answer:
            raise DeviceError(f"{self.session} cannot time its path: {answer['why_not']}")
        return PathTimes.from_json(answer)

    def transfer(self, times: PathTimes) -> Transfer:
        return Transfer.of(times, SOURCE + self.mobile.emulated)


@contextmanager
def _both(devices: Devices) -> Iterator[_Pair]:
    with devices.request("cloud") as session:
        cloud, address, key = describe_device(session), session.address, session.key
    with devices.request("mobile") as session:
        yield _Pair(describe_device(session), cloud, session, address, key)


def _profile(times: ExchangeTimes, where: str, radio: LinkProfile | None) -> LinkProfile:
    profile = LinkProfile(
        name=_WORD,
        description=f"the path from {where}",
        uplink_bps=8 / times.up_s_per_byte,
        downlink_bps=8 / times.down_s_per_byte,
        rtt_s=times.fixed_s,
        power=RadioPower(),
        year=time.localtime().tm_year,
        source=f"{LINK_SOURCE} from {where}",
        note="no radio power: transfers cost no energy",
    )
    if radio is None:
        return profile
    name, note = f"{radio.name},{_WORD}", f"radio power: {radio.name}"
    return replace(profile, name=name, power=radio.power, note=note)
