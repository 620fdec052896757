"""Reading problems: what is accepted, and one clear line for what is not."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest

from jointdnn_tvm.errors import ProblemError
from jointdnn_tvm.placement import Link, Operator, Problem, SideCost, Tensor
from tests.random_problems import random_problem, with_blocks, with_limits

DOCUMENT: dict[str, Any] = {
    "format": "jointdnn-problem/1",
    "operators": [
        {
            "name": "conv1",
            "mobile": {"latency_s": 0.01, "energy_j": 0.02, "memory_bytes": 4096},
            "cloud": {"latency_s": 0.001},
        },
        {"name": "dense", "mobile": None, "cloud": {"latency_s": 0.002}},
    ],
    "tensors": [
        {"name": "x", "producer": None, "consumers": ["conv1"], "size_bytes": 602112},
        {"name": "t", "producer": "conv1", "consumers": ["dense"], "size_bytes": 9, "codecs": []},
        {"name": "y", "producer": "dense", "consumers": [], "size_bytes": 4, "output": True},
    ],
    "link": {"uplink_bps": 5.85e6, "downlink_bps": 13.76e6, "rtt_s": 0.05, "idle_w": 0.0},
    "objective": "latency",
    "outputs_on": "mobile",
    "limits": {"max_latency_s": None, "max_error": None},
    "blocks": [],
}


def test_a_problem_is_read() -> None:
    problem = Problem.from_json(DOCUMENT)
    assert problem.operators[0] == Operator("conv1", SideCost(0.01, 0.02, 4096), SideCost(0.001))
    assert problem.tensors[1] == Tensor("t", "conv1", ("dense",), 9)
    assert problem.tensors[2].output
    assert problem.link == Link(5.85e6, 13.76e6, 0.05)


def test_what_is_written_is_read_back() -> None:
    problem = Problem.from_json(DOCUMENT)
    assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem


def test_everything_that_can_be_written_is_read_back() -> None:
    for seed in range(50):
        problem = random_problem(seed, codecs=True, chain=True, spreads=True, carried=True)
        problem = with_blocks(with_limits(problem, seed), seed)
        assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem


def test_blocks_need_a_chain() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["tensors"][0]["consumers"] = ["conv1", "dense"]
    Problem.from_json(document)
    with pytest.raises(ProblemError, match="blocks need operators in a chain"):
        Problem.from_json({**document, "blocks": [_block()]})


def test_what_is_carried_may_be_read_before_it_is_made_anew() -> None:
    document = copy.deepcopy(DOCUMENT)
    weight = {"name": "w", "producer": "dense", "consumers": ["conv1", "dense"], "size_bytes": 8}
    document["tensors"].append({**weight, "carried": True})
    assert Problem.from_json(document).tensors[-1].carried
    document["tensors"][-1]["carried"] = False
    with pytest.raises(ProblemError, match="tensor 'w': consumer 'conv1' is not later"):
        Problem.from_json(document)


def test_optional_keys_may_be_absent_or_null() -> None:
    document = copy.deepcopy(DOCUMENT)
    for key in ("objective", "outputs_on", "limits", "blocks"):
        del document[key]
    assert Problem.from_json(document) == Problem.from_json(DOCUMENT)
    assert Problem.from_json({**document, "limits": None, "blocks": None})


def _block(**changed: Any) -> dict[str, Any]:
    return {"side": "cloud", "first": "conv1", "last": "dense", "latency_s": 1.0, **changed}


WRONG: list[tuple[str, Any, str]] = [
    ("format", "jointdnn-problem/2", "format is 'jointdnn-problem/2': this version reads"),
    ("operators", [], "operators is empty"),
    ("operators", {}, "operators must be a list, not an object"),
    ("operators.0", "conv1", "operators: each entry must be a JSON object, not a text"),
    ("operators.0.name", 3, "operators: a name must be a text, not a number"),
    ("operators.0.name", "dense", "operator name 'dense' is used twice"),
    ("operators.1.cloud", None, "operator 'dense' can run nowhere"),
    ("operators.0.mobile", 0.1, "operator 'conv1': mobile must be a JSON object, not a number"),
    ("operators.0.mobile", {}, "operator 'conv1': mobile has no latency_s"),
    ("operators.0.mobile.latency_s", -1, "operator 'conv1': mobile.latency_s is -1: use a finite"),
    ("operators.0.mobile.latency_s", math.nan, "operator 'conv1': mobile.latency_s is NaN"),
    ("operators.0.cloud.latency_s", math.inf, "operator 'conv1': cloud.latency_s is infinite"),
    ("operators.0.cloud.latency_s", -math.inf, "cloud.latency_s is minus infinite"),
    ("operators.0.cloud.latency_s", 10**400, "cloud.latency_s is a number above 1e100"),
    ("operators.0.cloud.latency_s", True, "cloud.latency_s must be a number, not True"),
    ("operators.0.mobile.energy_j", "2", "mobile.energy_j must be a number, not '2'"),
    ("operators.0.mobile.memory_bytes", None, "mobile.memory_bytes must be a number, not None"),
    ("operators.0.mobile.energy", 1, "operator 'conv1': mobile has an unknown key 'energy'"),
    ("tensors", None, "tensors must be a list, not null"),
    ("tensors.1.name", "x", "tensor name 'x' is used twice"),
    ("tensors.1.producer", "conv9", "tensor 't' names operator 'conv9', which is not in operators"),
    ("tensors.1.consumers", ["conv9"], "tensor 't' names operator 'conv9'"),
    ("tensors.1.consumers", "dense", "tensor 't': consumers must be a list, not a text"),
    ("tensors.1.consumers", [None], "tensor 't': a consumer must be a text, not null"),
    ("tensors.2.consumers", ["conv1"], "tensor 'y': consumer 'conv1' is not later than producer"),
    ("tensors.2.consumers", ["dense"], "tensor 'y': consumer 'dense' is not later than producer"),
    ("tensors.0.consumers", [], "tensor 'x' has no producer and no consumers"),
    ("tensors.0.size_bytes", -1, "tensor 'x': size_bytes is -1"),
    ("tensors.0.output", 1, "tensor 'x': output must be true or false, not a number"),
    ("tensors.0.outputs", True, "tensor 'x' has an unknown key 'outputs'"),
    ("tensors.0.carried", True, "tensor 'x' is carried: name the operator that makes"),
    ("tensors.2.carried", True, "tensor 'y' is carried: name the operator that makes"),
    ("tensors.1.carried", "yes", "tensor 't': carried must be true or false, not a text"),
    ("link", None, "link must be a JSON object, not null"),
    ("link.uplink_bps", 0, "link: uplink_bps is 0: a rate must be above 0"),
    ("link.downlink_bps", -5, "link: downlink_bps is -5"),
    ("link.rtt_s", math.nan, "link: rtt_s is NaN"),
    ("link.rtt", 1, "link has an unknown key 'rtt': known are uplink_bps"),
    ("objective", "speed", "objective is 'speed': use latency or energy or"),
    ("objective", ["latency"], "objective must be a text, not a list"),
    ("outputs_on", "cloud", "outputs_on is 'cloud': use mobile or any"),
    ("limits", {"max_watts": 1}, "limits has an unknown key 'max_watts'"),
    ("limits", [], "limits must be a JSON object, not a list"),
    ("blocks", {}, "blocks must be a list, not an object"),
    ("objectve", "energy", "problem has an unknown key 'objectve'"),
    ("limits", {"max_energy_j": -0.5}, "limits: max_energy_j is -0.5"),
    ("limits", {"max_latency_s": math.nan}, "limits: max_latency_s is NaN"),
    ("limits", {"latency_sigmas": "2"}, "limits: latency_sigmas must be a number, not '2'"),
    ("operators.0.mobile.spread_s", -1, "operator 'conv1': mobile.spread_s is -1"),
    ("tensors.0.codecs", {}, "tensor 'x': codecs must be a list, not an object"),
    ("tensors.0.codecs", [{"size_bytes": 1}], "tensor 'x': codecs: an entry has no name"),
    ("tensors.0.codecs", [{"name": "u8"}], "tensor 'x': codec 'u8' has no size_bytes"),
    ("tensors.0.codecs", [{"name": "none", "size_bytes": 1}], "'none' is used twice"),
    ("tensors.0.codecs", [{"name": "u8", "size_bytes": 1}] * 2, "codec name 'u8' is used twice"),
    ("tensors.0.codecs", [{"name": "a", "size_bytes": 1, "ratio": 2}], "an unknown key 'ratio'"),
    (
        "tensors.0.codecs",
        [{"name": "u8", "size_bytes": 1, "encode_s": {"mobile": -1}}],
        "tensor 'x': codec 'u8': encode_s.mobile is -1",
    ),
    ("blocks", [{"side": "cloud"}], "a block has no first: add it"),
    ("blocks", [_block(side="gpu")], "block 'conv1' to 'dense': side is 'gpu': use mobile or"),
    ("blocks", [_block(last="conv9")], "names operator 'conv9', which is not in operators"),
    ("blocks", [_block(first="dense", last="conv1")], "ends before it starts"),
    ("blocks", [_block(latency_s=-1)], "block 'conv1' to 'dense': latency_s is -1"),
    ("blocks", [_block()] * 2, "is given twice for the cloud side"),
    ("blocks", [_block(side="mobile")], "has an operator that cannot run on the mobile side"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_a_wrong_problem_is_one_clear_line(path: str, value: Any, message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = document
    for part in parents:
        place = place[part]
    place[last] = value
    with pytest.raises(ProblemError) as caught:
        Problem.from_json(document)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["format", "operators", "tensors", "link"])
def test_a_missing_key_is_named(key: str) -> None:
    document = {name: value for name, value in DOCUMENT.items() if name != key}
    with pytest.raises(ProblemError, match=f"{key}.*(missing|add it)|problem has no {key}"):
        Problem.from_json(document)


@pytest.mark.parametrize("document", [None, [], "problem", 3])
def test_a_problem_is_an_object(document: object) -> None:
    with pytest.raises(ProblemError, match="a problem must be a JSON object"):
        Problem.from_json(document)


def test_a_problem_built_in_python_is_checked_too() -> None:
    operator = Operator("a", SideCost(math.inf), None)
    with pytest.raises(ProblemError, match=r"operator 'a': mobile.latency_s is infinite"):
        Problem((operator,), (), Link(1, 1))
