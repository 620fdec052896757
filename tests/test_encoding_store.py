"""A network runs once for the sizes of its tensors' frames, and again when anything differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm import encoding_store
from jointdnn_tvm.cost.codec_times import Effort
from jointdnn_tvm.cost.table import Encoding, Encodings
from jointdnn_tvm.encoding_store import kept_encodings
from jointdnn_tvm.host_network import Sample
from jointdnn_tvm.network import Network
from jointdnn_tvm.samples import random_sample

Find = Callable[[], Encodings]


@pytest.fixture
def sample(branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """An input; nothing is kept yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return random_sample(branching).inputs[0]


def finder(name: str, calls: list[str]) -> Find:
    def find() -> Encodings:
        calls.append(name)
        return {
            name: {"f32": Encoding(12.5, effort=Effort(2.5, 0.75)), "bytes": Encoding(7)},
            "plain": {},
        }

    return find


def test_found_once(branching: Network, sample: Sample) -> None:
    calls: list[str] = []
    first = kept_encodings(branching, [sample], finder("one", calls))
    again = kept_encodings(branching, [sample], finder("other", calls))
    assert calls == ["one"]
    assert first == again == finder("one", [])()


def test_found_again_when_anything_differs(
    branching: Network, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    kept_encodings(branching, [sample], finder("first", calls))
    name, weight = next(iter(branching.weights.items()))
    other = replace(branching, weights={**branching.weights, name: np.nextafter(weight, np.inf)})
    kept_encodings(other, [sample], finder("weights", calls))
    image = branching.graph.inputs[0]
    moved = {**sample, image: sample[image] + np.float32(1)}
    kept_encodings(branching, [moved], finder("inputs", calls))
    kept_encodings(branching, [sample, moved], finder("more inputs", calls))
    monkeypatch.setattr(encoding_store, "_codecs_digest", lambda: "other codecs")
    kept_encodings(branching, [sample], finder("codecs", calls))
    assert calls == ["first", "weights", "inputs", "more inputs", "codecs"]


def test_a_damaged_file_is_found_again(branching: Network, sample: Sample, tmp_path: Path) -> None:
    calls: list[str] = []
    kept_encodings(branching, [sample], finder("one", calls))
    (path,) = (tmp_path / "cache" / "jointdnn" / "kernels").rglob("encodings_*")
    path.write_bytes(path.read_bytes()[:-1])
    assert kept_encodings(branching, [sample], finder("two", calls)) == finder("two", [])()
    assert calls == ["one", "two"]


def test_a_failure_is_not_kept(branching: Network, sample: Sample) -> None:
    def fail() -> Encodings:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept_encodings(branching, [sample], fail)
    calls: list[str] = []
    kept_encodings(branching, [sample], finder("one", calls))
    assert calls == ["one"]
