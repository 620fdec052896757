"""Costs without a device: what every group of a network should take, by its targets' rooflines."""

from __future__ import annotations

from jointdnn_tvm.cost.codec_model import model_codecs
from jointdnn_tvm.cost.count_work import count_work
from jointdnn_tvm.cost.database import Measurement
from jointdnn_tvm.cost.roofline import Work, latency_s, source
from jointdnn_tvm.cost.table import CostTable
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.network import Placeable
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.tuning.records import tuned_target

ANALYTIC = "analytic"
"""In place of the path of a measurement database: estimate, and measure nothing."""


def estimate(network: Placeable, *, mobile: str = "host", cloud: str = "host") -> CostTable:
    """Estimate every group of a network, or of a step of training: nothing is built or run.

    So it also answers for hardware that is not there yet. Each time follows from the figures of
    both targets and says that it is ``model:roofline``, of a codec ``model:cycles of codecs``.
    Whether a target can build and run a group is not asked. A group whose work depends on the data
    has no estimate.
    """
    profiles = tuned_target(mobile), tuned_target(cloud)
    names = {g.key: g.name for g in network.graph.groups}
    works = {key: _work(network, name) for key, name in names.items()}
    on_mobile, on_cloud = (
        {key: _estimate(work, profile) for key, work in works.items()} for profile in profiles
    )
    codecs_on_mobile, codecs_on_cloud = map(model_codecs, profiles)
    return CostTable(
        *(*profiles, on_mobile, on_cloud),
        measured=0,
        codecs_on_mobile=codecs_on_mobile,
        codecs_on_cloud=codecs_on_cloud,
    )


def _work(network: Placeable, group: str) -> Work | CostError:
    try:
        return count_work(network.grouped[group])
    except CostError as error:
        return error


def _estimate(work: Work | CostError, profile: TargetProfile) -> Measurement:
    if isinstance(work, CostError):
        return Measurement.failure(str(work), source(profile))
    return Measurement(latency_s(work, profile), 0.0, 0, None, source(profile))
