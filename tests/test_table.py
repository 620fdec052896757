"""The placement problem made of a graph and measured costs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from jointdnn_tvm.boundary import InModule
from jointdnn_tvm.codec.quantise import Grid
from jointdnn_tvm.cost.codec_times import Effort, codec_workloads, probe_bytes, workload
from jointdnn_tvm.cost.database import Energy, Measurement
from jointdnn_tvm.cost.table import CostTable, Encoding, make_problem
from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.errors import CostError
from jointdnn_tvm.graph import split_into_stages, stage_key, whole_network
from jointdnn_tvm.network import Network
from jointdnn_tvm.placement import Codec, SideCost, SideSeconds, evaluate, solve
from jointdnn_tvm.targets import load_link, load_target
from tests.tiny_models import interleaved

LINK = load_link("huang2012-4g")
PHONE = replace(load_target("raspberry-pi-4"), busy_w=6.0, idle_w=2.5)


def timed(latency_s: float, source: str = "measured:a clock") -> Measurement:
    return Measurement(latency_s, 0.0, 5, None, source)


def table(network: Network, **failures: str) -> CostTable:
    """The i-th distinct group takes i+1 ms on the mobile, a tenth of that on the cloud."""
    keys = list(dict.fromkeys(g.key for g in network.graph.groups))
    sides = {
        "on_mobile": {k: timed((i + 1) * 1e-3) for i, k in enumerate(keys)},
        "on_cloud": {k: timed((i + 1) * 1e-4, "measured:fast") for i, k in enumerate(keys)},
    }
    for side, group in failures.items():
        key = next(g.key for g in network.graph.groups if g.name == group)
        sides[side][key] = Measurement.failure("no memory", "measured:a clock")
    return CostTable(
        PHONE, load_target("cuda-sm90"), sides["on_mobile"], sides["on_cloud"], measured=3
    )


def test_operators_cost_what_was_measured(branching: Network) -> None:
    costs = table(branching)
    problem = make_problem(branching.graph, costs, LINK)
    assert [o.name for o in problem.operators] == [g.name for g in branching.graph.groups]
    for group, operator in zip(branching.graph.groups, problem.operators, strict=True):
        mobile_s = costs.on_mobile[group.key].latency_s
        cloud_s = costs.on_cloud[group.key].latency_s
        assert mobile_s is not None
        assert cloud_s is not None
        assert operator.mobile == SideCost(mobile_s, 6.0 * mobile_s, group.weight_bytes)
        assert operator.cloud == SideCost(cloud_s)


def test_groups_are_corrected_by_the_whole_network(branching: Network) -> None:
    graph = branching.graph
    plain = table(branching)
    assert plain.correction(graph, "mobile") == 1
    assert plain.stated_corrections(graph) == {}
    sum_s = sum(plain.on_mobile[g.key].latency_s or 0.0 for g in graph.groups)
    whole = stage_key(graph, whole_network(graph))
    costs = replace(plain, on_mobile={**plain.on_mobile, whole: timed(0.8 * sum_s)})
    assert costs.stated_corrections(graph) == {
        "correction": "whole network over the sum of its groups: mobile 0.800, cloud 1.000"
    }
    before, after = (make_problem(graph, table, LINK) for table in (plain, costs))
    for one, other in zip(before.operators, after.operators, strict=True):
        assert one.mobile is not None
        assert other.mobile is not None
        assert other.mobile.latency_s == pytest.approx(0.8 * one.mobile.latency_s)
        assert other.mobile.energy_j == pytest.approx(0.8 * one.mobile.energy_j)
        assert other.cloud == one.cloud
    everything = evaluate(after, dict.fromkeys(after.positions, "mobile"))
    assert everything.latency_s == pytest.approx(0.8 * sum_s)
    failed = replace(plain, on_mobile={**costs.on_mobile, whole: Measurement.failure("no", "x")})
    assert failed.correction(graph, "mobile") == 1
    lacking = {**costs.on_mobile, graph.groups[0].key: Measurement.failure("no", "x")}
    assert replace(plain, on_mobile=lacking).correction(graph, "mobile") == 1


def test_stages_that_were_measured_price_their_groups(branching: Network) -> None:
    graph, placement, plain = branching.graph, interleaved(branching), table(branching)
    assert set(plain.stage_factors(graph, placement).values()) == {1.0}
    stages = split_into_stages(graph, placement)
    long = next(s for s in stages if len(s.groups) > 1)
    alone = next(s for s in stages if len(s.groups) == 1)
    assert stage_key(graph, long) in plain.missing_stages(graph, placement, long.side)
    assert stage_key(graph, alone) not in plain.missing_stages(graph, placement, alone.side)

    whole = {stage_key(graph, whole_network(graph)): timed(1.0)}
    known = {stage_key(graph, long): timed(0.7), **whole}
    costs = replace(
        plain,
        on_mobile={**plain.on_mobile, **(known if long.side == "mobile" else whole)},
        on_cloud={**plain.on_cloud, **(known if long.side == "cloud" else whole)},
    )
    assert stage_key(graph, long) not in costs.missing_stages(graph, placement, long.side)
    assert plain.stated_stages(graph, dict.fromkeys(placement, "mobile")) == {}
    counts = [int(c.stated_stages(graph, placement)["stages"].split()[0]) for c in (plain, costs)]
    assert counts[1] - counts[0] == 1
    factors = costs.stage_factors(graph, placement)

    def taken_s(name: str) -> float:
        operator = next(o for o in problem.operators if o.name == name)
        cost = operator.cost(placement[name])
        assert cost is not None
        return factors[name] * cost.latency_s

    problem = make_problem(graph, costs, LINK)
    assert sum(map(taken_s, long.groups)) == pytest.approx(0.7)
    (name,) = alone.groups
    key = next(g.key for g in graph.groups if g.name == name)
    own = plain.on_mobile if alone.side == "mobile" else plain.on_cloud
    assert taken_s(name) == pytest.approx(own[key].latency_s)


def test_codecs_cost_what_was_measured_on_each_side(branching: Network) -> None:
    (image, _) = branching.graph.inputs
    encodings = {image: {"f32": Encoding(500), "u8": Encoding(200, 0.1)}}
    costs = table(branching)
    assert costs.lacks_codecs == "mobile"
    untimed = make_problem(branching.graph, costs, LINK, encodings=encodings)
    assert not any(t.codecs for t in untimed.tensors)
    slow, quick = ({w: timed(f * 1e-3) for w in codec_workloads()} for f in (2, 1))
    costs = replace(costs, codecs_on_mobile=slow, codecs_on_cloud=quick)
    assert costs.lacks_codecs is None
    problem = make_problem(branching.graph, costs, LINK, encodings=encodings)
    both, joules = SideSeconds(2e-3, 1e-3), (6.0 * 2e-3, 6.0 * 2e-3)
    offered = {t.name: t.codecs for t in problem.tensors}
    assert offered.pop(image) == (
        Codec("f32", 500, both, both, 0.0, *joules),
        Codec("u8", 200, both, both, 0.1, *joules),
    )
    assert not any(offered.values())
    only_f32 = {w: m for w, m in quick.items() if "f32" in w}
    costs = replace(costs, codecs_on_cloud=only_f32)
    problem = make_problem(branching.graph, costs, LINK, encodings=encodings)
    assert [c.name for t in problem.tensors for c in t.codecs] == ["f32"]


def test_codecs_cost_the_more_the_greater_the_effort(branching: Network) -> None:
    (image, _) = branching.graph.inputs
    size_bytes = branching.graph.tensor(image).size_bytes
    times = {
        workload("f32", direction, count): timed(1e-3 + 1e-9 * probe_size)
        for direction in ("encode", "decode")
        for count, probe_size in probe_bytes("f32").items()
    }
    costs = replace(table(branching), codecs_on_mobile=times, codecs_on_cloud=times)
    encodings = {image: {"f32": Encoding(500, effort=Effort(3.0, 0.5))}}
    problem = make_problem(branching.graph, costs, LINK, encodings=encodings)
    (codec,) = (c for t in problem.tensors for c in t.codecs)
    assert codec.encode_s.mobile == pytest.approx(1e-3 + 3e-9 * size_bytes)
    assert codec.decode_s.cloud == pytest.approx(1e-3 + 0.5e-9 * size_bytes)


def test_what_modules_quantise_takes_a_pass_beside_the_host(branching: Network) -> None:
    tensor = next(t.name for t in branching.graph.tensors if t.consumers and t.producer)
    size_bytes = branching.graph.tensor(tensor).size_bytes
    grid = Grid(None, np.zeros(1, np.float32), np.ones(1, np.float32))
    encoding = Encoding(200, 0.1, InModule(grid, 256, "planes"))
    times = {w: timed(1e-3) for w in codec_workloads()}
    costs = replace(table(branching), codecs_on_mobile=times, codecs_on_cloud=times)
    costs = replace(costs, slowdowns={"mobile": 3.0})
    problem = make_problem(branching.graph, costs, LINK, encodings={tensor: {"u8": encoding}})
    (codec,) = (c for t in problem.tensors for c in t.codecs)
    passing_s = 1.25 * size_bytes / PHONE.bandwidth_bytes_per_s
    assert codec.encode_s.mobile == pytest.approx(1e-3 + 3 * passing_s)
    assert codec.decode_s.cloud == pytest.approx(1e-3 + 1.25 * size_bytes / 3.35e12)
    assert codec.encode_j == pytest.approx(6.0 * codec.encode_s.mobile)


def test_feedback_decodes_what_is_sent(branching: Network) -> None:
    tensor, size_bytes = next(
        (t.name, t.size_bytes) for t in branching.graph.tensors if t.producer and t.consumers
    )
    times = {w: timed(1e-3) for w in codec_workloads()}
    costs = replace(table(branching), codecs_on_mobile=times, codecs_on_cloud=times)
    codecs = []
    for feedback in (False, True):
        offered = {tensor: {"u8": Encoding(200, 0.1, feedback=feedback)}}
        problem = make_problem(branching.graph, costs, LINK, encodings=offered)
        codecs += [c for t in problem.tensors for c in t.codecs]
    plain, fed_back = codecs
    passing_s = 6 * size_bytes / PHONE.bandwidth_bytes_per_s
    assert fed_back.encode_s.mobile == pytest.approx(
        plain.encode_s.mobile + plain.decode_s.mobile + passing_s
    )
    assert fed_back.decode_s == plain.decode_s


def test_tensors_and_link(branching: Network) -> None:
    problem = make_problem(branching.graph, table(branching), LINK, "energy")
    assert problem.objective == "energy"
    graph = {t.name: t for t in branching.graph.tensors}
    assert [t.name for t in problem.tensors] == list(graph)
    for tensor in problem.tensors:
        expected = graph[tensor.name]
        assert (tensor.producer, tensor.consumers) == (expected.producer, expected.consumers)
        assert (tensor.size_bytes, tensor.output) == (expected.size_bytes, expected.output)
    assert problem.link.uplink_bps == LINK.uplink_bps
    assert problem.link.downlink_bps == LINK.downlink_bps
    assert problem.link.rtt_s == LINK.rtt_s
    assert (problem.link.transmit_w, problem.link.receive_w) == (LINK.transmit_w, LINK.receive_w)
    assert problem.link.idle_w == 2.5


def test_inputs_that_nothing_reads_are_left_out(branching: Network) -> None:
    graph = branching.graph
    unread = replace(graph.tensors[0], name="unread", consumers=())
    graph = replace(graph, tensors=(*graph.tensors, unread), inputs=(*graph.inputs, "unread"))
    problem = make_problem(graph, table(branching), LINK)
    assert "unread" not in {t.name for t in problem.tensors}


def test_energy_of_a_placement(branching: Network) -> None:
    costs = table(branching)
    problem = make_problem(branching.graph, costs, LINK, "energy")
    on_mobile = evaluate(problem, dict.fromkeys(problem.positions, "mobile"))
    assert on_mobile.energy_j == pytest.approx(6.0 * on_mobile.latency_s)
    on_cloud = evaluate(problem, dict.fromkeys(problem.positions, "cloud"))
    graph = branching.graph
    up_s = 8 * sum(graph.tensor(t).size_bytes for t in graph.inputs) / LINK.uplink_bps
    down_s = 8 * sum(graph.tensor(t).size_bytes for t in graph.outputs) / LINK.downlink_bps
    waiting_s = on_cloud.cloud_s + on_cloud.switches * LINK.rtt_s / 2
    expected = LINK.transmit_w * up_s + LINK.receive_w * down_s + 2.5 * waiting_s
    assert on_cloud.energy_j == pytest.approx(expected)


def test_a_radio_with_a_tail(branching: Network) -> None:
    radio = replace(LINK, power=replace(LINK.power, tail_w=1.0, tail_s=10.0))
    energies = []
    for link in (LINK, radio):
        problem = make_problem(branching.graph, table(branching), link, "energy")
        on_cloud = evaluate(problem, dict.fromkeys(problem.positions, "cloud"))
        assert on_cloud.switches == 2
        energies.append(on_cloud.energy_j)
        on_mobile = evaluate(problem, dict.fromkeys(problem.positions, "mobile"))
        assert on_mobile.energy_j == pytest.approx(6.0 * on_mobile.latency_s)
    waiting_s = on_cloud.cloud_s + LINK.rtt_s
    assert energies[1] - energies[0] == pytest.approx(10.0 + waiting_s)


def test_group_that_runs_on_one_side_only_is_placed_there(branching: Network) -> None:
    first, last = (branching.graph.groups[i].name for i in (1, -1))
    costs = table(branching, on_mobile=first, on_cloud=last)
    problem = make_problem(branching.graph, costs, LINK)
    operators = {o.name: o for o in problem.operators}
    assert operators[first].mobile is None
    assert operators[last].cloud is None
    placement = solve(problem).placement
    assert (placement[first], placement[last]) == ("cloud", "mobile")


def test_group_that_runs_nowhere_is_an_error(branching: Network) -> None:
    group = branching.graph.groups[1]
    costs = table(branching, on_mobile=group.name, on_cloud=group.name)
    with pytest.raises(
        CostError, match=f"group '{group.name}' .* runs on neither side: mobile: no"
    ):
        make_problem(branching.graph, costs, LINK)


def test_sources(branching: Network) -> None:
    group = branching.graph.groups[1].name
    sources = table(branching, on_cloud=group).sources()
    assert sources["mobile latency"] == "measured:a clock"
    assert sources["cloud latency"] == "measured:fast"
    assert sources["mobile energy"] == PHONE.power_source
    assert sources["mobile energy"].startswith("model:")


def with_energies(costs: CostTable, *energies: Energy | None) -> CostTable:
    """The table with these energies on the mobile, in turn."""
    turns = itertools.cycle(energies)
    on_mobile = {k: replace(m, energy=next(turns)) for k, m in costs.on_mobile.items()}
    return replace(costs, on_mobile=on_mobile)


def of_sensor(net_j: float, idle_w: float) -> Energy:
    return Energy(net_j, idle_w, 1.1, 110, None, "measured:ina3221 VDD_IN")


def test_measured_energy_stands_in_for_the_model(branching: Network) -> None:
    costs = with_energies(table(branching), of_sensor(0.02, 1.5))
    problem = make_problem(branching.graph, costs, LINK, "energy")
    for operator in problem.operators:
        assert operator.mobile is not None
        assert operator.mobile.energy_j == pytest.approx(0.02 + 1.5 * operator.mobile.latency_s)
    assert problem.link.idle_w == 1.5
    assert costs.sources()["mobile energy"] == "measured:ina3221 VDD_IN"


def test_energy_that_was_not_measured_is_modelled_and_says_why(branching: Network) -> None:
    gone = Energy.failure("curr1_input is gone", "measured:ina3221 VDD_IN")
    costs = with_energies(table(branching), of_sensor(0.02, 1.4), gone, of_sensor(0.02, 1.6))
    problem = make_problem(branching.graph, costs, LINK, "energy")
    modelled = [
        operator.mobile.energy_j == pytest.approx(6.0 * operator.mobile.latency_s)
        for operator in problem.operators
        if operator.mobile is not None
    ]
    assert any(modelled)
    assert not all(modelled)
    assert 1.4 <= problem.link.idle_w <= 1.6
    assert costs.sources()["mobile energy"] == (
        f"measured:ina3221 VDD_IN, {PHONE.power_source} because curr1_input is gone"
    )


def test_the_link_is_as_crossings_find_it(branching: Network) -> None:
    costs = replace(table(branching), transfer=Transfer(0.002, 5e-7, 2e-7, 1e9, 1e9))
    plain = make_problem(branching.graph, table(branching), LINK, "energy").link
    found = make_problem(branching.graph, costs, LINK, "energy").link
    assert found.rtt_s == pytest.approx(plain.rtt_s + 0.002)
    assert found.upload_s(1e6) == pytest.approx(plain.upload_s(1e6) + 0.5)
    assert found.download_s(1e6) == pytest.approx(plain.download_s(1e6) + 0.2)
    radio_j = LINK.transmit_w * plain.upload_s(1e6)
    assert found.transmit_w * found.upload_s(1e6) == pytest.approx(radio_j + PHONE.busy_w * 0.5)
    assert found.idle_w == plain.idle_w
    assert costs.sources()["crossings"] == "measured:messages"
    assert "crossings" not in table(branching).sources()


def test_doubts_stand_beside_the_sources(branching: Network) -> None:
    costs = table(branching)
    assert "doubts" not in costs.sources()
    doubted = replace(costs, doubts=("it is hot", "it is busy"))
    assert doubted.sources()["doubts"] == "it is hot; it is busy"
