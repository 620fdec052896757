"""Pieces of a placement add up to what the definition says."""

from __future__ import annotations

import random
from fractions import Fraction

from jointdnn_tvm.placement import SIDES
from jointdnn_tvm.placement.measures import BUSY, Measures
from tests.exhaustive import crossing, decimal, exact
from tests.random_problems import random_problem


def test_pieces_add_up_to_every_metric() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        problem = random_problem(seed, codecs=True, carried=seed % 2 == 0)
        measures = Measures(problem, decimal)
        sides = {
            o.name: rng.choice([s for s in SIDES if o.cost(s) is not None])
            for o in problem.operators
        }
        codecs = {t.name: rng.choice(t.encodings).name for t in problem.tensors}
        cost = exact(problem, sides, codecs)
        pieces = [measures.switch()] * cost.switches
        for operator in problem.operators:
            piece = measures.operator(
                operator, "mobile" if sides[operator.name] == "mobile" else "cloud"
            )
            assert piece is not None
            pieces.append(piece)
        for tensor, direction in crossing(problem, sides):
            codec = tensor.encoding(codecs[tensor.name])
            pieces.append(measures.crossing(codec, "mobile" if direction == "up" else "cloud"))

        def total(name: str, pieces: list[dict[str, Fraction]] = pieces) -> Fraction:
            return sum((piece.get(name, Fraction(0)) for piece in pieces), Fraction(0))

        assert total("latency") == cost.latency, f"seed {seed}"
        assert total("energy") == cost.energy, f"seed {seed}"
        assert total("cloud") == cost.cloud, f"seed {seed}"
        assert total("weights") == cost.mobile_bytes, f"seed {seed}"
        assert total("error") == cost.error, f"seed {seed}"
        assert max(map(total, BUSY)) == cost.bottleneck, f"seed {seed}"
