"""The whole flow, a call a step; `compile` is its table of contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.cost.table import CostTable, make_problem
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.estimating import ANALYTIC, estimate
from jointdnn_tvm.measuring import Progress, measure
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.offering import Offer, check_codecs, offer_codecs
from jointdnn_tvm.placement import Limits
from jointdnn_tvm.planning import AUTO, Plan, answer_problem, check_placement_choice
from jointdnn_tvm.targets import LinkProfile, load_link

__all__ = [
    "Devices",
    "Limits",
    "build",
    "compile",
    "estimate",
    "find_costs",
    "load_network",
    "measure",
    "offer_codecs",
    "plan",
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

    `mobile`, `cloud` and `link` are names of profiles or paths of TOML files; `objective` is
    ``latency``, ``energy`` (the mobile's) or ``throughput``, least within `limits`; `placement` is
    ``auto`` or one of the others that `planning.answer_problem` knows; for `codecs` and `calibrate`
    see `offer_codecs`. Without `devices` two device servers are started on loopback. With
    ``analytic`` for a `database` nothing is measured: costs are those of `estimate`. The bundle is
    in memory: `save` it.
    """
    link = load_link(link) if isinstance(link, str) else link
    check_placement_choice(placement)
    check_codecs(codecs, calibrate, limits.max_error if limits else None)
    network = load_network(model, shapes)
    costs = find_costs(
        network, mobile=mobile, cloud=cloud, devices=devices, database=database, progress=progress
    )
    chosen = plan(
        network,
        costs,
        link=link,
        objective=objective,
        limits=limits,
        placement=placement,
        codecs=offer_codecs(
            network,
            costs,
            codecs,
            calibrate=calibrate,
            max_error=limits.max_error if limits else None,
            progress=progress,
        ),
    )
    return build(network, chosen, fallback=fallback, dump_ir=dump_ir)


def find_costs(
    network: Network,
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
        answer, baselines = answer_problem(problem, placement)
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
        {**costs.sources(), "link": f"model:{profile.name}", "codecs": offer.source},
        costs.measured,
        agreement,
        offer.grids(answer.codecs),
    )
