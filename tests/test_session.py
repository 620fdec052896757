"""The phone's process: right answers with a cloud, without one, and when it is lost on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.building import build
from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import BundleError, DeviceError, RunError
from jointdnn_tvm.network import Network
from jointdnn_tvm.runtime.cloud import Header, LocalCloud, Tensors
from jointdnn_tvm.runtime.manifest import MANIFEST, Manifest, read_manifest
from jointdnn_tvm.runtime.session import Session, open_session
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.verify import Reference, compare
from tests.tiny_models import Array, interleaved, plan_of, random_placement, staying

Save = Callable[[], Path]


def inputs(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "image": rng.standard_normal((1, 3, 8, 8), "float32"),
        "bias": rng.standard_normal((1, 10), "float32"),
    }


@pytest.fixture(scope="module")
def reference(branching_path: Path) -> Reference:
    return Reference(branching_path, threads=1)


def check(answer: dict[str, Array], reference: Reference, seed: int = 0) -> None:
    assert compare(answer, reference.run(inputs(seed))).max_rel_error < 1e-5


class FlakyCloud:
    """A cloud in this process that notes what it is sent, and is gone from one call on."""

    def __init__(self, folder: Path, manifest: Manifest, lost_at: int | None = None) -> None:
        stages = manifest.stages_on("cloud")
        module = StageModule(folder / "cloud.so", folder / "cloud.safetensors", stages, "cloud")
        self._cloud = LocalCloud(module)
        self._lost_at = lost_at
        self.sent: list[set[str]] = []
        self.returned: list[set[str]] = []
        self.closed = 0

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        if len(self.sent) == self._lost_at:
            raise DeviceError("the cloud is gone")
        answer = self._cloud.run(header, tensors)
        assert header["codecs"].keys() <= {*tensors, *header["wanted"]}
        self.sent.append(set(tensors))
        self.returned.append(set(answer))
        return answer

    def close(self) -> None:
        self.closed += 1


def session_with(
    folder: Path, lost_at: int | None = None, codecs: Mapping[str, str] | None = None
) -> tuple[Session, FlakyCloud]:
    """`codecs` names one for each element type."""
    manifest = read_manifest(folder)
    if codecs is not None:
        tensors = {n: replace(t, codec=codecs[t.dtype]) for n, t in manifest.tensors.items()}
        manifest = replace(manifest, tensors=tensors)
    mobile = StageModule(
        folder / "mobile.so", folder / "mobile.safetensors", manifest.stages, "mobile"
    )
    cloud = FlakyCloud(folder, manifest, lost_at)
    return Session(manifest, mobile, cloud), cloud


@pytest.mark.parametrize("seed", range(3))
def test_random_placement_gives_the_references_answer(
    branching: Network, reference: Reference, tmp_path: Path, seed: int
) -> None:
    placement = random_placement([g.name for g in branching.graph.groups], seed)
    made = build(branching, plan_of(branching, placement), fallback=bool(seed % 2))
    with open_session(made.save(tmp_path / "model.jd"), cloud="local") as session:
        for sample in range(3):
            check(session.run(inputs(sample)), reference, sample)
        assert session.cloud_error is None


@pytest.mark.parametrize("side", ["mobile", "cloud"])
def test_one_sided_bundle_without_fallback(
    branching: Network, reference: Reference, tmp_path: Path, side: str
) -> None:
    placement = {g.name: side for g in branching.graph.groups}
    plan = plan_of(branching, placement)  # type: ignore[arg-type]
    folder = build(branching, plan, fallback=False).save(tmp_path / "model.jd")
    with open_session(folder, cloud="local" if side == "cloud" else None) as session:
        check(session.run(inputs()), reference)


def test_signature_and_outputs(new_bundle: Save) -> None:
    with open_session(new_bundle(), cloud="local") as session:
        assert session.signature() == [
            ("image", (1, 3, 8, 8), "float32"),
            ("bias", (1, 10), "float32"),
        ]
        answer = session.run(inputs())
    assert [(n, a.shape, a.dtype.name) for n, a in answer.items()] == [
        ("scores", (1, 5), "float32"),
        ("best", (1,), "int64"),
        ("joined", (1, 10, 4, 4), "float32"),
    ]
    for array in answer.values():
        array[...] = 0  # the answer is the caller's


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image": None}, "input 'image' is missing"),
        ({"picture": np.zeros(3)}, "has no input 'picture'; it has image, bias"),
        ({"bias": np.zeros((10,), "float32")}, r"'bias' is float32\[10\]; .* float32\[1, 10\]"),
        ({"bias": np.zeros((1, 10))}, r"'bias' is float64\[1, 10\]; the network takes float32"),
        ({"bias": np.zeros((1, 10), "bool")}, "'bias' is bool"),
        ({"bias": [["a"] * 10]}, "'bias' is str"),
        ({"bias": 5}, "'bias' is int64"),
    ],
)
def test_inputs_that_do_not_fit(new_bundle: Save, change: dict[str, Any], why: str) -> None:
    given = {n: a for n, a in {**inputs(), **change}.items() if a is not None}
    with (
        open_session(new_bundle(), cloud="local") as session,
        pytest.raises(RunError, match=why),
    ):
        session.run(given)


def test_tensors_stay_on_the_cloud_while_only_it_needs_them(
    new_bundle: Save, reference: Reference
) -> None:
    session, cloud = session_with(new_bundle())
    check(session.run(inputs()), reference)
    stages = [s for s in session.manifest.stages if s.side == "cloud"]
    outputs = [p.tensor for p in session.manifest.outputs]
    kept = staying(session.manifest.stages, outputs)
    assert kept
    on_mobile = {t for s in session.manifest.stages if s.side == "mobile" for t in s.inputs}
    there: set[str] = set()
    for stage, sent, returned in zip(stages, cloud.sent, cloud.returned, strict=True):
        assert sent == set(stage.inputs) - there
        assert returned == set(stage.outputs) & (on_mobile | set(outputs))
        assert not kept & (sent | returned)
        there |= sent | set(stage.outputs)


def test_exact_codecs_change_no_bit(new_bundle: Save) -> None:
    folder = new_bundle()
    plain, cloud = session_with(folder)
    encoded, _ = session_with(folder, codecs={"float32": "f32", "int64": "bytes"})
    for sample in range(2):
        expected, found = plain.run(inputs(sample)), encoded.run(inputs(sample))
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    assert any(cloud.sent)
    assert any(cloud.returned)


def test_lossy_codecs_change_a_little(new_bundle: Save, reference: Reference) -> None:
    codecs = {"float32": "u8-tensor", "int64": "bytes"}
    session, _ = session_with(new_bundle(), codecs=codecs)
    answer = session.run(inputs())
    expected = reference.run(inputs())
    for name in ("scores", "joined"):
        difference = compare({name: answer[name]}, {name: expected[name]})
        assert 1e-4 < difference.max_rel_error < 0.1


def test_cloud_lost_with_codecs(new_bundle: Save, reference: Reference) -> None:
    codecs = {"float32": "f32", "int64": "bytes"}
    session, _ = session_with(new_bundle(), lost_at=1, codecs=codecs)
    check(session.run(inputs()), reference)
    assert session.cloud_error == "the cloud is gone"


def test_cloud_lost_at_any_call(new_bundle: Save, reference: Reference) -> None:
    folder = new_bundle()
    calls = len(read_manifest(folder).stages_on("cloud"))
    assert calls >= 2
    for lost_at in range(2 * calls):  # in the first query or in the second
        session, cloud = session_with(folder, lost_at)
        for sample in range(3):
            check(session.run(inputs(sample)), reference, sample)
        assert session.cloud_error == "the cloud is gone"
        assert (len(cloud.sent), cloud.closed) == (lost_at, 1)


def test_cloud_lost_without_a_fallback(new_bundle: Save) -> None:
    folder = new_bundle()
    whole, cloud = session_with(folder, lost_at=1)
    manifest = replace(whole.manifest, fallback=False)
    stages = StageModule(
        folder / "mobile.so", folder / "mobile.safetensors", manifest.stages, "mobile"
    )
    session = Session(manifest, stages, cloud)
    for _ in range(2):
        with pytest.raises(DeviceError, match="the cloud is gone"):
            session.run(inputs())
    assert session.cloud_error is None


class WrongCloud(FlakyCloud):
    """A cloud that answers something else."""

    def __init__(self, change: Callable[[Tensors], Tensors], *args: Any) -> None:
        super().__init__(*args)
        self._change = change

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        return self._change(super().run(header, tensors))


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: {},
        lambda answer: {n: a[..., :1] for n, a in answer.items()},
        lambda answer: {n: a.astype("float16") for n, a in answer.items()},
    ],
)
def test_answer_that_is_not_what_was_asked_counts_as_lost(
    new_bundle: Save, reference: Reference, change: Callable[[Tensors], Tensors]
) -> None:
    folder = new_bundle()
    manifest = read_manifest(folder)
    stages = StageModule(
        folder / "mobile.so", folder / "mobile.safetensors", manifest.stages, "mobile"
    )
    session = Session(manifest, stages, WrongCloud(change, folder, manifest))
    check(session.run(inputs()), reference)
    assert "has no such tensor" in str(session.cloud_error)


def test_tensors_that_nobody_asked_for_are_ignored(new_bundle: Save, reference: Reference) -> None:
    folder = new_bundle()
    manifest = read_manifest(folder)

    def more(answer: Tensors) -> Tensors:
        spoiled = {t: np.full((9,), np.nan) for t in manifest.tensors if t not in answer}
        return {**answer, **spoiled}

    stages = StageModule(
        folder / "mobile.so", folder / "mobile.safetensors", manifest.stages, "mobile"
    )
    session = Session(manifest, stages, WrongCloud(more, folder, manifest))
    check(session.run(inputs()), reference)
    assert session.cloud_error is None


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Run it in so many threads at once; the first failure is raised here."""
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_threads_with_one_session(new_bundle: Save, reference: Reference) -> None:
    expected = [reference.run(inputs(seed)) for seed in range(4)]
    with open_session(new_bundle(), cloud="local") as session:

        def work(seed: int) -> None:
            for _ in range(10):
                assert compare(session.run(inputs(seed)), expected[seed]).max_rel_error < 1e-5

        in_threads(work, 4)
        assert session.cloud_error is None


def test_threads_with_a_session_each(new_bundle: Save, reference: Reference) -> None:
    folder = new_bundle()
    expected = [reference.run(inputs(seed)) for seed in range(3)]

    def work(seed: int) -> None:
        with open_session(folder, cloud="local") as session:
            for _ in range(10):
                assert compare(session.run(inputs(seed)), expected[seed]).max_rel_error < 1e-5

    in_threads(work, 3)


def test_closed_session(new_bundle: Save) -> None:
    session, cloud = session_with(new_bundle())
    session.close()
    session.close()
    assert cloud.closed == 1
    with pytest.raises(RunError, match="session is closed; open a new one"):
        session.run(inputs())


def test_bundle_of_another_tvm(new_bundle: Save) -> None:
    folder = new_bundle()
    document = json.loads((folder / MANIFEST).read_text())
    for version in ("0.26.0", None):
        if version is None:
            del document["versions"]["tvm"]
        else:
            document["versions"]["tvm"] = version
        (folder / MANIFEST).write_text(json.dumps(document))
        with pytest.raises(BundleError, match=rf"built with TVM {version}, and this machine has"):
            open_session(folder, cloud="local")


def test_damaged_library_is_found_before_it_is_loaded(new_bundle: Save) -> None:
    folder = new_bundle()
    library = folder / "cloud.so"
    content = bytearray(library.read_bytes())
    content[64:128] = bytes(64)
    library.write_bytes(content)
    with pytest.raises(BundleError, match="differs from the manifest's checksum"):
        open_session(folder, cloud="local")


def test_where_the_cloud_is_must_be_said(new_bundle: Save) -> None:
    with pytest.raises(DeviceError, match="has cloud stages; say where they run"):
        open_session(new_bundle())


@pytest.fixture
def no_fallback(branching: Network, tmp_path: Path) -> Path:
    made = build(branching, plan_of(branching, interleaved(branching)), fallback=False)
    return made.save(tmp_path / "no-fallback.jd")


def test_connection_is_closed_when_the_cloud_cannot_be_opened(
    no_fallback: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remote:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    def refuse(*_args: object) -> None:
        raise DeviceError("its disk is full")

    remote = Remote()
    monkeypatch.setattr("jointdnn_tvm.runtime.session.reach", lambda *args: remote)
    monkeypatch.setattr("jointdnn_tvm.runtime.session.RemoteCloud.connect", refuse)
    with pytest.raises(DeviceError, match="its disk is full"):
        open_session(no_fallback, cloud="somewhere:1")
    assert remote.closed == 1


@pytest.mark.parametrize("how", [{"cloud": "127.0.0.1:1"}, {"tracker": "127.0.0.1:1"}])
def test_cloud_that_is_not_there(
    new_bundle: Save,
    no_fallback: Path,
    reference: Reference,
    how: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1"):
        open_session(no_fallback, **how, timeout_s=2.0)
    assert not caplog.messages
    with open_session(new_bundle(), **how, timeout_s=2.0) as session:
        for sample in range(2):
            check(session.run(inputs(sample)), reference, sample)
        assert "127.0.0.1:1" in str(session.cloud_error)
    (warning,) = caplog.messages
    assert warning == f"the cloud cannot be used ({session.cloud_error}); going on alone"


def test_slip_in_the_address_is_no_lost_cloud(new_bundle: Save) -> None:
    with pytest.raises(DeviceError, match="'somewhere' is not an address; write HOST:PORT"):
        open_session(new_bundle(), cloud="somewhere")


_ON_A_PHONE = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        rest = name.removeprefix("jointdnn_tvm.") if name.startswith("jointdnn_tvm.") else ""
        if name in ("onnx", "onnxruntime", "tvm.relax", "networkx", "scipy") or rest and not (
            rest.split(".")[0] in ("codec", "runtime", "errors")
        ):
            raise ImportError(f"{name} is not on a phone")

sys.meta_path.insert(0, Forbidden())
import numpy, tvm
before = {m.partition(".")[0] for m in sys.modules} | set(sys.stdlib_module_names)
from jointdnn_tvm.runtime.session import open_session
folder, file = sys.argv[1:]
with open_session(folder, cloud="local") as session:
    answer = session.run(dict(numpy.load(file)))
numpy.savez(file, **answer)
after = {m.partition(".")[0] for m in sys.modules}
print(*sorted(after - before))
"""


def test_phone_needs_numpy_zstandard_and_the_tvm_runtime_alone(
    built: Bundle, reference: Reference, tmp_path: Path
) -> None:
    folder, file = built.save(tmp_path / "model.jd"), tmp_path / "tensors.npz"
    np.savez(file, allow_pickle=False, **inputs())
    environment = {**os.environ, "TVM_USE_RUNTIME_LIB": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", _ON_A_PHONE, str(folder), str(file)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["jointdnn_tvm", "zstandard"]
    with np.load(file) as answer:
        check(dict(answer), reference)
