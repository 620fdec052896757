"""The part of a manifest that says how a bundle trains, checked to the last entry."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime.manifest import MANIFEST, check_files, read_manifest
from jointdnn_tvm.runtime.training_entry import parse_training
from tests.test_manifest import _set
from tests.training_runs import CASES, build, in_turn, lossy


@pytest.fixture(scope="module")
def trains(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    step = CASES["mlp"].step(tmp_path_factory.mktemp("model"))
    return build(step, in_turn(step), codecs=lossy(step, "u8"))


def test_what_was_written_is_read(trains: Bundle) -> None:
    entry = trains.manifest.training
    assert entry is not None
    assert parse_training(json.loads(json.dumps(asdict(entry)))) == entry
    assert any(carried.source and carried.source.form.steps for carried in entry.carried)
    assert entry.optimizer.betas is not None


def test_what_each_side_keeps(trains: Bundle) -> None:
    manifest = trains.manifest
    assert manifest.training is not None
    training = manifest.training
    everything = set(training.state)
    homes = {carried.tensor: carried.home for carried in training.carried}
    homes |= {residual.kept: residual.home for residual in training.residuals}
    on_cloud, on_mobile = (set(manifest.state_held_by(side)) for side in ("cloud", "mobile"))
    assert on_cloud == {name for name, home in homes.items() if home == "cloud"}
    read = {t for s in manifest.stages if s.side == "mobile" for t in s.inputs}
    assert on_mobile == (everything - on_cloud) | (on_cloud & read)
    assert set(manifest.state_on("mobile")) == everything
    assert manifest.state_on("cloud") == manifest.state_held_by("cloud")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((key, KeyError) for key in ("loss", "label", "masks", "numbers", "optimizer", "carried")),
        *((key, 5) for key in ("loss", "label", "masks", "numbers", "optimizer", "carried")),
        ("label/tensor", "nowhere"),
        ("label/classes", 0),
        ("optimizer/accumulate", 0),
        ("optimizer/accumulate", KeyError),
        ("masks/0/name", "nowhere"),
        ("masks/0/ratio", 1),
        ("masks/0/ratio", "0.5"),
        ("masks/0/shape", [-1]),
        ("numbers/learning_rate", "nowhere"),
        ("optimizer/betas", [0.9]),
        ("optimizer/betas", [0.9, 1.0]),
        ("carried/0/tensor", "nowhere"),
        ("carried/0/new", "nowhere"),
        ("carried/0/home", "edge"),
        ("carried/0/source", {"name": "w"}),
        ("carried/0/source/form/shape", [2.5]),
        ("carried/0/source/form/steps", [["inside out", [1, 0]]]),
        ("carried/0/source/form/steps", ["order"]),
        *((key, KeyError) for key in ("residuals", "scores")),
        *((key, 5) for key in ("residuals", "scores")),
        ("residuals/0/tensor", "nowhere"),
        ("residuals/0/kept", "nowhere"),
        ("residuals/0/kept", "first_w"),
        ("residuals/0/home", "edge"),
        ("scores/tensor", "nowhere"),
        ("scores/axis", -1),
    ],
)
def test_damaged_entry(trains: Bundle, tmp_path: Path, path: str, value: Any) -> None:
    folder = trains.save(tmp_path / "model.jd")
    document = json.loads((folder / MANIFEST).read_text())
    _set(document, f"training/{path}", value)
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=r"bundle\.json is damaged \(.*build the bundle again"):
        read_manifest(folder)


def test_next_value_that_is_not_like_the_present_one(trains: Bundle, tmp_path: Path) -> None:
    folder = trains.save(tmp_path / "model.jd")
    document = json.loads((folder / MANIFEST).read_text())
    new = document["training"]["carried"][0]["new"]
    document["tensors"][new]["shape"] += [1]
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match="is not like the present one"):
        read_manifest(folder)


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_state_has_a_checksum(trains: Bundle, tmp_path: Path, side: str) -> None:
    folder = trains.save(tmp_path / "model.jd")
    check_files(folder, read_manifest(folder))
    file = folder / f"{side}-state.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=f"{side}-state.safetensors differs from the manifest"):
        check_files(folder, read_manifest(folder))
    document = json.loads((folder / MANIFEST).read_text())
    del document["files"][file.name]
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=f"{side}-state.safetensors has no checksum"):
        read_manifest(folder)
