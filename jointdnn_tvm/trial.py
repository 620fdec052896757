"""A plan's answers on samples that had no part in choosing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jointdnn_tvm.agreement import Agreement, Judge
from jointdnn_tvm.boundary import InModule
from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.cost.table import Encodings
from jointdnn_tvm.encodings import what_is_left
from jointdnn_tvm.errors import CodecError
from jointdnn_tvm.graph import Placement
from jointdnn_tvm.host_network import HostNetwork, Sample

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trial:
    """Samples that were held out, and how far answers may be from the network's own."""

    host: HostNetwork
    samples: Sequence[Sample]
    judge: Judge
    budget: float

    @classmethod
    def prepare(cls, host: HostNetwork, samples: Sequence[Sample], budget: float) -> Trial:
        """Compute the network's own answers; CodecError when agreement with them tells nothing."""
        runs = (host.tensors(sample) for sample in samples)
        judge = Judge([[run[name] for name in host.graph.outputs] for run in runs])
        if reason := judge.why_vacuous(budget):
            raise CodecError(
                f"the calibration set cannot show that lossy codecs are right: {reason}; "
                "give more samples, with different answers"
            )
        return cls(host, samples, judge, budget)

    def run(
        self, placement: Placement, codecs: Mapping[str, str], in_module: Mapping[str, InModule]
    ) -> Agreement:
        """How far a plan's answers are from the network's own, every codec at work.

        `in_module` is how the compiled modules quantise, by tensor.
        """

        def send(name: str, array: Array) -> Array:
            codec = codecs[name]
            return array if CODECS[codec].exact else what_is_left(codec, array, in_module.get(name))

        return self.judge.compare([self.host.placed(s, placement, send) for s in self.samples])


def safer(encodings: Encodings, codecs: Mapping[str, str]) -> Encodings | None:
    """Without the codec, of those that a plan uses, that loses most, nor any that loses as much.

    None when the plan uses no lossy one.
    """
    used = {t: encodings[t][c].error for t, c in codecs.items() if c in encodings.get(t, {})}
    lossy = [t for t in used if not CODECS[codecs[t]].exact]
    if not lossy:
        return None
    worst = max(lossy, key=lambda t: (used[t], encodings[t][codecs[t]].size_bytes))
    kept = {
        codec: encoding
        for codec, encoding in encodings[worst].items()
        if CODECS[codec].exact or (encoding.error < used[worst] and codec != codecs[worst])
    }
    return {**encodings, worst: kept}
