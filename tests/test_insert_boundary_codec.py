"""Stages that quantise what they hand over, against NumPy on the tensors of the whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm

from jointdnn_tvm.boundary import InModule, quantised_tensors, send_indices
from jointdnn_tvm.building import build
from jointdnn_tvm.codec.quantise import Grid
from jointdnn_tvm.codec.registry import CODECS, UNIFORM
from jointdnn_tvm.encodings import calibrated, indices_of, what_is_left
from jointdnn_tvm.graph import Stage, split_into_stages
from jointdnn_tvm.host_network import HostNetwork, Sample
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.insert_boundary_codec import InsertBoundaryCodec
from jointdnn_tvm.passes.pipeline import partitioning
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.samples import random_sample
from jointdnn_tvm.verify import compare
from tests.tiny_models import Array, interleaved, plan_of


@pytest.fixture(scope="module")
def host(branching: Network) -> HostNetwork:
    return HostNetwork(branching)


@pytest.fixture(scope="module")
def samples(branching: Network) -> list[Sample]:
    return [random_sample(branching, seed).inputs[0] for seed in range(4)]


def in_module_of(
    host: HostNetwork, samples: list[Sample], codecs: Mapping[str, str]
) -> dict[str, InModule]:
    """Calibrated on all samples but the last, which therefore leaves them here and there."""
    runs = [host.tensors(sample) for sample in samples[:-1]]
    found = {}
    for name, codec in codecs.items():
        how = calibrated(codec, host.graph.tensor(name), [run[name] for run in runs])
        assert how is not None
        found[name] = how
    return found


def crossing(network: Network, placement: dict[str, Side]) -> list[str]:
    """The tensors of floats that modules can quantise."""
    return [
        t.name
        for t in network.graph.tensors
        if t.producer
        and not t.output
        and t.dtype == "float32"
        and any(placement[c] != placement[t.producer] for c in t.consumers)
    ]


@pytest.mark.parametrize("codec", sorted(UNIFORM))
def test_bundle_computes_what_the_trial_computed(
    branching: Network, host: HostNetwork, samples: list[Sample], codec: str, tmp_path: Path
) -> None:
    placement = interleaved(branching)
    codecs = dict.fromkeys(crossing(branching, placement), codec)
    assert len(codecs) >= 3
    in_module = in_module_of(host, samples, codecs)
    plan = plan_of(branching, placement, codecs)
    folder = build(branching, replace(plan, in_module=in_module)).save(tmp_path / "model.jd")

    def send(name: str, array: Array) -> Array:
        return what_is_left(codec, array, in_module[name]) if name in in_module else array

    for cloud in ("local", "127.0.0.1:1"):  # the second is not there: the phone does it all
        with open_session(folder, cloud=cloud, timeout_s=2.0) as session:
            sample = samples[-1]
            users = {p.name: sample[p.tensor] for p in session.manifest.inputs}
            answer = session.run(users)
            indices = [t for t in session.manifest.tensors.values() if t.dtype == "uint8"]
            assert {t.codec for t in indices} == {how.codec for how in in_module.values()}
            assert len(indices) == len(codecs)
            assert all(CODECS[t.codec].exact for t in session.manifest.tensors.values())
        expected = host.placed(sample, placement, send)
        plain = host.placed(sample, placement, lambda name, array: array)
        for spec, array, exact in zip(branching.outputs, expected, plain, strict=True):
            if array.dtype == np.float32:
                found = compare({"": answer[spec.name]}, {"": array}).max_rel_error
                lost = compare({"": array}, {"": exact}).max_rel_error
                assert found < max(1e-5, 0.2 * lost)  # a tie may fall to either side


def test_indices_are_numpys(
    branching: Network, host: HostNetwork, samples: list[Sample], tmp_path: Path
) -> None:
    """The first stage alone, whose input is exactly the same."""
    placement = interleaved(branching)
    codecs = dict.fromkeys(crossing(branching, placement), "u8")
    in_module = in_module_of(host, samples, codecs)
    plan = plan_of(branching, placement, codecs)
    folder = build(branching, replace(plan, in_module=in_module)).save(tmp_path / "model.jd")
    tensors = host.tensors(samples[-1])
    with open_session(folder, cloud="local") as session:
        first = session.manifest.stages[0]
        assert session._mobile is not None
        made = session._mobile.run(first.name, {t: tensors[t] for t in first.inputs})
    compared = 0
    for name, how in in_module.items():
        indices = made.get(f"{name}_indices")
        if indices is None:
            continue
        expected = indices_of(tensors[name], how)
        apart = np.abs(indices.astype(int) - expected)
        assert apart.max() <= 1
        assert np.count_nonzero(apart) <= 0.01 * apart.size
        compared += 1
    assert compared


def test_stages_that_hand_nothing_over_stay(branching: Network) -> None:
    placement = interleaved(branching)
    stages = split_into_stages(branching.graph, placement)
    name = crossing(branching, placement)[0]
    grid = Grid(None, np.zeros(1, np.float32), np.ones(1, np.float32))
    quantised = quantised_tensors(branching.graph, {name: InModule(grid, 256, "planes")})
    after = send_indices(stages, branching.graph, quantised)
    before = partitioning(placement)(branching.grouped)
    insert = InsertBoundaryCodec(stages, after, quantised)
    found = partitioning(placement, insert)(branching.grouped)
    changed = [(old, new) for old, new in zip(stages, after, strict=True) if old != new]
    assert 1 < len(changed) < len(stages)
    for stage in stages:
        if stage not in [old for old, _ in changed]:
            tvm.ir.assert_structural_equal(found[stage.name], before[stage.name])
    for old, new in changed:
        check_signature(found, before, old, new)


def check_signature(found: tvm.IRModule, before: tvm.IRModule, old: Stage, new: Stage) -> None:
    """Bytes in the place of floats, everything else as it was."""
    function = found[new.name]
    assert [p.name for p in function.params] == [*new.inputs, *new.weights]
    assert int(function.attrs["num_input"]) == len(new.inputs)
    were = {p.name: p.ty for p in before[old.name].params}
    for name, param in zip(old.inputs, function.params, strict=False):
        if param.name == name:
            tvm.ir.assert_structural_equal(param.ty, were[name])
        else:
            assert str(param.ty.dtype) == "uint8"
            tvm.ir.assert_structural_equal(param.ty.shape, were[name].shape)
