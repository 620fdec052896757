"""Whether a tuned kernel gives the rule's answer, on the device, for inputs made there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from jointdnn_tvm.cost.bench import Bench, Workload
from jointdnn_tvm.passes.choose_kernels import Weight
from jointdnn_tvm.tuning.candidates import Candidate


def largest_difference(
    bench: Bench,
    candidates: tuple[Candidate, Candidate],
    packing: tuple[Path, Mapping[Weight, Workload]],
    deadline_s: float,
) -> float:
    """Of the outputs of two candidates, as a share of the largest number of the first one's.

    Both get the same inputs and weights, which are random numbers of the device; it packs them
    too, so that only outputs cross the link.
    """
    library, functions = packing
    plain = {w.source: shape for w, f in functions.items() for shape in f.arguments}
    made: dict[Any, Any] = {}

    def weight(weight: Weight, shape: Any) -> Any:
        source = weight.source, plain.get(weight.source, shape)
        if source not in made:
            made[source] = bench.tensor(source[1])
        if weight.packing is None:
            return made[source]
        pack = functions[weight]
        (packed,) = _run(bench.machine(library), pack.function, [made[source]])
        return packed

    def answers(candidate: Candidate) -> list[Any]:
        workload = candidate.entrant.workload
        inputs = len(workload.arguments) - len(candidate.weights)
        given = []
        for number, shape in enumerate(workload.arguments[:inputs]):
            made.setdefault(number, None)
            made[number] = bench.tensor(shape) if made[number] is None else made[number]
            given.append(made[number])
        taken = zip(candidate.weights, workload.arguments[inputs:], strict=True)
        given += [weight(w, shape) for w, shape in taken]
        machine = bench.machine(candidate.entrant.library)
        return [out.numpy() for out in _run(machine, workload.function, given)]

    with bench.session.deadline(deadline_s, "comparing answers"):
        wanted, found = map(answers, candidates)
    return max((_difference(a, b) for a, b in zip(wanted, found, strict=True)), default=0.0)


def _run(machine: Any, function: str, arguments: Sequence[Any]) -> list[Any]:
    machine.set_input(function, *arguments)
    machine.invoke_stateful(function)
    outputs = machine.get_outputs(function)
    return [outputs] if isinstance(outputs, tvm.runtime.Tensor) else list(outputs)


def _difference(wanted: Any, found: Any) -> float:
    if not wanted.size:
        return 0.0
    difference = np.abs(wanted.astype(np.float64) - found).max()
    largest = np.abs(wanted).max()
    if not np.isfinite(difference):
        return 0.0 if np.array_equal(wanted, found, equal_nan=True) else float("inf")
    return float(difference / largest) if largest else float(difference)
