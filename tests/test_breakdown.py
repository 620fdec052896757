"""The parts of a query: they add up, and each is what it says."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from jointdnn_tvm.placement import SIDES, Problem
from jointdnn_tvm.placement.breakdown import breakdown, busy_seconds, crossings
from tests.exhaustive import exact
from tests.random_problems import random_problem, with_blocks


def drawn(seed: int) -> tuple[Problem, dict[str, str], dict[str, str]]:
    """A problem, and a placement and codecs at random."""
    rng = random.Random(seed)
    problem = random_problem(seed, codecs=True, chain=seed % 2 == 0)
    if seed % 4 == 0:
        problem = with_blocks(problem, seed)
    sides = {
        o.name: rng.choice([s for s in SIDES if o.cost(s) is not None]) for o in problem.operators
    }
    codecs = {t.name: rng.choice(t.encodings).name for t in problem.tensors}
    return problem, dict(sides), codecs


@pytest.mark.parametrize("block", range(3))
def test_they_add_up_to_the_definition(block: int) -> None:
    for seed in range(block * 100, (block + 1) * 100):
        problem, sides, codecs = drawn(seed)
        parts = breakdown(problem, sides, codecs)  # type: ignore[arg-type]
        cost = exact(problem, sides, codecs)
        latency_s = sum(part.latency_s for part in parts.values())
        energy_j = sum(part.energy_j for part in parts.values())
        assert latency_s == pytest.approx(float(cost.latency), rel=1e-12, abs=0), f"seed {seed}"
        assert energy_j == pytest.approx(float(cost.energy), rel=1e-12, abs=0), f"seed {seed}"
        busiest_s = max(busy_seconds(parts).values())
        assert busiest_s == pytest.approx(float(cost.bottleneck), rel=1e-12, abs=0), f"seed {seed}"


def test_a_part_is_what_disappears_with_its_cause() -> None:
    for seed in range(200):
        problem, sides, codecs = drawn(seed)
        whole = exact(problem, sides, codecs)

        def lost(cheaper: Problem) -> tuple[Fraction, Fraction]:
            cost = exact(cheaper, sides, codecs)  # noqa: B023
            return whole.latency - cost.latency, whole.energy - cost.energy  # noqa: B023

        link = problem.link
        # half of a link's time is gone when it is twice as fast
        half = {
            "uplink": replace(problem, link=replace(link, uplink_bps=2 * link.uplink_bps)),
            "downlink": replace(problem, link=replace(link, downlink_bps=2 * link.downlink_bps)),
            "round_trips": replace(
                problem, link=replace(link, rtt_s=link.rtt_s / 2, tail_j=link.tail_j / 2)
            ),
        }
        parts = breakdown(problem, sides, codecs)  # type: ignore[arg-type]
        for name, cheaper in half.items():
            latency, energy = lost(cheaper)
            assert parts[name].latency_s == pytest.approx(float(2 * latency), abs=1e-12), seed
            assert parts[name].energy_j == pytest.approx(float(2 * energy), abs=1e-12), seed
        without_codecs, codecs_j = lost(
            replace(problem, tensors=tuple(map(_free, problem.tensors)))
        )
        codecs_s = parts["mobile_codecs"].latency_s + parts["cloud_codecs"].latency_s
        assert codecs_s == pytest.approx(float(without_codecs), abs=1e-12), seed
        assert parts["mobile_codecs"].energy_j == pytest.approx(float(codecs_j), abs=1e-12), seed
        assert parts["cloud"].latency_s == pytest.approx(float(whole.cloud), abs=1e-12), seed


def _free(tensor):  # type: ignore[no-untyped-def]
    nothing = type(tensor.codecs[0].encode_s)() if tensor.codecs else None
    free = {"encode_s": nothing, "decode_s": nothing, "encode_j": 0.0, "decode_j": 0.0}
    codecs = [replace(codec, **free) for codec in tensor.codecs]
    return replace(tensor, codecs=tuple(codecs))


def test_each_crossing_adds_its_share() -> None:
    for seed in range(100):
        problem, sides, codecs = drawn(seed)
        parts = breakdown(problem, sides, codecs)  # type: ignore[arg-type]
        found = crossings(problem, sides, codecs)  # type: ignore[arg-type]
        shares = ("uplink", "downlink", "mobile_codecs", "cloud_codecs")
        total_s = sum(parts[name].latency_s for name in shares)
        assert sum(c.latency_s for c in found) == pytest.approx(total_s, rel=1e-12, abs=0)
        total_j = sum(parts[name].energy_j for name in shares[:-1])
        assert sum(c.energy_j for c in found) == pytest.approx(total_j, rel=1e-12, abs=0)
        assert all(c.codec == codecs[c.tensor] for c in found)
