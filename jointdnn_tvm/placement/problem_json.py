"""The problem file: ``jointdnn-problem/1`` documents to `Problem` and back.

Every key is known or refused: a misspelt key would otherwise change the answer in silence.
"""

from __future__ import annotations

from typing import Any

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement.check_problem import check_number
from jointdnn_tvm.placement.problem import (
    SIDES,
    Block,
    Codec,
    Limits,
    Link,
    Operator,
    Problem,
    Side,
    SideCost,
    SideSeconds,
    Tensor,
)

FORMAT = "jointdnn-problem/1"

_PROBLEM_KEYS = ("format", "operators", "tensors", "link")
_PROBLEM_OPTIONS = ("objective", "outputs_on", "limits", "blocks")
_COST_OPTIONS = ("energy_j", "memory_bytes", "spread_s")
_CODEC_NUMBERS = ("error", "encode_j", "decode_j")
_CODEC_OPTIONS = ("encode_s", "decode_s", *_CODEC_NUMBERS)
_BLOCK_KEYS = ("side", "first", "last", "latency_s")
_LIMITS = tuple(vars(Limits()))
_LINK_KEYS = ("uplink_bps", "downlink_bps")
_LINK_OPTIONS = ("rtt_s", "transmit_w", "receive_w", "idle_w", "tail_j")


def read_problem(document: object) -> Problem:
    """A checked problem from a parsed document; raises `ProblemError`."""
    if not isinstance(document, dict):
        raise ProblemError(f"a problem must be a JSON object, not {_json_type(document)}")
    if document.get("format") != FORMAT:
        found = repr(document["format"])[:40] if "format" in document else "missing"
        raise ProblemError(f"format is {found}: this version reads {FORMAT!r}")
    _check_keys("problem", document, _PROBLEM_KEYS, _PROBLEM_OPTIONS)
    return Problem(
        operators=tuple(map(_operator, _list("operators", document["operators"]))),
        tensors=tuple(map(_tensor, _list("tensors", document["tensors"]))),
        link=_link(document["link"]),
        objective=_text("objective", document.get("objective", "latency")),
        outputs_on=_text("outputs_on", document.get("outputs_on", "mobile")),
        limits=_limits(document.get("limits")),
        blocks=tuple(map(_block, _optional_list("blocks", document.get("blocks")))),
    )


def write_problem(problem: Problem) -> dict[str, Any]:
    """The document that `read_problem` reads back as an equal problem."""
    return {
        "format": FORMAT,
        "operators": [
            {
                "name": operator.name,
                "mobile": _plain(operator.mobile),
                "cloud": _plain(operator.cloud),
            }
            for operator in problem.operators
        ],
        "tensors": [
            {
                **vars(tensor),
                "consumers": list(tensor.consumers),
                "codecs": [_plain_codec(codec) for codec in tensor.codecs],
            }
            for tensor in problem.tensors
        ],
        "link": vars(problem.link).copy(),
        "objective": problem.objective,
        "outputs_on": problem.outputs_on,
        "limits": vars(problem.limits).copy(),
        "blocks": [vars(block).copy() for block in problem.blocks],
    }


def _plain_codec(codec: Codec) -> dict[str, Any]:
    seconds = {name: vars(getattr(codec, name)).copy() for name in ("encode_s", "decode_s")}
    return {**vars(codec), **seconds}


def _plain(cost: SideCost | None) -> dict[str, float] | None:
    return None if cost is None else vars(cost).copy()


def _operator(entry: object) -> Operator:
    name = _entry_name("operators", entry)
    fields = _object(f"operator {name!r}", entry, ("name",), ("mobile", "cloud"))
    return Operator(
        name=name,
        mobile=_side_cost(f"operator {name!r}: mobile", fields.get("mobile")),
        cloud=_side_cost(f"operator {name!r}: cloud", fields.get("cloud")),
    )


def _side_cost(where: str, entry: object) -> SideCost | None:
    if entry is None:
        return None
    fields = _object(where, entry, ("latency_s",), _COST_OPTIONS)
    return SideCost(**{key: check_number(f"{where}.{key}", fields[key]) for key in fields})


def _tensor(entry: object) -> Tensor:
    name = _entry_name("tensors", entry)
    where = f"tensor {name!r}"
    fields = _object(
        where,
        entry,
        ("name", "producer", "consumers", "size_bytes"),
        ("output", "codecs", "carried"),
    )
    producer = fields["producer"]
    return Tensor(
        name=name,
        producer=None if producer is None else _text(f"{where}: producer", producer),
        consumers=tuple(
            _text(f"{where}: a consumer", consumer)
            for consumer in _list(f"{where}: consumers", fields["consumers"])
        ),
        size_bytes=check_number(f"{where}: size_bytes", fields["size_bytes"]),
        output=_flag(f"{where}: output", fields.get("output", False)),
        codecs=tuple(
            _codec(where, codec)
            for codec in _optional_list(f"{where}: codecs", fields.get("codecs"))
        ),
        carried=_flag(f"{where}: carried", fields.get("carried", False)),
    )


def _link(entry: object) -> Link:
    fields = _object("link", entry, _LINK_KEYS, _LINK_OPTIONS)
    return Link(**{key: check_number(f"link: {key}", fields[key]) for key in fields})


def _limits(entry: object) -> Limits:
    if entry is None:
        return Limits()
    given = {k: v for k, v in _object("limits", entry, (), _LIMITS).items() if v is not None}
    return Limits(**{key: check_number(f"limits: {key}", value) for key, value in given.items()})


def _codec(where: str, entry: object) -> Codec:
    name = _entry_name(f"{where}: codecs", entry)
    where = f"{where}: codec {name!r}"
    fields = _object(where, entry, ("name", "size_bytes"), _CODEC_OPTIONS)
    return Codec(
        name=name,
        size_bytes=check_number(f"{where}: size_bytes", fields["size_bytes"]),
        encode_s=_side_seconds(f"{where}: encode_s", fields.get("encode_s")),
        decode_s=_side_seconds(f"{where}: decode_s", fields.get("decode_s")),
        **{key: check_number(f"{where}: {key}", fields.get(key, 0.0)) for key in _CODEC_NUMBERS},
    )


def _side_seconds(where: str, entry: object) -> SideSeconds:
    if entry is None:
        return SideSeconds()
    fields = _object(where, entry, (), SIDES)
    return SideSeconds(**{key: check_number(f"{where}.{key}", fields[key]) for key in fields})


def _block(entry: object) -> Block:
    fields = _object("a block", entry, _BLOCK_KEYS, ())
    first, last = (_text(f"a block: {key}", fields[key]) for key in ("first", "last"))
    where = f"block {first!r} to {last!r}"
    return Block(
        side=_side(f"{where}: side", fields["side"]),
        first=first,
        last=last,
        latency_s=check_number(f"{where}: latency_s", fields["latency_s"]),
    )


def _side(where: str, value: object) -> Side:
    for side in SIDES:
        if value == side:
            return side
    raise ProblemError(f"{where} is {repr(value)[:40]}: use {' or '.join(SIDES)}")


def _entry_name(where: str, entry: object) -> str:
    if not isinstance(entry, dict):
        raise ProblemError(f"{where}: each entry must be a JSON object, not {_json_type(entry)}")
    if "name" not in entry:
        raise ProblemError(f"{where}: an entry has no name: give each a unique one")
    return _text(f"{where}: a name", entry["name"])


def _object(
    where: str, entry: object, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ProblemError(f"{where} must be a JSON object, not {_json_type(entry)}")
    _check_keys(where, entry, required, optional)
    return entry


def _check_keys(
    where: str, entry: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    for key in required:
        if key not in entry:
            raise ProblemError(f"{where} has no {key}: add it")
    for key in entry:
        if key not in required and key not in optional:
            known = ", ".join(required + optional)
            raise ProblemError(f"{where} has an unknown key {str(key)[:40]!r}: known are {known}")


def _list(where: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ProblemError(f"{where} must be a list, not {_json_type(value)}")
    return value


def _optional_list(where: str, value: object) -> list[Any]:
    return [] if value is None else _list(where, value)


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ProblemError(f"{where} must be true or false, not {_json_type(value)}")
    return value


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ProblemError(f"{where} must be a text, not {_json_type(value)}")
    return value


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", dict: "an object", list: "a list", str: "a text"}
    return names.get(type(value), "a number")
