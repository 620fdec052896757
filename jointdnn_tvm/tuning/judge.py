"""The last word on a choice: is it faster than the rule's, surely, and answers alike?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jointdnn_tvm.cost.bench import Bench, Workload
from jointdnn_tvm.cost.race import race
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.choose_kernels import Weight
from jointdnn_tvm.targets import TargetProfile
from jointdnn_tvm.tuning.answers import largest_difference
from jointdnn_tvm.tuning.candidates import Candidate, build_candidate, build_packing

GAIN = 0.03
"""Of a kernel's time: what a choice must gain to replace the rule's."""

TOLERANCE = 1e-4
"""Of the largest number of an output: as `jointdnn verify` allows a whole network."""

_ROUNDS = 25
_DEADLINE_S = 60.0


@dataclass(frozen=True)
class Pair:
    """A group by the rules and with a choice, and what packs the weights of both."""

    rule: Candidate
    tuned: Candidate
    packing: tuple[Path, Mapping[Weight, Workload]]


@dataclass(frozen=True)
class Verdict:
    """A choice's share of the rule's time, what that is surely below, how answers differ, where."""

    share: float
    surely_below: float
    difference: float
    device: str

    @property
    def objection(self) -> str | None:
        """Why the rule's kernel stays; None where it goes."""
        if self.difference > TOLERANCE:
            return f"its answer differs by {self.difference:.1e}"
        if self.share > 1 - GAIN or self.surely_below >= 1:
            below = f"surely below {self.surely_below:.3f}"
            return f"it takes {self.share:.3f} of the rule's time, {below}"
        return None


def build_pair(
    network: Network,
    group: tuple[str, str],
    profiles: tuple[TargetProfile, TargetProfile],
    folder: Path,
) -> Pair:
    """Compile a group, by its key and name, as both profiles have it decided. BuildError."""
    own = Path(tempfile.mkdtemp(dir=folder))
    rule, tuned = (
        build_candidate(network, group, profile, own / f"{name}.so")
        for name, profile in zip(("rule", "tuned"), profiles, strict=True)
    )
    packed = {weight for c in (rule, tuned) for weight in c.weights if weight.packing}
    path = own / "packing.so"
    return Pair(rule, tuned, (path, build_packing(network, group[1], packed, profiles[0], path)))


def judge(bench: Bench, pair: Pair, repeat_ms: int) -> Verdict:
    """Compare both on a device. Raises as `race` does."""
    difference = largest_difference(bench, (pair.rule, pair.tuned), pair.packing, _DEADLINE_S)
    entrants = [pair.rule.entrant, pair.tuned.entrant]
    _, outcome = race(bench, entrants, _ROUNDS, repeat_ms, _DEADLINE_S)
    return Verdict(outcome.share, outcome.surely_below, difference, bench.device.name)
