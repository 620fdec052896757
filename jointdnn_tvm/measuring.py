"""Measure a network's groups on the devices of both sides: what `measure` chains."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import tvm

from jointdnn_tvm import passes
from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.cost.database import CostDatabase, CostKey, Measurement
from jointdnn_tvm.cost.energy import has_sensor
from jointdnn_tvm.cost.measure import Device, EvaluatorConfig, describe_device
from jointdnn_tvm.cost.measure import measure as measure_on_device
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.group_library import GroupLibrary, build_group_libraries
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import SIDES, Side
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import RemoteSession, request
from jointdnn_tvm.targets import TargetProfile, load_target

Progress = Callable[[str, int, int], None]  # what is being done, how many done, of how many


@dataclass(frozen=True)
class Devices:
    """Where device servers are found: a tracker at ``host:port``, and the key of each side."""

    tracker: str
    mobile_key: str = "mobile"
    cloud_key: str = "cloud"
    timeout_s: float = 30.0

    def request(self, side: Side) -> RemoteSession:
        """Wait for a free device of that side; DeviceError when none comes in time."""
        key = self.mobile_key if side == "mobile" else self.cloud_key
        return request(Address.parse(self.tracker), key, self.timeout_s)


def measure(
    network: Network,
    *,
    mobile: str = "host",
    cloud: str = "host",
    devices: Devices | None = None,
    database: str | Path | None = None,
    progress: Progress | None = None,
) -> CostTable:
    """Time every distinct group on a device of each side, but those the database knows.

    Where the mobile device has a sensor, each group's energy is measured too, which takes at least
    a second a group.
    A group that a side can neither build nor run is a fact of the table, not an error. Without
    `devices` two device servers are started on loopback, which takes targets that are this machine.
    """
    profiles: dict[Side, TargetProfile] = {
        "mobile": load_target(mobile),
        "cloud": load_target(cloud),
    }
    report = progress or (lambda what, done, total: None)
    measured = 0
    known: dict[Side, Mapping[str, Measurement]] = {}
    with (
        CostDatabase.open(database) as costs,
        _reach(devices, profiles) as reached,
        tempfile.TemporaryDirectory(prefix="jointdnn-groups-") as folder,
    ):
        shelf = _Shelf(network, Path(folder), report)
        for side in SIDES:
            bench = _Bench(side, profiles[side], reached, costs, shelf, report)
            known[side], new = bench.measure(network)
            measured += new
    return CostTable(
        profiles["mobile"], profiles["cloud"], known["mobile"], known["cloud"], measured
    )


@contextmanager
def _reach(devices: Devices | None, profiles: Mapping[Side, TargetProfile]) -> Iterator[Devices]:
    if devices is not None:
        yield devices
        return
    for side, profile in profiles.items():
        if profile.tvm_target.get("mcpu") != "native":
            raise DeviceError(
                f"the {side} target {profile.name} is not this machine; start `jointdnn tracker` "
                f"and, on the device, `jointdnn device --key {side} --target {profile.name}`, and "
                "give --tracker HOST:PORT"
            )
    with LoopbackLab(profiles["mobile"].name, profiles["cloud"].name) as lab:
        yield Devices(str(lab.tracker))


@dataclass(frozen=True)
class _Bench:
    """One side's device, while a network is measured on it."""

    side: Side
    profile: TargetProfile
    devices: Devices
    costs: CostDatabase
    shelf: _Shelf
    report: Progress

    def measure(self, network: Network) -> tuple[dict[str, Measurement], int]:
        """Return the measurement of each group key, and how many of them are new."""
        with self.devices.request(self.side) as session:
            device = describe_device(session)
            self._check_target(device)
            keys = {g.key: self._cost_key(g.key, device) for g in network.graph.groups}
            stored = {k: self.costs.get(key) for k, key in keys.items()}
            found = {k: m for k, m in stored.items() if m is not None}
            lacking = [k for k, m in found.items() if _lacks_energy(m)]
            if lacking and self._counts_energy(device) and has_sensor(session, self.profile.kind):
                for key in lacking:
                    del found[key]
        missing = [k for k in keys if k not in found]

        def record(key: str, measurement: Measurement) -> None:
            found[key] = measurement
            self.costs.put(keys[key], measurement)
            self.report(f"measuring on the {self.side} device", len(found), len(keys))

        if missing:
            self._measure_missing(missing, device, record)
        return found, len(missing)

    def _measure_missing(
        self, missing: Sequence[str], device: Device, record: Callable[[str, Measurement], None]
    ) -> None:
        libraries, failures = self.shelf.libraries(self.profile, missing)
        for key in missing:
            if key in failures:
                record(key, Measurement.failure(failures[key], device.source))
        for library in libraries:
            measure_on_device(
                [w for w in library.workloads if w.key in missing],
                library.path,
                partial(self.devices.request, self.side),
                self.profile.kind,
                lambda workload, measurement: record(workload.key, measurement),
                EvaluatorConfig(
                    min_repeat_ms=device.shortest_repeat_ms,
                    enable_energy=self._counts_energy(device),
                ),
            )

    def _check_target(self, device: Device) -> None:
        if device.target is not None and device.target != self.profile.name:
            raise DeviceError(
                f"the {self.side} device was started for target {device.target}, not "
                f"{self.profile.name}; ask for that target, or for another key"
            )

    def _counts_energy(self, device: Device) -> bool:
        """Only the mobile's counts, and no sensor tells of a device that is emulated."""
        return self.side == "mobile" and device.slowdown == 1

    def _cost_key(self, group: str, device: Device) -> CostKey:
        """What a measurement depends on."""
        target = _target_key(self.profile)
        versions = f"tvm {tvm.__version__}, passes {passes_digest()}"
        return CostKey(group, target, device.identity, versions)


def _lacks_energy(measurement: Measurement) -> bool:
    """Whether a group runs, but was measured where no sensor worked."""
    energy = measurement.energy
    return measurement.latency_s is not None and (energy is None or energy.samples == 0)


class _Shelf:
    """The libraries built so far: sides with the same target share them."""

    def __init__(self, network: Network, folder: Path, report: Progress) -> None:
        self._network = network
        self._folder = folder
        self._report = report
        self._built: dict[str, tuple[set[str], list[GroupLibrary], dict[str, str]]] = {}

    def libraries(
        self, profile: TargetProfile, keys: Sequence[str]
    ) -> tuple[list[GroupLibrary], dict[str, str]]:
        """Libraries that hold at least these groups, and why others did not build."""
        target = _target_key(profile)
        built, libraries, failures = self._built.setdefault(target, (set(), [], {}))
        missing = [k for k in keys if k not in built]
        done = 0

        def count(groups: int) -> None:
            nonlocal done
            done += groups
            self._report(f"compiling groups for {profile.name}", done, len(missing))

        folder = Path(tempfile.mkdtemp(dir=self._folder))
        made, failed = build_group_libraries(self._network, missing, profile, folder, count)
        built.update(missing)
        libraries += made
        failures.update(failed)
        return libraries, failures


def _target_key(profile: TargetProfile) -> str:
    """What the code of a group depends on, of its target."""
    facts: tuple[float, ...] = (
        *(profile.lanes, profile.vector_registers, profile.fma_ports, profile.fma_latency),
        *(profile.l1d_bytes, profile.l2_bytes, profile.l3_bytes),
    )
    if profile.kind == "cuda":
        facts += (profile.cores, profile.clock_hz, profile.bandwidth_bytes_per_s)
    return f"{tvm_target(profile).export()} {facts}"


@cache
def passes_digest() -> str:
    """Hash of the code that lowers a group: other passes make other kernels, with other costs."""
    digest = hashlib.sha256()
    for path in sorted(Path(passes.__path__[0]).rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
