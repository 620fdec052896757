"""One side's stages, run in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import BundleError, RunError
from jointdnn_tvm.network import load_network
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.manifest import StageEntry
from jointdnn_tvm.runtime.stage_module import StageModule, check_runtime
from jointdnn_tvm.runtime.weights import map_weights, write_weights
from jointdnn_tvm.verify import Reference
from tests.tiny_models import branching_model, plan_of

Arrays = dict[str, np.ndarray[Any, Any]]
Save = Callable[[], Path]


def inputs(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "image": rng.standard_normal((1, 3, 8, 8), "float32"),
        "bias": rng.standard_normal((1, 10), "float32"),
    }


def run_all(module: StageModule, stages: tuple[StageEntry, ...], held: Arrays) -> Arrays:
    for stage in stages:
        held = {**held, **module.run(stage.name, held)}
    return held


@pytest.fixture
def opened(new_bundle: Save, built: Bundle) -> StageModule:
    folder = new_bundle()
    stages = built.manifest.stages
    return StageModule(folder / "mobile.so", folder / "mobile.safetensors", stages, "mobile")


def test_stage_gives_its_tensors(opened: StageModule, built: Bundle) -> None:
    held = run_all(opened, built.manifest.stages, inputs(0))
    for stage in built.manifest.stages:
        for name in stage.outputs:
            entry = built.manifest.tensors[name]
            assert (held[name].shape, held[name].dtype.name) == (entry.shape, entry.dtype)
    for array in held.values():
        assert np.isfinite(array).all()


def test_held_arrays_are_copies(opened: StageModule, built: Bundle) -> None:
    given = inputs(0)
    held = opened.hold(given)
    expected = run_all(opened, built.manifest.stages, given)
    for array in given.values():
        array[:] = 0
    found = run_all(opened, built.manifest.stages, held)
    for stage in built.manifest.stages:
        for name in stage.outputs:
            np.testing.assert_array_equal(found[name], expected[name])


def test_inputs_may_lie_anywhere_in_memory(opened: StageModule, built: Bundle) -> None:
    first = built.manifest.stages[0]
    held = inputs(0)
    expected = opened.run(first.name, held)

    def unaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        room = np.zeros(array.nbytes + 4, "uint8")
        moved: np.ndarray[Any, Any] = room[4:].view(array.dtype).reshape(array.shape)
        moved[...] = array
        return moved

    def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)

    for change in (unaligned, read_only, np.asfortranarray):
        found = opened.run(first.name, {n: change(a) for n, a in held.items()})
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_results_are_the_callers(opened: StageModule, built: Bundle) -> None:
    first = built.manifest.stages[0]
    held = inputs(0)
    before = opened.run(first.name, held)
    copies = {n: a.copy() for n, a in before.items()}
    opened.run(first.name, inputs(1))
    for name, array in before.items():
        np.testing.assert_array_equal(array, copies[name])
        array[...] = 0  # it may be written, and nobody else sees that
    again = opened.run(first.name, held)
    for name, array in again.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image": None}, "called without tensor 'image'"),
        ({"image": np.zeros((1, 3, 8, 9), "float32")}, r"stage '.*' failed: "),
        ({"image": np.zeros((3, 8, 8), "float32")}, r"stage '.*' failed: "),
        ({"image": np.zeros((1, 3, 8, 8), "float64")}, r"stage '.*' failed: "),
    ],
)
def test_tensors_that_do_not_fit(
    opened: StageModule, built: Bundle, change: dict[str, Any], why: str
) -> None:
    stage = next(s for s in built.manifest.stages if "image" in s.inputs)
    held = {n: a for n, a in {**inputs(0), **change}.items() if a is not None}
    with pytest.raises(RunError, match=why):
        opened.run(stage.name, held)
    opened.run(stage.name, inputs(0))  # and it goes on


def test_unknown_stage(opened: StageModule) -> None:
    with pytest.raises(RunError, match="there is no stage 'stage_99_cloud' here"):
        opened.run("stage_99_cloud", {})


def test_library_for_a_gpu_that_is_not_there(
    new_bundle: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise RuntimeError("make sure that there is ffi.Module.load_from_bytes.cuda")  # TVM's words

    monkeypatch.setattr("jointdnn_tvm.runtime.stage_module._load", refuse)
    folder = new_bundle()
    with pytest.raises(BundleError, match=r"NVIDIA's driver and, .*jointdnn-tvm\[cuda-runtime\]"):
        StageModule(folder / "mobile.so", folder / "mobile.safetensors", [], "mobile")


def test_library_that_lacks_a_stage_or_is_none(new_bundle: Save, tmp_path: Path) -> None:
    folder = new_bundle()
    other = StageEntry("stage_99_mobile", "mobile", (), {"mobile": ()}, ())
    with pytest.raises(BundleError, match=r"mobile\.so does not load on this machine \(.*stage_99"):
        StageModule(folder / "mobile.so", folder / "mobile.safetensors", [other], "mobile")
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(BundleError, match=r"text\.so does not load on this machine"):
        StageModule(text, folder / "mobile.safetensors", [], "mobile")
    with pytest.raises(BundleError, match=r"nothing\.so does not load on this machine"):
        StageModule(tmp_path / "nothing.so", folder / "mobile.safetensors", [], "mobile")


def test_missing_weight(new_bundle: Save, built: Bundle) -> None:
    folder = new_bundle()
    weights = map_weights(folder / "mobile.safetensors")
    name, *others = weights
    write_weights(folder / "mobile.safetensors", {n: weights[n].copy() for n in others})
    with pytest.raises(BundleError, match=f"lacks weight '{name}'; build the bundle again"):
        StageModule(
            folder / "mobile.so", folder / "mobile.safetensors", built.manifest.stages, "mobile"
        )


def test_threads_share_a_module(opened: StageModule, built: Bundle) -> None:
    stages = built.manifest.stages
    expected = [run_all(opened, stages, inputs(seed)) for seed in range(4)]
    wrong: list[int] = []

    def work(seed: int) -> None:
        for _ in range(20):
            found = run_all(opened, stages, inputs(seed))
            if any(not np.array_equal(found[n], a) for n, a in expected[seed].items()):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bundle_replaced_in_place_while_the_old_one_is_open(
    branching_path: Path, tmp_path: Path
) -> None:
    """The dynamic loader would give the old library again, under the same path."""
    arrays = inputs(0)
    opened = []
    for path in (branching_path, branching_model(tmp_path, seed=1)):
        network = load_network(path)
        placement: dict[str, Side] = dict.fromkeys((g.name for g in network.graph.groups), "mobile")
        made = build(network, plan_of(network, placement), fallback=False)
        folder = made.save(tmp_path / "model.jd")
        stages = made.manifest.stages
        module = StageModule(folder / "mobile.so", folder / "mobile.safetensors", stages, "mobile")
        opened.append(module)
        found = run_all(module, stages, arrays)[network.graph.outputs[0]]
        expected = Reference(path).run(arrays)["scores"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_runtime_must_be_the_one_of_the_build() -> None:
    check_runtime(tvm.__version__)
    with pytest.raises(BundleError, match=r"built with TVM 0\.1, .* install apache-tvm==0\.1 here"):
        check_runtime("0.1")
    with pytest.raises(BundleError, match="built with TVM None"):
        check_runtime(None)
