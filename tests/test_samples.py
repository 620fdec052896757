"""Calibration inputs from files, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.network import Network
from jointdnn_tvm.samples import random_sample, read_samples
from tests.tiny_models import Array


def arrays(count: int | None = None, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    axis = () if count is None else (count,)
    return {
        "image": rng.standard_normal((*axis, 1, 3, 8, 8), "float32"),
        "bias": rng.standard_normal((*axis, 1, 10), "float32"),
    }


def test_file_with_several(branching: Network, tmp_path: Path) -> None:
    given = arrays(5)
    np.savez(tmp_path / "in.npz", allow_pickle=False, **given)
    found = read_samples(tmp_path / "in.npz", branching)
    assert (found.real, found.source, len(found.inputs)) == (True, "5 samples of in.npz", 5)
    for index, sample in enumerate(found.inputs):
        for tensor, name in zip(branching.graph.inputs, given, strict=True):
            np.testing.assert_array_equal(sample[tensor], given[name][index])


def test_folder_of_files(branching: Network, tmp_path: Path) -> None:
    for seed in range(3):
        np.savez(tmp_path / f"{seed}.npz", allow_pickle=False, **arrays(None, seed))
    np.savez(tmp_path / "9.npz", allow_pickle=False, **arrays(2, 9))
    (tmp_path / "notes.txt").write_text("not a sample")
    assert len(read_samples(tmp_path, branching).inputs) == 5


def test_noise(branching: Network) -> None:
    found = random_sample(branching)
    (sample,) = found.inputs
    assert not found.real
    assert {n: a.shape for n, a in sample.items()} == {
        t: branching.graph.tensor(t).shape for t in branching.graph.inputs
    }
    assert all(np.unique(a).size > 1 for a in sample.values())


def test_no_samples(branching: Network, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match="there are no calibration samples at"):
            read_samples(path, branching)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"image": arrays()["image"]}, "holds image; the network takes image, bias"),
        ({**arrays(), "more": np.zeros(3)}, "holds bias, image, more; the network takes"),
        ({**arrays(), "bias": np.zeros((1, 9), "float32")}, r"'bias' is float32\[1, 9\]; the"),
        ({**arrays(), "bias": np.zeros((1, 10))}, r"'bias' is float64\[1, 10\]"),
        ({**arrays(2), "bias": arrays(3)["bias"]}, "more samples of one input than of another"),
    ],
)
def test_what_does_not_fit(
    branching: Network, given: dict[str, Array], why: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "in.npz", allow_pickle=False, **given)
    with pytest.raises(ModelError, match=why):
        read_samples(tmp_path / "in.npz", branching)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"\x93NUMPY\x01\x00"])
def test_damaged_file(branching: Network, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.npz").write_bytes(content)
    with pytest.raises(ModelError, match=r"in\.npz"):
        read_samples(tmp_path / "in.npz", branching)
