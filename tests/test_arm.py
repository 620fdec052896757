"""Networks on an emulated ARM machine: as the phone, and as a device, which either server serves.

`make test-arm` makes the machine.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from jointdnn_tvm.building import build
from jointdnn_tvm.cli.tensors import random_inputs
from jointdnn_tvm.cost.device import describe_device
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.placement import Side
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.remote import request
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.targets import load_target
from tests import arm_machine
from tests.codec_echo import EVERYWHERE, assert_echoes, echo_bundle
from tests.deployment import DeviceServerKind, device_server, running
from tests.native_programs import arm_device_server
from tests.networks import SHAPES, TRAINED, trained_network
from tests.pictures import page_of_text
from tests.tiny_models import Array, plan_of, random_placement

BOARD = "raspberry-pi-4"
SLOWEST_S = 120.0
SEED = 1
NETWORKS = sorted(TRAINED.keys() - {"ddddocr_old"})
TOLERANCE = 1e-4  # of the largest value

pytestmark = [
    pytest.mark.arm,
    pytest.mark.skipif(arm_machine.why_not() is not None, reason=str(arm_machine.why_not())),
]


@pytest.fixture(scope="module")
def tracker() -> Iterator[Address]:
    with running("tracker", "--port", "0") as (_, address):
        yield address


@pytest.fixture(scope="module", params=["python", "native"])
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tracker: Address
) -> Iterator[str]:
    """The key of a device server on the emulated machine: that in Python, or that in C++."""
    in_python = DeviceServerKind((str(arm_machine.python()), "-m", "jointdnn_tvm.cli", "device"))
    serve = in_python if request.param == "python" else arm_device_server()
    key = f"board-{request.param}"
    words = ("--tracker", str(tracker), "--key", key, "--target", BOARD)
    with serve(tmp_path_factory.mktemp(key), *words):
        yield key


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, tracker: Address) -> Iterator[Address]:
    """A device server on this machine, registered as `cloud`."""
    words = ("--tracker", str(tracker), "--key", "cloud")
    with device_server(tmp_path_factory.mktemp("cloud"), *words) as (_, address):
        yield address


class Phone:
    """The phone's runtime as a process on the emulated machine, which takes long to start."""

    PROGRAM = """
import json, sys
import numpy as np
from jointdnn_tvm.runtime.session import open_session
for line in sys.stdin:
    job = json.loads(line)
    with open_session(job["bundle"], **job["options"]) as session:
        outputs = session.run(dict(np.load(job["inputs"])))
        np.savez(job["outputs"], *outputs.values())
        print(json.dumps(session.cloud_error), flush=True)
"""

    def __init__(self, tracker: Address) -> None:
        self._options = {"tracker": str(tracker), "key": "cloud", "timeout_s": SLOWEST_S}
        self._process = subprocess.Popen(
            [arm_machine.python(), "-c", self.PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TVM_USE_RUNTIME_LIB": "1"},
        )

    def run(self, bundle: Path, inputs: dict[str, Array], folder: Path) -> list[Array]:
        """The outputs of a bundle, whose cloud stages ran on the cloud."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # names of arrays
        files = {name: str(folder / f"{name}.npz") for name in ("inputs", "outputs")}
        job = {"bundle": str(bundle), "options": self._options, **files}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "null\n"  # no error of the cloud
        with np.load(files["outputs"]) as outputs:
            return list(outputs.values())

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


@pytest.fixture(scope="module")
def phone(tracker: Address, cloud: Address) -> Iterator[Phone]:
    phone = Phone(tracker)
    yield phone
    phone.close()


def network_of(name: str) -> tuple[Path, Network]:
    try:
        path = trained_network(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return path, load_network(path, SHAPES.get(name))


@pytest.fixture(scope="module")
def device_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of a network whose cloud is the board, built once for all servers."""

    @functools.cache
    def bundle(name: str) -> Path:
        _, network = network_of(name)
        return saved(network, tmp_path_factory.mktemp(name), placement_of(network), cloud=BOARD)

    return bundle


def placement_of(network: Network) -> dict[str, Side]:
    """What the board computes as the phone it does not as the device, so it computes everything."""
    return random_placement([g.name for g in network.graph.groups], SEED)


def saved(network: Network, folder: Path, placement: dict[str, Side], **targets: str) -> Path:
    """The bundle of a placement, with a side built for the board; it needs its cloud."""
    profiles = {side: load_target(name) for side, name in targets.items()}
    plan = replace(plan_of(network, placement), **profiles)  # type: ignore[arg-type]
    return build(network, plan, fallback=False).save(folder / f"{'-'.join(targets)}.jd")


def inputs_of(name: str, network: Network) -> dict[str, Array]:
    if name == "ppocr_det":
        (port,) = network.inputs
        return {port.name: page_of_text(port.shape[-1])}
    return random_inputs([(t.name, t.shape, t.dtype) for t in network.inputs], SEED)


def expected(path: Path, inputs: dict[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(a) for a in session.run(None, inputs)]


def assert_close(found: list[Array], wanted: list[Array]) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        scale = np.abs(theirs).max()
        assert np.abs(ours - theirs).max() <= TOLERANCE * scale


def test_it_is_an_arm_machine() -> None:
    assert on_arm("-c", "import platform; print(platform.machine())").stdout == "aarch64\n"


def test_device_says_who_it_is(tracker: Address, board: str) -> None:
    with request(tracker, board, SLOWEST_S) as session:
        ask = session.function("jointdnn.device_info")
        with session.deadline(SLOWEST_S, "asking who it is"):
            information = json.loads(ask())
        with pytest.raises(DeviceError, match="runs aarch64 by an emulator"):
            describe_device(session)  # so none of its times enters a cost
    assert information["machine"] == "aarch64"
    assert information["target"] == BOARD
    assert information["emulated"]


@pytest.mark.parametrize("name", NETWORKS)
def test_device_on_arm(
    name: str, tracker: Address, board: str, device_bundle: Callable[[str], Path]
) -> None:
    path, network = network_of(name)
    inputs = inputs_of(name, network)
    bundle = device_bundle(name)
    with open_session(bundle, tracker=str(tracker), key=board, timeout_s=SLOWEST_S) as session:
        outputs = session.run(inputs)
        assert session.cloud_error is None
    assert_close(list(outputs.values()), expected(path, inputs))


@pytest.mark.parametrize("codec", EVERYWHERE)
def test_codecs_of_the_device(codec: str, tracker: Address, board: str, tmp_path: Path) -> None:
    bundle = echo_bundle(codec, tmp_path, BOARD)
    with open_session(bundle, tracker=str(tracker), key=board, timeout_s=SLOWEST_S) as session:
        assert_echoes(session, codec)


@pytest.mark.parametrize("name", NETWORKS)
def test_phone_on_arm(name: str, phone: Phone, tmp_path: Path) -> None:
    path, network = network_of(name)
    inputs = inputs_of(name, network)
    bundle = saved(network, tmp_path, placement_of(network), mobile=BOARD)
    assert_close(phone.run(bundle, inputs, tmp_path), expected(path, inputs))


def test_command_on_arm(tracker: Address, cloud: Address, tmp_path: Path) -> None:
    path, network = network_of("rnet")
    bundle = saved(network, tmp_path, placement_of(network), mobile=BOARD)
    words = ("--tracker", str(tracker), "--seed", str(SEED), "--output", str(tmp_path / "answer"))
    result = on_arm("-m", "jointdnn_tvm.cli", "run", str(bundle), *words, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["cloud_error"] is None
    wanted = expected(path, inputs_of("rnet", network))
    assert_close([np.load(file) for file in answer["files"].values()], wanted)


def test_bundle_of_another_machine_is_refused(tmp_path: Path) -> None:
    _, network = network_of("rnet")
    placement: dict[str, Side] = {g.name: "mobile" for g in network.graph.groups}
    bundle = saved(network, tmp_path, placement, mobile="host")
    result = on_arm("-m", "jointdnn_tvm.cli", "run", str(bundle))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "is for x86_64, and this machine is aarch64" in line


def on_arm(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(arm_machine.python()), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=SLOWEST_S, check=False)
