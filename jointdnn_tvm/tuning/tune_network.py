"""Tune a network's kernels on the devices that are there: what `jd.tune` does, step by step."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.cost.bench import Bench
from jointdnn_tvm.cost.database import CostDatabase
from jointdnn_tvm.cost.device import describe_device
from jointdnn_tvm.cost.race import Entrant, Outcome, race
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.graph import stage_key, whole_network
from jointdnn_tvm.library_shelf import Progress as Report
from jointdnn_tvm.measuring import measure_side
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import RemoteSession
from jointdnn_tvm.stage_library import build_stage
from jointdnn_tvm.targets import TargetProfile, load_target
from jointdnn_tvm.tuning.crew import Crew
from jointdnn_tvm.tuning.records import (
    Record,
    Records,
    merge,
    own_path,
    read_own,
    read_records,
    read_shipped,
    remove,
    with_records,
)
from jointdnn_tvm.tuning.subjects import find_subjects
from jointdnn_tvm.tuning.tuner import Progress, Tuner

_SIDE: Side = "cloud"  # whose energy nobody asks for
_FEWEST_ROUNDS, _MOST_ROUNDS, _PROOF_S = 25, 100, 20.0
_PROOF_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Tuning:
    """What tuning did: the records that it added to the file at `path`, and how it went.

    Of the `kernels` that are worth it so many were searched to the end before the time was up.
    `trials` were measured now, `known` ones came from earlier runs. `share` is what the whole
    network takes of its time before, timed in turns; 1 where nothing was found.
    """

    path: Path
    records: Records
    kernels: int
    searched_kernels: int
    trials: int
    known: int
    share: float


def tune(
    network: Network,
    *,
    target: str = "host",
    tracker: str | None = None,
    key: str = "mobile",
    minutes: float = 10.0,
    device_timeout_s: float = 30.0,
    database: str | Path | None = None,
    progress: Report | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Tuning:
    """Search for better kernels than the rules', for so many minutes, on all devices of a key.

    Those that matter most come first. What is faster is written to the user's records at once,
    from where `measure` and `compile` take it; in the end the network is timed with and without,
    and records that do not make it faster are taken out again. Trials are kept in the `database`,
    so that a run that was ended goes on where it was. Without a `tracker` a device server is
    started on loopback, which takes a target that is this machine.

    DeviceError when no device can be had, or it is of another target; CostError for records or a
    database that cannot be used, or `minutes` that are no time.
    """
    if not (math.isfinite(minutes) and minutes > 0):
        raise CostError(f"{minutes:g} minutes are no time to tune in; give --minutes above 0")
    profile = load_target(target)
    if profile.kind != "cpu":
        raise CostError(
            f"target {profile.name} is a GPU, for which there is nothing to tune yet; give the "
            "target of a CPU"
        )
    tvm_target(profile)
    path = own_path(profile)
    own = read_own(profile)
    with (
        _reach(profile, tracker, key, device_timeout_s) as devices,
        CostDatabase.open(database) as costs,
    ):
        _check_target(devices, profile)
        measured = measure_side(network, profile, devices, _SIDE, costs, progress)
        subjects = find_subjects(network, profile, measured.found)
        state = Progress(
            kernels=len(subjects),
            network_s=sum(measured.found[g.key].latency_s or 0.0 for g in network.graph.groups),
            limit_s=60 * minutes,
        )
        new: dict[str, Record] = {}

        def keep(kernel: str, record: Record) -> None:
            if merge(path, profile, {kernel: record})[kernel] == record:
                new[kernel] = record

        def drop(records: Records) -> None:
            remove(path, profile, records)

        def again() -> RemoteSession:
            return devices.request(_SIDE)

        def report() -> None:
            if watch is not None:
                watch(state)

        with (
            tempfile.TemporaryDirectory(prefix="jointdnn-tuning-") as work,
            Crew(list(devices.request_all(_SIDE)), again, profile.kind) as crew,
        ):
            folder = Path(work)
            tuner = Tuner(network, profile, costs, crew, folder, keep)
            tuner.run(subjects, state, report)
            others = {kernel: record for kernel, record in own.items() if kernel not in new}
            before = with_records(profile, {**read_shipped(profile), **others})
            rounds = round(_PROOF_S / max(state.network_s, 1e-3 * crew.repeat_ms))
            rounds = max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, rounds))
            share = _prove(before, new, partial(_whole_share, network, crew, folder, rounds), drop)
    kept = read_records(path, profile) if path.exists() else {}
    return Tuning(
        path,
        {kernel: record for kernel, record in new.items() if kept.get(kernel) == record},
        state.kernels,
        state.done,
        state.trials,
        state.known,
        share,
    )


def _prove(
    before: TargetProfile,
    new: Records,
    whole_share: Callable[[TargetProfile, TargetProfile], float],
    drop: Callable[[Records], None],
) -> float:
    """Time the whole network before and after; `drop` what does not make it faster.

    A kernel that wins by itself may lose among others, whose caches it finds. Of records that
    slow the network down the half that gains more is tried again.
    """
    kept = dict(sorted(new.items(), key=lambda item: item[1].share))
    while kept:
        tuned = {kernel: dict(record.choice) for kernel, record in kept.items()}
        share = whole_share(before, replace(before, tuned={**before.tuned, **tuned}))
        if share < 1:
            return share
        fewer = dict(list(kept.items())[: len(kept) // 2])
        drop({kernel: record for kernel, record in kept.items() if kernel not in fewer})
        kept = fewer
    return 1.0


def _whole_share(
    network: Network, crew: Crew, folder: Path, rounds: int, *profiles: TargetProfile
) -> float:
    """The share of the first profile's time that the network takes with the second.

    Small gains among much else that happens take many rounds to show.
    """
    shares: list[float] = []

    def build() -> list[Entrant]:
        files = [Path(tempfile.mkdtemp(dir=folder)) / "whole.so" for _ in profiles]
        stage = whole_network(network.graph)
        module = network.partitioned({name: stage.side for name in stage.groups})
        key = stage_key(network.graph, stage)
        built = [
            build_stage(module, stage.name, key, profile, file)
            for profile, file in zip(profiles, files, strict=True)
        ]
        return [Entrant(library.path, library.workloads[0]) for library in built]

    def measure(entrants: list[Entrant]) -> None:
        def work(bench: Bench) -> list[Outcome]:
            return race(bench, entrants, rounds, crew.repeat_ms, _PROOF_DEADLINE_S)

        crew.measure(work, lambda outcomes: shares.append(outcomes[1].median_share))

    crew.compile(build, measure)
    while crew.busy:
        crew.step()
    return shares[0]


@contextmanager
def _reach(
    profile: TargetProfile, tracker: str | None, key: str, timeout_s: float
) -> Iterator[Devices]:
    if tracker is not None:
        Address.parse(tracker)
        yield Devices(tracker, cloud_key=key, timeout_s=timeout_s)
        return
    if profile.tvm_target.get("mcpu") != "native":
        raise DeviceError(
            f"target {profile.name} is not this machine; start `jointdnn tracker` and, on the "
            f"device, `jointdnn device --key {key} --target {profile.name}`, and give --tracker "
            "HOST:PORT"
        )
    with LoopbackLab(profile.name, profile.name) as lab:
        yield Devices(str(lab.tracker), cloud_key=lab.cloud_key, timeout_s=timeout_s)


def _check_target(devices: Devices, profile: TargetProfile) -> None:
    with devices.request(_SIDE) as session:
        device = describe_device(session)
    if device.target is not None and device.target != profile.name:
        raise DeviceError(
            f"{device.name} was started for target {device.target}, not {profile.name}; give "
            f"--target {device.target}, or another --key"
        )
