"""Measure a network's groups on the devices of both sides: what `measure` chains."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import tvm

from jointdnn_tvm import passes
from jointdnn_tvm.cost.bench import EvaluatorConfig
from jointdnn_tvm.cost.codec_times import codec_workloads, codecs_digest, measure_codecs
from jointdnn_tvm.cost.confidence import TOLERANCE
from jointdnn_tvm.cost.database import CostDatabase, CostKey, Measurement
from jointdnn_tvm.cost.device import Device
from jointdnn_tvm.cost.energy import has_sensor
from jointdnn_tvm.cost.measure import DRIFT, Batch
from jointdnn_tvm.cost.spread import measure_on_all
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.graph import Graph, Placement, stage_key, whole_network
from jointdnn_tvm.library_shelf import LibraryShelf, Progress, target_key
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.placement import SIDES, Side
from jointdnn_tvm.probing import find_transfer
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.tuning.groups import TunedMarks
from jointdnn_tvm.tuning.records import tuned_target

_TIMING_PATH = "timing messages between the devices"


@dataclass(frozen=True)
class Measured:
    """One side's measurements by group key, how many are new, and why they may be doubted.

    `codecs` are the times of the codecs there, none where the device server has none. `slowdown`
    is the device's, where it is emulated.
    """

    found: Mapping[str, Measurement]
    new: int
    doubts: tuple[str, ...]
    codecs: Mapping[str, Measurement]
    slowdown: float


def measure(
    network: Placeable,
    *,
    mobile: str = "host",
    cloud: str = "host",
    devices: Devices | None = None,
    database: str | Path | None = None,
    progress: Progress | None = None,
) -> CostTable:
    """Time every distinct group of a network, or of a step of training, on a device of each side,
    but those the database knows; and what crossings cost the two devices beside the link.

    So is the whole network as one stage: its kernels are fused over the bounds of groups, and find
    other caches, so it takes less or more than the groups' sum; see `CostTable.correction`.
    Where the mobile device has a sensor, each group's energy is measured too, which takes at least
    a second a group.
    A group that a side can neither build nor run is a fact of the table, not an error. Without
    `devices` two device servers are started on loopback, which takes targets that are this machine.
    """
    profiles: dict[Side, TargetProfile] = {
        "mobile": tuned_target(mobile),
        "cloud": tuned_target(cloud),
    }
    report = progress or (lambda what, done, total: None)
    sides: dict[Side, Measured] = {}
    with (
        CostDatabase.open(database) as costs,
        _reach(devices, profiles) as reached,
        tempfile.TemporaryDirectory(prefix="jointdnn-groups-") as folder,
    ):
        everything: Placement = {g.name: "mobile" for g in network.graph.groups}
        shelf = LibraryShelf(network, everything, Path(folder), report)
        for side in SIDES:
            marks = TunedMarks(network, profiles[side])
            bench = _Bench(side, profiles[side], reached, costs, shelf, report, marks)
            sides[side] = bench.measure(what_to_time(network.graph))
        transfer, doubts = _transfer(reached, costs, report)
    mobile_side, cloud_side = sides["mobile"], sides["cloud"]
    return CostTable(
        *(profiles["mobile"], profiles["cloud"], mobile_side.found, cloud_side.found),
        measured=mobile_side.new + cloud_side.new,
        doubts=(*mobile_side.doubts, *cloud_side.doubts, *doubts),
        transfer=transfer,
        codecs_on_mobile=mobile_side.codecs,
        codecs_on_cloud=cloud_side.codecs,
        slowdowns={side: found.slowdown for side, found in sides.items()},
    )


def measure_stages(
    network: Placeable,
    placement: Placement,
    table: CostTable,
    *,
    devices: Devices | None = None,
    database: str | Path | None = None,
    progress: Progress | None = None,
) -> CostTable:
    """Time the stages of a placement as wholes, but those of a single group.

    Returns the table with them, the very same one when it has them all. `devices` and `database`
    as in `measure`.
    """
    profiles: dict[Side, TargetProfile] = {"mobile": table.mobile, "cloud": table.cloud}
    report = progress or (lambda what, done, total: None)
    missing = {side: table.missing_stages(network.graph, placement, side) for side in SIDES}
    if not any(missing.values()):
        return table
    sides: dict[Side, Measured] = {}
    with (
        CostDatabase.open(database) as costs,
        _reach(devices, profiles) as reached,
        tempfile.TemporaryDirectory(prefix="jointdnn-stages-") as folder,
    ):
        shelf = LibraryShelf(network, placement, Path(folder), report)
        for side in [s for s in SIDES if missing[s]]:
            marks = TunedMarks(network, profiles[side])
            bench = _Bench(side, profiles[side], reached, costs, shelf, report, marks)
            sides[side] = bench.measure(missing[side])
    found = {side: measured.found for side, measured in sides.items()}
    return replace(
        table,
        on_mobile={**table.on_mobile, **found.get("mobile", {})},
        on_cloud={**table.on_cloud, **found.get("cloud", {})},
        measured=table.measured + sum(measured.new for measured in sides.values()),
        doubts=tuple(
            dict.fromkeys([*table.doubts, *(d for m in sides.values() for d in m.doubts)])
        ),
    )


def measure_side(
    network: Placeable,
    profile: TargetProfile,
    devices: Devices,
    side: Side,
    costs: CostDatabase,
    progress: Progress | None = None,
) -> Measured:
    """Time every distinct group on the devices of one side, but those the database knows."""
    report = progress or (lambda what, done, total: None)
    with tempfile.TemporaryDirectory(prefix="jointdnn-groups-") as folder:
        everything: Placement = {g.name: "mobile" for g in network.graph.groups}
        shelf = LibraryShelf(network, everything, Path(folder), report)
        bench = _Bench(side, profile, devices, costs, shelf, report)
        return bench.measure(what_to_time(network.graph))


def _transfer(
    devices: Devices, costs: CostDatabase, report: Progress
) -> tuple[Transfer | None, tuple[str, ...]]:
    """What crossings cost the devices, and why that is not known."""
    report(_TIMING_PATH, 0, 1)
    try:
        transfer = find_transfer(devices, costs)
    except DeviceError as error:
        return None, (f"crossings are taken to cost the link's time only: {error}",)
    finally:
        report(_TIMING_PATH, 1, 1)
    if transfer.steady:
        return transfer, ()
    return transfer, (
        f"messages between the devices took {transfer.error:.0%} more or less than their sizes "
        "explain: a device or the link was busy",
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
    shelf: LibraryShelf
    report: Progress
    marks: TunedMarks | None = None
    """What tuning changed; None where nothing is tuned."""

    def measure(self, keys: Sequence[str]) -> Measured:
        """Measure what the database does not know of any of the devices."""
        with self._sessions() as sessions:
            device = next(iter(sessions.values()))
            self._check_target(device)
            found = self._known(keys, sessions)
            codecs = self._codecs(next(iter(sessions)), device)
        missing = [k for k in keys if k not in found]
        new = 0

        def record(key: str, measurement: Measurement, device: Device) -> None:
            nonlocal new
            self.costs.put(self._cost_key(key, device), measurement)
            found[key] = measurement
            new += 1
            self.report(f"measuring on the {self.side} device", len(found), len(keys))

        drift = self._measure_missing(missing, device, found, record) if missing else 0.0
        return Measured(found, new, self._doubts(found, drift), codecs, device.slowdown)

    @contextmanager
    def _sessions(self) -> Iterator[dict[RemoteSession, Device]]:
        """With all devices that are free and alike; closed in the end."""
        sessions = self.devices.request_all(self.side)
        try:
            yield sessions
        finally:
            for session in sessions:
                session.close()

    def _codecs(self, session: RemoteSession, device: Device) -> dict[str, Measurement]:
        """The codecs' times on the device: what the database knows, else timed now."""
        names = codec_workloads()
        stored = {n: self.costs.get(_codec_cost_key(n, device)) for n in names}
        found = {n: m for n, m in stored.items() if m is not None}
        if len(found) == len(names):
            return found
        found = measure_codecs(session, device)
        for name, measurement in found.items():
            self.costs.put(_codec_cost_key(name, device), measurement)
        return found

    def _known(
        self, keys: Sequence[str], sessions: Mapping[RemoteSession, Device]
    ) -> dict[str, Measurement]:
        """What the database holds of any of the devices; the first's where several were timed.

        One with energy comes before.
        """
        held = [self._held(keys, session, device) for session, device in sessions.items()]
        of_key = {k: [h[k] for h in held if k in h] for k in keys}
        return {k: max(ms, key=lambda m: m.has_energy) for k, ms in of_key.items() if ms}

    def _held(
        self, keys: Sequence[str], session: RemoteSession, device: Device
    ) -> dict[str, Measurement]:
        """What the database holds of one device, but what lacks the energy that it could tell."""
        stored = {k: self.costs.get(self._cost_key(k, device)) for k in keys}
        found = {k: m for k, m in stored.items() if m is not None}
        lacking = [k for k, m in found.items() if m.latency_s is not None and not m.has_energy]
        if lacking and self._counts_energy(device) and has_sensor(session, self.profile.kind):
            for key in lacking:
                del found[key]
        return found

    def _doubts(self, found: Mapping[str, Measurement], drift: float) -> tuple[str, ...]:
        """Why the measurements may not be what the device takes when it is by itself."""
        doubts = []
        if abs(drift) > DRIFT:
            doubts.append(
                f"the {self.side} device got {abs(drift):.0%} {'slower' if drift > 0 else 'faster'}"
                " while it was measured: it is hot or busy; measure again when it is not"
            )
        timed = [m for m in found.values() if m.latency_s is not None]
        shaky = sum(not m.steady for m in timed)
        if shaky:
            doubts.append(
                f"of {len(timed)} medians on the {self.side} device, {shaky} are not known "
                f"within {TOLERANCE:.0%}"
            )
        return tuple(doubts)

    def _measure_missing(
        self,
        missing: Sequence[str],
        device: Device,
        found: dict[str, Measurement],
        record: Callable[[str, Measurement, Device], None],
    ) -> float:
        libraries, failures = self.shelf.libraries(self.profile, missing)
        for key in missing:
            if key in failures:
                record(key, Measurement.failure(failures[key], device.source), device)
        with self._sessions() as sessions:
            # another process may have measured them while this one compiled, or waited for these
            found |= self._known([k for k in missing if k not in found], sessions)
            wanted = {k for k in missing if k not in found}
            batches = [
                Batch(library.path, [w for w in library.workloads if w.key in wanted])
                for library in libraries
            ]
            return measure_on_all(
                sorted(
                    (batch for batch in batches if batch.workloads),
                    key=lambda batch: not batch.workloads[0].weighty,  # those first
                ),
                list(sessions),
                partial(self.devices.request, self.side),
                self.profile.kind,
                lambda workload, measurement, device: record(workload.key, measurement, device),
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
        target = target_key(self.profile) + (self.marks.of(group) if self.marks else "")
        versions = f"tvm {tvm.__version__}, passes {passes_digest()}"
        return CostKey(group, target, device.identity, versions)


def _codec_cost_key(workload: str, device: Device) -> CostKey:
    """What a codec's time depends on."""
    return CostKey(workload, "", device.identity, f"codecs {codecs_digest()}")


def what_to_time(graph: Graph) -> list[str]:
    """The keys of the distinct groups, and of the whole network when it is more than one."""
    groups = list(dict.fromkeys(g.key for g in graph.groups))
    whole = stage_key(graph, whole_network(graph))
    return [*groups, whole] if len(graph.groups) > 1 else groups


@cache
def passes_digest() -> str:
    """Hash of the code that lowers a group: other passes make other kernels, with other costs."""
    digest = hashlib.sha256()
    for path in sorted(Path(passes.__path__[0]).rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
