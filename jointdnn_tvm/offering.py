"""The codecs that a plan may choose from: `offer_codecs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jointdnn_tvm.agreement import Agreement
from jointdnn_tvm.boundary import InModule
from jointdnn_tvm.cost.codec_model import SOURCE as MODEL
from jointdnn_tvm.cost.table import CostTable, Encodings
from jointdnn_tvm.encoding_store import kept_encodings
from jointdnn_tvm.encodings import exact_encodings, lossy_encodings
from jointdnn_tvm.errors import BuildError, CodecError, RunError
from jointdnn_tvm.graph import Placement
from jointdnn_tvm.host_network import HostNetwork, Sample
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import Limits
from jointdnn_tvm.samples import Samples, random_sample, read_samples
from jointdnn_tvm.trial import Trial, safer

CHOICES = ("none", "lossless", "lossy")
"""What `codecs` may be: tensors cross as they are, by codecs that give every bit back, or by any
whose errors together stay within a budget."""

_NOTHING_RUNS = (
    "for analytic costs nothing runs, so no sizes are known; with --calibrate the network runs on "
    "this machine for them"
)
_MOST_SAMPLES = 4  # by which the codecs of each tensor are judged; a plan is by all held out
_FEWEST_SAMPLES = 8

Progress = Callable[[str, int, int], None]  # what is being done, how many done, of how many


@dataclass(frozen=True)
class Offer:
    """Other ways to send each tensor, and how their sizes were got or why there are none.

    With lossy ones among them comes the `trial` that a plan must pass.
    """

    encodings: Encodings = field(default_factory=dict)
    source: str = "none"
    trial: Trial | None = None

    def limits(self, limits: Limits) -> Limits:
        """The limits of a plan, the budget among them where there is one."""
        if self.trial is None or limits.max_error is not None:
            return limits
        return replace(limits, max_error=self.trial.budget)

    def agreement(self, placement: Placement, codecs: Mapping[str, str]) -> Agreement | None:
        """How far a plan's answers are from the network's own; None where all codecs are exact."""
        if self.trial is None:
            return None
        return self.trial.run(placement, codecs, self.in_module(codecs))

    def in_module(self, codecs: Mapping[str, str]) -> dict[str, InModule]:
        """How compiled modules quantise the tensors that a plan sends so."""
        chosen = {t: self.encodings.get(t, {}).get(codec) for t, codec in codecs.items()}
        return {t: e.in_module for t, e in chosen.items() if e and e.in_module}

    def after(self, agreement: Agreement | None, codecs: Mapping[str, str]) -> Offer | None:
        """What is left to offer after a plan that failed its trial; None after one that passed."""
        if self.trial is None or agreement is None or agreement.error <= self.trial.budget:
            return None
        fewer = safer(self.encodings, codecs)
        return None if fewer is None else replace(self, encodings=fewer)


def check_codecs(
    codecs: str, calibrate: str | Path | Samples | None, max_error: float | None
) -> None:
    """CodecError for a choice that cannot be; call it before the long work."""
    if codecs not in CHOICES:
        raise CodecError(f"there are no codecs {codecs!r}; choose {', '.join(CHOICES)}")
    if codecs == "lossy" and (calibrate is None or max_error is None):
        raise CodecError(
            "lossy codecs need inputs to judge them by and the error that is allowed; give "
            "--calibrate and --max-error, or choose lossless ones"
        )


def offer_codecs(
    network: Network,
    costs: CostTable,
    codecs: str = "lossless",
    *,
    calibrate: str | Path | Samples | None = None,
    max_error: float | None = None,
    progress: Progress | None = None,
) -> Offer:
    """Run the network on this machine to see how small each tensor gets, and at which error.

    `codecs` is one of `CHOICES`; `calibrate` is inputs, or a file or folder of them for
    `samples.read_samples`. Without it the input is noise. `max_error` is the error that lossy
    codecs may make of the network's outputs, as `agreement.Agreement` measures it: half of the
    samples choose the codecs, the other half confirm the plan. CodecError for what cannot be, and
    for samples that could not tell right from wrong.
    """
    check_codecs(codecs, calibrate, max_error)
    side = costs.lacks_codecs
    if codecs == "none":
        return Offer()
    if side is not None:
        reason = f"codecs were not timed on the {side} device"
        if codecs == "lossy":
            raise CodecError(f"{reason}; measure with `jointdnn device` there, or choose lossless")
        return Offer(source=f"none: {reason}")
    if costs.has_modelled_codecs and calibrate is None:
        return Offer(source=f"none: {_NOTHING_RUNS}")
    samples = _samples(network, calibrate)
    source = f"{codecs}, sizes measured:{samples.source}"
    if costs.has_modelled_codecs:
        source += f", times {MODEL}"
    if codecs == "lossless":
        try:
            few = _few(samples.inputs)
            found = kept_encodings(network, few, lambda: exact_encodings(HostNetwork(network), few))
            return Offer(found, source)
        except (BuildError, RunError) as error:  # of this machine, which runs nothing in the end
            return Offer(source=f"none: {error}")
    assert max_error is not None, "checked"
    report = progress or (lambda what, done, total: None)
    return replace(_any_codecs(HostNetwork(network), samples, max_error, report), source=source)


def _any_codecs(host: HostNetwork, samples: Samples, budget: float, report: Progress) -> Offer:
    if len(samples.inputs) < _FEWEST_SAMPLES:
        raise CodecError(
            f"{len(samples.inputs)} calibration samples are too few for lossy codecs; give "
            f"{_FEWEST_SAMPLES} or more, with different answers"
        )
    choosing, confirming = _few(samples.inputs[::2]), samples.inputs[1::2]
    trial = Trial.prepare(host, confirming, budget)
    exact = exact_encodings(host, choosing)
    lossy = lossy_encodings(
        host, choosing, budget, lambda done, total: report("trying codecs", done, total)
    )
    both = {name: {**codecs, **lossy.get(name, {})} for name, codecs in exact.items()}
    return Offer(both, trial=trial)


def _few(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[:_MOST_SAMPLES]


def _samples(network: Network, calibrate: str | Path | Samples | None) -> Samples:
    if calibrate is None:
        return random_sample(network)
    return calibrate if isinstance(calibrate, Samples) else read_samples(calibrate, network)
