"""How long a group should take on a device that is not at hand: the roofline of its profile.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 2009:
work takes as long as its operations at the device's peak, or as its bytes at the memory's rate,
whichever is longer. Here each kind of operator may reach only a share of that, and every kernel
costs something before it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.targets.roofline import MULTIPLY_ADD

SOURCE = "model:roofline"
BEST_CASE = f"{SOURCE} (best case: no efficiency known)"


@dataclass(frozen=True)
class Work:
    """What a group computes: operations by kind of operator, bytes moved, kernels begun.

    `operations` are those of the direct algorithm, a multiply-add is two. `moved_bytes` are read
    from or written for other groups. `kind` is that of the operator that the rest is fused into.
    """

    kind: str
    operations: Mapping[str, int]
    moved_bytes: int
    kernels: int


def latency_s(work: Work, profile: TargetProfile) -> float:
    """Seconds by the roofline; a kind of operator without a known efficiency has the best, 1.

    Only multiply-adds are held against the peak; all other operators go by their bytes.
    """
    efficiency = profile.roofline.efficiency
    computing_s = sum(
        operations / (profile.peak_flops * efficiency.get(kind, 1.0))
        for kind, operations in work.operations.items()
        if kind in MULTIPLY_ADD
    )
    share = 1.0 if work.kind in MULTIPLY_ADD else efficiency.get(work.kind, 1.0)
    moving_s = work.moved_bytes / (profile.bandwidth_bytes_per_s * share)
    return work.kernels * profile.roofline.call_s + max(computing_s, moving_s)


def source(profile: TargetProfile) -> str:
    """How the times of that profile were got."""
    return SOURCE if profile.roofline.efficiency else BEST_CASE
