"""The evaluator against the definition in exact fractions."""

from __future__ import annotations

import random

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import (
    SIDES,
    Codec,
    Limits,
    Link,
    Metrics,
    Operator,
    Problem,
    SideCost,
    Tensor,
    evaluate,
)
from jointdnn_tvm.targets import load_link
from tests.exhaustive import exact
from tests.random_problems import random_problem, with_blocks


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("block", range(4))
def test_every_metric_is_the_definitions(block: int, carried: bool) -> None:
    for seed in range(block * 100, (block + 1) * 100):
        rng = random.Random(seed)
        problem = random_problem(
            seed, codecs=True, spreads=True, chain=seed % 2 == 0, carried=carried
        )
        if seed % 4 == 0:
            problem = with_blocks(problem, seed)
        sides = {
            o.name: rng.choice([s for s in SIDES if o.cost(s) is not None])
            for o in problem.operators
        }
        codecs = {t.name: rng.choice(t.encodings).name for t in problem.tensors}
        cost, metrics = exact(problem, sides, codecs), evaluate(problem, sides, codecs)
        pairs = [
            (metrics.latency_s, cost.latency),
            (metrics.energy_j, cost.energy),
            (metrics.cloud_s, cost.cloud),
            (metrics.mobile_bytes, cost.mobile_bytes),
            (metrics.mobile_peak_bytes, cost.peak_bytes),
            (metrics.error, cost.error),
            (metrics.bottleneck_s, cost.bottleneck),
        ]
        for value, wanted in pairs:
            assert value == pytest.approx(float(wanted), rel=1e-12, abs=1e-15), f"seed {seed}"
        assert metrics.switches == cost.switches, f"seed {seed}"


def test_what_is_carried_crosses_to_its_readers_and_is_there_twice_at_home() -> None:
    names = ("forward", "loss", "backward")
    cost = SideCost(1.0, memory_bytes=10)
    tensors = (
        Tensor("x", None, ("forward",), 100),
        Tensor("y", "forward", ("loss",), 100),
        Tensor("gradient", "loss", ("backward",), 100),
        Tensor("weight", "backward", ("forward", "backward"), 1000, carried=True),
    )
    operators = tuple(Operator(name, cost, SideCost(0.5)) for name in names)
    problem = Problem(operators, tensors, Link(8000, 16000, rtt_s=0.2))

    def metrics(*sides: str) -> Metrics:
        return evaluate(problem, dict(zip(names, sides, strict=True)))

    assert metrics("mobile", "mobile", "mobile").mobile_bytes == 30 + 2000
    # The outputs of the two passes lie side by side while the loss is computed.
    assert metrics("mobile", "mobile", "mobile").mobile_peak_bytes == 30 + 2000 + 200
    there = metrics("mobile", "cloud", "cloud")
    assert there.down == ("weight",)
    assert there.latency_s == pytest.approx(1 + 0.1 + 1 + 0.5 + 0.2)
    assert (there.mobile_bytes, there.mobile_peak_bytes) == (10, 10 + 1000 + 200)
    here = metrics("cloud", "mobile", "mobile")
    assert here.up == ("x", "weight")
    assert here.mobile_peak_bytes == 20 + 2000 + 200


def test_the_deadline_counts_standard_deviations() -> None:
    cost = SideCost(1.0, spread_s=0.3), SideCost(2.0, spread_s=0.4)
    operators = tuple(Operator(name, each, None) for name, each in zip("ab", cost, strict=True))
    problem = Problem(operators, (), Link(1, 1), limits=Limits(latency_sigmas=2))
    metrics = evaluate(problem, {"a": "mobile", "b": "mobile"})
    assert metrics.latency_s == 3.0
    assert metrics.deadline_s == pytest.approx(3 + 2 * 0.5)
    assert metrics.limited("max_latency_s") == metrics.deadline_s


@pytest.mark.parametrize(
    ("codecs", "message"),
    [
        ({"z": "u8"}, "codecs name tensor 'z', which the problem lacks"),
        ({"x": "u9"}, "tensor 'x' has no codec 'u9': use none, u8"),
    ],
)
def test_unknown_codecs_are_one_clear_line(codecs: dict[str, str], message: str) -> None:
    tensor = Tensor("x", None, ("a",), 100, codecs=(Codec("u8", 25),))
    problem = Problem((Operator("a", SideCost(1), SideCost(1)),), (tensor,), Link(1, 1))
    with pytest.raises(ProblemError, match=message):
        evaluate(problem, {"a": "cloud"}, codecs)


@pytest.mark.parametrize(
    ("name", "published_ms", "formula_mj"),
    [("huang2012-3g", 196.2, 345), ("huang2012-4g", 37.9, 141), ("huang2012-wifi", 13.1, 62)],
)
def test_latencies_of_bottlenet(name: str, published_ms: float, formula_mj: float) -> None:
    """BottleNet (arXiv 1902.01000): ResNet-50 on the cloud, its input a JPEG of 26,766 bytes.

    Its published energies (310, 168 and 111 mJ) do not follow from its own formula, the radio's
    power times the seconds of sending: these do.
    """
    radio = load_link(name)
    link = Link(radio.uplink_bps, radio.downlink_bps, radio.rtt_s, radio.transmit_w)
    resnet = Operator("resnet50", mobile=None, cloud=SideCost(0.0015))
    image = Tensor("jpeg", None, ("resnet50",), 26_766)
    problem = Problem((resnet,), (image,), link, outputs_on="any")
    metrics = evaluate(problem, {"resnet50": "cloud"})
    assert 1e3 * metrics.latency_s == pytest.approx(published_ms, abs=0.3)
    assert 1e3 * metrics.energy_j == pytest.approx(formula_mj, abs=0.5)
