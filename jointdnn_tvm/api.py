"""The whole flow, a call a step; `compile` is its table of contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.cost.database import CostDatabase
from jointdnn_tvm.cost.table import CostTable, make_problem
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import ProfileError
from jointdnn_tvm.estimating import ANALYTIC, estimate
from jointdnn_tvm.library_shelf import Progress
from jointdnn_tvm.measuring import measure, measure_stages
from jointdnn_tvm.network import Network, Placeable, load_network
from jointdnn_tvm.offering import Offer, check_codecs, offer_codecs
from jointdnn_tvm.placement import Limits
from jointdnn_tvm.planning import AUTO, Plan, answer_by_stages, check_placement_choice
from jointdnn_tvm.probing import ProbedPath, asks_for_probe, probe, radio_of
from jointdnn_tvm.samples import read_samples
from jointdnn_tvm.targets import LinkProfile, load_link

_ROUNDS = 6

__all__ = [
    "Devices",
    "Limits",
    "build",
    "compile",
    "estimate",
    "find_costs",
    "find_path",
    "load_network",
    "measure",
    "offer_codecs",
    "plan",
    "plan_by_stages",
]


def compile(
    model: str | PathLike[str],
    *,
    mobile: str = "host",
    cloud: str = "host",
    link: str | LinkProfile = "huang2012-wifi",
    objective: str = "latency",
    limits: Limits | None = None,
    placement: str = AUTO,
    codecs: str = "lossless",
    calibrate: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    devices: Devices | None = None,
    database: str | Path | None = None,
    fallback: bool = True,
    dump_ir: Path | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Import a network, measure it on both devices, place it, and compile both halves.

    `mobile`, `cloud` and `link` are names of profiles or paths of TOML files; for a `link` of
    ``probe`` the path between the devices is timed (see `find_path`). `objective` is ``latency``,
    ``energy`` (the mobile's) or ``throughput``, least within `limits`; `placement` is
    ``auto`` or one of the others that `planning.answer_problem` knows; for `codecs` and `calibrate`
    see `offer_codecs`. Without `devices` two device servers are started on loopback. With
    ``analytic`` for a `database` nothing is measured: costs are those of `estimate`. The bundle is
    in memory: `save` it.
    """
    check_placement_choice(placement)
    check_codecs(codecs, calibrate, limits.max_error if limits else None)
    path = find_path(link, devices=devices, database=database)
    network = load_network(model, shapes)
    samples = None if calibrate is None else read_samples(calibrate, network)
    costs = find_costs(
        network, mobile=mobile, cloud=cloud, devices=devices, database=database, progress=progress
    )
    offer = offer_codecs(
        network,
        costs,
        codecs,
        calibrate=samples,
        max_error=limits.max_error if limits else None,
        progress=progress,
    )
    chosen = plan_by_stages(
        network,
        costs,
        path,
        objective=objective,
        limits=limits,
        placement=placement,
        codecs=offer,
        devices=devices,
        database=database,
        progress=progress,
    )
    return build(network, chosen, fallback=fallback, dump_ir=dump_ir)


def find_path(
    link: str | LinkProfile,
    *,
    devices: Devices | None = None,
    database: str | Path | None = None,
) -> ProbedPath:
    """`load_link`, or with ``probe`` the path between `devices` as it is found to be now.

    ``PROFILE,probe`` takes that profile's radio power, where ``probe`` alone has none. What
    crossings cost the devices is timed too, and kept in the `database`.
    """
    if not isinstance(link, str):
        return ProbedPath(link)
    if not asks_for_probe(link):
        return ProbedPath(load_link(link))
    if devices is None:
        raise ProfileError(
            f"link {link!r} is that between devices: start `jointdnn tracker` and, on each, "
            "`jointdnn device`, and give --tracker HOST:PORT"
        )
    radio = radio_of(link)
    profile = load_link(radio) if radio else None
    if str(database) == ANALYTIC:
        return probe(devices, profile)
    with CostDatabase.open(database) as costs:
        return probe(devices, profile, costs)


def find_costs(
    network: Placeable,
    *,
    mobile: str = "host",
    cloud: str = "host",
    devices: Devices | None = None,
    database: str | Path | None = None,
    progress: Progress | None = None,
) -> CostTable:
    """`measure`, or with ``analytic`` for a database, `estimate`: then no device is asked."""
    if str(database) == ANALYTIC:
        return estimate(network, mobile=mobile, cloud=cloud)
    return measure(
        network, mobile=mobile, cloud=cloud, devices=devices, database=database, progress=progress
    )


def plan_by_stages(
    network: Network,
    costs: CostTable,
    path: ProbedPath,
    *,
    objective: str = "latency",
    limits: Limits | None = None,
    placement: str = AUTO,
    codecs: str | Offer = "lossless",
    devices: Devices | None = None,
    database: str | Path | None = None,
    progress: Progress | None = None,
) -> Plan:
    """`plan`, and measure as wholes the stages that it rests on, until they are known.

    A sum of groups tells little of a stage where a device takes work in advance, as GPUs do. The
    best plan of those whose stages were measured is taken; after a few rounds, or with
    ``analytic`` for a `database`, the best of all.
    """
    for _ in range(_ROUNDS):
        chosen = plan(
            network,
            path.applied_to(costs),
            link=path.link,
            objective=objective,
            limits=limits,
            placement=placement,
            codecs=codecs,
        )
        if str(database) == ANALYTIC:
            break
        known, costs = (
            costs,
            measure_stages(
                network,
                chosen.answer.placement,
                costs,
                devices=devices,
                database=database,
                progress=progress,
            ),
        )
        if costs is known:
            break
    return chosen


def plan(
    network: Network,
    costs: CostTable,
    *,
    link: str | LinkProfile = "huang2012-wifi",
    objective: str = "latency",
    limits: Limits | None = None,
    placement: str = AUTO,
    codecs: str | Offer = "lossless",
) -> Plan:
    """Place every group of the network by its costs and the link; see `planning.answer_problem`.

    `objective` is ``latency``, ``energy`` (the mobile's) or ``throughput``. `codecs` is ``none``,
    ``lossless``, or what `offer_codecs` gave. A plan with lossy ones is tried on the samples that
    were held out; while its error is over the budget, it is made again without the worst codec.
    """
    offer = offer_codecs(network, costs, codecs) if isinstance(codecs, str) else codecs
    profile = load_link(link) if isinstance(link, str) else link
    limits = offer.limits(limits or Limits())
    while True:
        problem = make_problem(network.graph, costs, profile, objective, limits, offer.encodings)
        factors = partial(costs.stage_factors, network.graph)
        problem, answer, baselines = answer_by_stages(problem, placement, factors)
        agreement = offer.agreement(answer.placement, answer.codecs)
        fewer = offer.after(agreement, answer.codecs)
        if fewer is None:
            break
        offer = fewer
    return Plan(
        problem,
        answer,
        baselines,
        costs.mobile,
        costs.cloud,
        profile,
        {
            **costs.sources(),
            **costs.stated_corrections(network.graph),
            **costs.stated_stages(network.graph, answer.placement),
            "link": profile.how,
            "codecs": offer.source,
        },
        costs.measured,
        costs.transfer,
        agreement,
        offer.in_module(answer.codecs),
    )
