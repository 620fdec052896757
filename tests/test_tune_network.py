"""Tuning a network on real device servers, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from jointdnn_tvm.cost import bench as bench_module
from jointdnn_tvm.cost.bench import Bench
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.errors import CostError, DeviceError
from jointdnn_tvm.network import Network
from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.tuning import answers, judge, tuner
from jointdnn_tvm.tuning.judge import Verdict
from jointdnn_tvm.tuning.records import own_path, read_records, tuned_target
from jointdnn_tvm.tuning.tune_network import tune
from jointdnn_tvm.tuning.tuner import Progress
from tests.deployment import device_server, running
from tests.tuning_bed import KERNELS, bowl, tune_in_bed

HOST = load_target("host")
Start = Callable[[str], ServerProcess]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tracker() -> Iterator[str]:
    """One whose devices may be killed."""
    with running("tracker", "--port", "0") as (_, address):
        yield str(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracker with one device."""
    with running("tracker", "--port", "0") as (_, address):
        words = ("--tracker", str(address), "--key", "phone")
        with device_server(tmp_path_factory.mktemp("device"), *words):
            yield str(address)


@pytest.fixture
def start(tracker: str, tmp_path: Path) -> Iterator[Start]:
    """Start a device server of that name; the names are hosts of their own to the tuner."""
    with ExitStack() as stack:

        def start(name: str) -> ServerProcess:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            words = ("--tracker", tracker, "--key", "phone")
            return stack.enter_context(device_server(folder, *words))[0]

        yield start


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from jointdnn_tvm import devices as devices_module
    from tests.test_spread import by_port

    for module in (devices_module, bench_module):
        monkeypatch.setattr(module, "describe_device", by_port)


def stored(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM measurements").fetchone()[0])


def test_it_finds_the_best_and_nothing_is_tried_twice(
    branching: Network, site: str, tmp_path: Path
) -> None:
    tried: Counter[str] = Counter()

    def raced(bench: Bench, choices: Sequence[Choice]) -> None:
        tried.update(json.dumps(choice, sort_keys=True) for choice in choices)

    first = tune_in_bed(branching, site, tmp_path / "costs", raced=raced)
    assert first.path == own_path(HOST)
    assert read_records(first.path, HOST) == first.records
    assert first.records.keys() == set(map(repr, KERNELS))
    for record in first.records.values():
        assert (record.choice["rows"], record.choice["vectors"]) == (6, 3)
    assert (first.kernels, first.searched_kernels, first.share) == (3, 3, 0.9)
    choices = {k: r.choice for k, r in first.records.items()}
    assert tuned_target("host").tuned.items() >= choices.items()  # beside those shipped
    assert stored(tmp_path / "costs") == first.trials + len(KERNELS)  # and the verdicts
    assert set(tried.values()) == {1}
    tried.clear()

    told: list[int] = []

    def whole(kernels: int) -> float:
        told.append(kernels)
        return 0.9

    again = tune_in_bed(branching, site, tmp_path / "costs", raced=raced, whole=whole)
    assert told == [3]  # the network is timed against the rules once more
    assert not tried
    assert (again.trials, again.known) == (0, first.trials)
    assert again.records == first.records


def test_what_does_not_gain_is_not_kept(branching: Network, site: str, tmp_path: Path) -> None:
    level = tune_in_bed(
        branching, site, tmp_path / "1", share=lambda choice: 1 - choice["rows"] / 1000
    )
    assert level.records == {}
    assert level.share == 1
    assert not own_path(HOST).exists()


def test_an_answer_that_differs_is_not_kept(branching: Network, site: str, tmp_path: Path) -> None:
    found = tune_in_bed(branching, site, tmp_path / "costs", difference=1e-3)
    assert found.trials > 0
    assert found.records == {}


@pytest.mark.parametrize(("good", "kept"), [(3, 3), (1, 1), (0, 0)])
def test_what_slows_the_network_down_is_taken_out(
    good: int, kept: int, branching: Network, site: str, tmp_path: Path
) -> None:
    """The network is faster with so many tuned kernels at most."""

    def whole(kernels: int) -> float:
        return 0.9 if kernels <= good else 1.1

    found = tune_in_bed(branching, site, tmp_path / "costs", whole=whole)
    assert len(found.records) == kept
    assert read_records(found.path, HOST) == found.records
    assert found.share == (0.9 if kept else 1)


def test_when_time_is_up_nothing_more_is_tried(
    branching: Network, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One device has raced one batch then; what it found is judged, what waits is dropped."""
    raced: list[Choice] = []
    began = threading.Event()

    def up(_: Progress) -> float:
        return 1e9 if began.is_set() else 0.0

    def race(bench: Bench, choices: Sequence[Choice]) -> None:
        began.set()
        raced.extend(choices)

    monkeypatch.setattr(Progress, "passed_s", property(up))
    found = tune_in_bed(branching, site, tmp_path / "costs", raced=race, minutes=1)
    tried = [choice for choice in raced if "judged" not in choice]
    assert 0 < len(tried) <= found.trials <= tuner._BATCH  # some do not build
    assert len(raced) - len(tried) == len(found.records) == 1
    assert found.searched_kernels == 0


def test_two_devices_share_the_work(
    branching: Network, tracker: str, start: Start, tmp_path: Path, apart: None
) -> None:
    start("a")
    start("b")
    both = threading.Barrier(2, timeout=60)
    met: Counter[str] = Counter()

    def raced(bench: Bench, choices: Sequence[Choice]) -> None:
        if not met:
            both.wait()  # fails unless two devices race at once
        met[bench.device.host] += 1

    found = tune_in_bed(branching, tracker, tmp_path / "costs", raced=raced)
    assert len(met) == 2
    assert len(found.records) == 3


def test_a_device_that_waits_gets_few_at_once(
    branching: Network, tracker: str, start: Start, tmp_path: Path, apart: None
) -> None:
    start("a")
    sizes: list[int] = []

    def raced(bench: Bench, choices: Sequence[Choice]) -> None:
        sizes.append(len(choices))

    found = tune_in_bed(branching, tracker, tmp_path / "costs", raced=raced)
    assert sizes[0] <= tuner._FEWEST  # some of them did not build
    assert len(found.records) == 3


def test_this_machine_waits_for_a_whole_batch(
    branching: Network, site: str, tmp_path: Path
) -> None:
    sizes: list[int] = []

    def raced(bench: Bench, choices: Sequence[Choice]) -> None:
        sizes.append(len(choices))

    tune_in_bed(branching, site, tmp_path / "costs", raced=raced)
    assert tuner._FEWEST < sizes[0] <= tuner._BATCH


def test_a_device_that_is_lost_leaves_its_work_to_the_other(
    branching: Network, tracker: str, start: Start, tmp_path: Path, apart: None
) -> None:
    servers = [start("a"), start("b")]
    met = threading.Event()
    both = threading.Barrier(2, action=met.set, timeout=60)  # set before either goes on
    lost: list[str] = []

    def raced(bench: Bench, choices: Sequence[Choice]) -> None:
        if not met.is_set():
            first = both.wait() == 0
            if first:
                lost.append(bench.device.host)
                port = int(bench.device.host.split()[-1])
                (server,) = (s for s in servers if s.wait_ready(1).port == port)
                os.killpg(server.pid, signal.SIGKILL)
                bench.session.function("jointdnn.device_info")

    found = tune_in_bed(branching, tracker, tmp_path / "costs", raced=raced, device_timeout_s=2)
    assert lost
    assert len(found.records) == 3


def test_no_device_left_is_told(
    branching: Network, tracker: str, start: Start, tmp_path: Path
) -> None:
    server = start("a")

    def raced(bench: Bench, choices: Sequence[Choice]) -> None:
        os.killpg(server.pid, signal.SIGKILL)
        bench.session.function("jointdnn.device_info")

    with pytest.raises(DeviceError, match="was lost"):
        tune_in_bed(branching, tracker, tmp_path / "costs", raced=raced, device_timeout_s=2)


def test_a_killed_process_loses_one_batch(site: str, tmp_path: Path) -> None:
    database = tmp_path / "costs"
    words = [sys.executable, "-m", "tests.tuning_bed", site, str(database)]
    raced: list[str] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            raced.append(line)
            if len(raced) == 20:
                process.kill()
    before = stored(database)
    assert 0 < before < 60
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    *_, last = ended.stdout.splitlines()
    _, trials, known, records = last.split()
    assert int(known) <= before
    assert records == "3"
    counts = Counter([*(line.strip() for line in raced), *ended.stdout.splitlines()[:-1]])
    assert max(counts.values()) <= 2
    assert sum(count == 2 for count in counts.values()) <= tuner._BATCH
    assert int(trials) > 0
    assert len(read_records(own_path(HOST), HOST)) == 3


def test_the_real_thing(
    branching: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On loopback, with kernels compiled, raced and judged; any speed will do."""
    monkeypatch.setattr("jointdnn_tvm.tuning.subjects._WORTH", 0.0)
    monkeypatch.setattr("jointdnn_tvm.tuning.space._STARTS", 1)
    monkeypatch.setattr("jointdnn_tvm.tuning.climb._STEP", 2.0)
    monkeypatch.setattr(tuner, "GAIN", -1000.0)
    monkeypatch.setattr(Verdict, "objection", None)
    monkeypatch.setattr(tuner, "_ROUNDS", 1)
    judged: list[float] = []
    real = answers.largest_difference

    def largest_difference(*arguments: Any) -> float:
        judged.append(real(*arguments))
        return judged[-1]

    monkeypatch.setattr(judge, "largest_difference", largest_difference)
    found = tune(branching, database=tmp_path / "costs", minutes=5)
    assert found.trials >= found.kernels > 3
    assert len(judged) == found.kernels
    assert max(judged) < 1e-5
    choices = {k: r.choice for k, r in found.records.items()}
    assert tuned_target("host").tuned.items() >= choices.items()  # beside those shipped


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_no_time(minutes: float, branching: Network) -> None:
    with pytest.raises(CostError, match="are no time to tune in"):
        tune(branching, minutes=minutes)


def test_devices_of_another_target(branching: Network, site: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"was started for target host, .* --target host"):
        tune(branching, target="raspberry-pi-4", tracker=site, key="phone")


def test_what_cannot_be_tuned(branching: Network, tracker: str) -> None:
    with pytest.raises(CostError, match="cuda-sm90 is a GPU"):
        tune(branching, target="cuda-sm90")
    with pytest.raises(DeviceError, match="jointdnn device --key mobile --target raspberry-pi-4"):
        tune(branching, target="raspberry-pi-4")
    with pytest.raises(DeviceError, match="nobody serves it; start one with"):
        tune(branching, tracker=tracker, key="phone", device_timeout_s=0.5)


def test_the_bowl_has_one_bottom() -> None:
    assert bowl({"rows": 6, "vectors": 3}) == 0.6
