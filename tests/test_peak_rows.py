"""What the mobile holds at once, for every placement of networks with branches."""

from __future__ import annotations

from itertools import product

import pytest

from jointdnn_tvm.placement import evaluate
from jointdnn_tvm.placement.integer_program import ONE, Program, minimise
from jointdnn_tvm.placement.peak_rows import peak_column
from tests.random_problems import random_problem


@pytest.mark.parametrize("carried", [False, True])
def test_the_peak_is_the_definitions(carried: bool) -> None:
    for seed in range(40):
        problem = random_problem(seed, most=5, carried=carried)
        both = [o.mobile or o.cloud for o in problem.operators]
        names = [o.name for o in problem.operators]
        problem = type(problem)(
            tuple(type(o)(o.name, c, c) for o, c in zip(problem.operators, both, strict=True)),
            problem.tensors,
            problem.link,
            outputs_on=problem.outputs_on,
        )
        for sides in product((0.0, 1.0), repeat=len(names)):
            program = Program()
            columns = [program.column(side, side) for side in sides]
            literals = {n: {column: 1.0} for n, column in zip(names, columns, strict=True)}
            state = {n: 0.0 for n in names}
            for tensor in problem.tensors:
                if tensor.carried and tensor.producer:
                    state[tensor.producer] += 2 * tensor.size_bytes
            weights = {
                column: cost.memory_bytes + state[name]
                for name, column, cost in zip(names, columns, both, strict=True)
                if cost is not None
            }
            peak = peak_column(problem, program, literals, {ONE: 0.0, **weights}, 1.0)
            outcome = minimise(program, {peak: 1.0}, 10.0)
            placement = {n: "mobile" if s else "cloud" for n, s in zip(names, sides, strict=True)}
            wanted = evaluate(problem, placement).mobile_peak_bytes
            assert outcome.bound == pytest.approx(wanted, rel=1e-9, abs=1e-9), (seed, placement)
