"""What a placement problem, and a placement, must be: `ProblemError` says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.problem import (
    OBJECTIVES,
    OUTPUTS_ON,
    PLAIN,
    SIDES,
    Codec,
    Limits,
    Link,
    Operator,
    Problem,
    Side,
    Tensor,
)

LARGEST = 1e100  # sums and products of a problem's numbers stay finite


def check_problem(problem: Problem) -> None:
    """Check that every number, name and reference fits."""
    _check_choice("objective", problem.objective, OBJECTIVES)
    _check_choice("outputs_on", problem.outputs_on, OUTPUTS_ON)
    _check_link(problem.link)
    _check_operators(problem.operators)
    _check_tensors(problem.tensors, problem.positions)
    _check_limits(problem.limits)
    _check_blocks(problem)


def check_sides(problem: Problem, placement: Mapping[str, str]) -> dict[str, Side]:
    """A placement of every operator on a side that can run it; raises `ProblemError` if not."""
    unknown = [name for name in placement if name not in problem.positions]
    if unknown:
        raise ProblemError(
            f"placement names operator {unknown[0]!r}, which the problem lacks: remove it"
        )
    return {operator.name: _check_side(operator, placement) for operator in problem.operators}


def check_codecs_used(problem: Problem, codecs: Mapping[str, str]) -> Mapping[str, str]:
    """Names of codecs by tensor, each of which has that codec; raises `ProblemError` if not."""
    tensors = {tensor.name: tensor for tensor in problem.tensors} if codecs else {}
    for name, codec in codecs.items():
        if name not in tensors:
            raise ProblemError(f"codecs name tensor {name!r}, which the problem lacks: remove it")
        known = [encoding.name for encoding in tensors[name].encodings]
        if codec not in known:
            raise ProblemError(f"tensor {name!r} has no codec {codec!r}: use {', '.join(known)}")
    return codecs


def _check_side(operator: Operator, placement: Mapping[str, str]) -> Side:
    if operator.name not in placement:
        raise ProblemError(f"placement has no side for operator {operator.name!r}: add it")
    wanted = placement[operator.name]
    for side in SIDES:
        if wanted == side:
            if operator.cost(side) is None:
                raise ProblemError(f"operator {operator.name!r} cannot run on the {side} side")
            return side
    raise ProblemError(
        f"placement puts operator {operator.name!r} on {wanted!r}: use 'mobile' or 'cloud'"
    )


def check_number(where: str, value: object, *, positive: bool = False) -> float:
    """A finite number from 0 (or above it, when ``positive``) to `LARGEST`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProblemError(f"{where} must be a number, not {_shown(value)}")
    if not 0 <= value <= LARGEST:  # NaN fails every comparison
        raise ProblemError(f"{where} is {_shown(value)}: use a finite number of 0 or more")
    if positive and value < 1 / LARGEST:
        raise ProblemError(f"{where} is {_shown(value)}: a rate must be above 0 (1e-100 at least)")
    return value


def _check_choice(where: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ProblemError(f"{where} is {_shown(value)}: use {' or '.join(choices)}")


def _check_link(link: Link) -> None:
    check_number("link: uplink_bps", link.uplink_bps, positive=True)
    check_number("link: downlink_bps", link.downlink_bps, positive=True)
    for name in ("rtt_s", "transmit_w", "receive_w", "idle_w", "tail_j"):
        check_number(f"link: {name}", getattr(link, name))


def _check_operators(operators: tuple[Operator, ...]) -> None:
    if not operators:
        raise ProblemError("operators is empty: list at least one operator")
    _check_names("operator", (operator.name for operator in operators))
    for operator in operators:
        if operator.mobile is None and operator.cloud is None:
            raise ProblemError(
                f"operator {operator.name!r} can run nowhere: give it a mobile or a cloud cost"
            )
        for side in SIDES:
            cost = operator.cost(side)
            if cost is not None:
                where = f"operator {operator.name!r}: {side}."
                check_number(where + "latency_s", cost.latency_s)
                check_number(where + "energy_j", cost.energy_j)
                check_number(where + "memory_bytes", cost.memory_bytes)
                check_number(where + "spread_s", cost.spread_s)


def _check_tensors(tensors: tuple[Tensor, ...], positions: Mapping[str, int]) -> None:
    _check_names("tensor", (tensor.name for tensor in tensors))
    for tensor in tensors:
        where = f"tensor {tensor.name!r}"
        check_number(f"{where}: size_bytes", tensor.size_bytes)
        _check_codecs(where, tensor.codecs)
        for name in (tensor.producer, *tensor.consumers):
            if name is not None and name not in positions:
                raise ProblemError(f"{where} names operator {name!r}, which is not in operators")
        if tensor.carried and (tensor.producer is None or tensor.output):
            raise ProblemError(
                f"{where} is carried: name the operator that makes its new value, and no output"
            )
        if tensor.producer is None:
            if not tensor.consumers and not tensor.output:
                raise ProblemError(f"{where} has no producer and no consumers: remove it")
            continue
        for name in () if tensor.carried else tensor.consumers:
            if positions[name] <= positions[tensor.producer]:
                raise ProblemError(
                    f"{where}: consumer {name!r} is not later than producer {tensor.producer!r}; "
                    "list operators in execution order, without cycles"
                )


def _check_codecs(where: str, codecs: tuple[Codec, ...]) -> None:
    _check_names(f"{where}: codec", (PLAIN, *(codec.name for codec in codecs)))
    for codec in codecs:
        of_codec = f"{where}: codec {codec.name!r}: "
        for name in ("size_bytes", "error", "encode_j", "decode_j"):
            check_number(of_codec + name, getattr(codec, name))
        for side in SIDES:
            check_number(of_codec + f"encode_s.{side}", getattr(codec.encode_s, side))
            check_number(of_codec + f"decode_s.{side}", getattr(codec.decode_s, side))


def _check_limits(limits: Limits) -> None:
    check_number("limits: latency_sigmas", limits.latency_sigmas)
    for name, value in limits.active.items():
        check_number(f"limits: {name}", value)


def _check_blocks(problem: Problem) -> None:
    if problem.blocks and not problem.is_chain:
        raise ProblemError(
            "blocks need operators in a chain, each reading only the one before it: remove them"
        )
    seen = set()
    for block in problem.blocks:
        where = f"block {block.first!r} to {block.last!r}"
        _check_choice(f"{where}: side", block.side, SIDES)
        check_number(f"{where}: latency_s", block.latency_s)
        for name in (block.first, block.last):
            if name not in problem.positions:
                raise ProblemError(f"{where} names operator {name!r}, which is not in operators")
        first, last = problem.positions[block.first], problem.positions[block.last]
        if first > last:
            raise ProblemError(f"{where} ends before it starts: swap the two")
        if any(o.cost(block.side) is None for o in problem.operators[first : last + 1]):
            raise ProblemError(f"{where} has an operator that cannot run on the {block.side} side")
        if (block.side, first, last) in seen:
            raise ProblemError(f"{where} is given twice for the {block.side} side: keep one")
        seen.add((block.side, first, last))


def _check_names(what: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ProblemError(f"{what} name {name!r} is used twice: names must be unique")
        seen.add(name)


def _shown(value: object) -> str:
    """A value in an error line: short, and never a failure of its own."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: "minus infinite"}.get(value, "NaN")
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number above 1e100" if value > 0 else "a number below -1e100"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
