"""The test bed with both its sides up: paths are probed there, and bundles run in turns."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bed_links import Bed, find_bed
from bed_sides import KEY, ONE_THREAD, PHONE, SERVER, Cloud, Phone
from foreign_load import ForeignLoad
from undisturbed import awake

from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.probing import ProbedPath
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.link_probe import PathTimes
from jointdnn_tvm.targets import LinkProfile

_SLOWDOWN = 3.0
_STEADY, _ATTEMPTS = 0.05, 2


@dataclass(frozen=True)
class Lab:
    """What all runs of a benchmark share; `server` and `phone` are the programs of the sides."""

    bed: Bed
    slowdown: float
    folder: Path
    server: Sequence[str] = SERVER
    phone: Sequence[str] = PHONE

    def __str__(self) -> str:
        return f"EMULATED: {self.bed.how}; the phone is slowed {self.slowdown:g}x"


def add_lab_options(parser: argparse.ArgumentParser) -> None:
    """The options that `open_lab` reads."""
    parser.add_argument("--slowdown", type=float, default=_SLOWDOWN, help="default %(default)g")
    parser.add_argument("--user-space", action="store_true", help="shape without root")


@contextmanager
def open_lab(
    options: argparse.Namespace, server: Sequence[str] = SERVER, phone: Sequence[str] = PHONE
) -> Iterator[Lab]:
    """The test bed, undisturbed where that may be had; what it makes is removed in the end."""
    os.environ.update(ONE_THREAD)  # of the device servers that costs are measured on
    with (
        _on_signals(),
        awake(),
        tempfile.TemporaryDirectory(prefix="jointdnn-bed-") as folder,
        find_bed(options.user_space) as bed,
    ):
        lab = Lab(bed, options.slowdown, Path(folder), server, phone)
        print(lab, file=sys.stderr)
        yield lab


@contextmanager
def _on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program as Ctrl-C does, so that what it made is removed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = [(sig, signal.signal(sig, stop)) for sig in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for sig, handler in before:
            signal.signal(sig, handler)


def middle_mean(values: Sequence[float]) -> float:
    """The mean without a tenth at each end.

    The rhythm that stops the phone makes latencies multiples of its period, more often the nearer
    ones; a median would be one multiple or the other.
    """
    ordered = sorted(values)
    outside = len(ordered) // 10
    return statistics.fmean(ordered[outside : len(ordered) - outside])


@dataclass(frozen=True)
class Turn:
    """Some queries of one bundle: seconds of each and of the phone's part in it."""

    queries: list[tuple[float, float]]
    crossed: Mapping[str, int]
    """Bytes of the messages of the last query, by direction."""
    foreign_cores: float
    """What other processes used meanwhile."""

    @property
    def latency_s(self) -> float:
        """Of a query."""
        return middle_mean([query_s for query_s, _ in self.queries])

    @property
    def own_s(self) -> float:
        """Of the phone's part in a query."""
        return middle_mean([own_s for _, own_s in self.queries])


@dataclass(frozen=True)
class Rounds:
    """How often each bundle has its turn: `least` times, then until its turns agree, or `most`.

    They agree when the middle half of them lies within a `within` of their median: what the machine
    did to a few is outvoted. What was predicted has no part in it.
    """

    least: int = 3
    most: int = 9
    within: float = 0.03

    def missing(self, turns: Sequence[Turn]) -> bool:
        """Whether a bundle that had these turns goes on."""
        if not self.least <= len(turns) < self.most:
            return len(turns) < self.least
        low, median, high = statistics.quantiles([t.latency_s for t in turns], method="inclusive")
        return high - low > self.within * median


@dataclass(frozen=True)
class Site:
    """Both sides, up and running, and a link between them."""

    lab: Lab
    link: LinkProfile
    cloud: Cloud
    phone: Phone
    address: Address

    def probe(self) -> ProbedPath:
        """The path as the phone finds it: the link, and what messages take beside it."""
        tries: list[PathTimes] = []
        while len(tries) < _ATTEMPTS and (not tries or min(map(_stray, tries)) > _STEADY):
            with self.phone.slowed(self.lab.slowdown):
                answer = self.phone.do("probe", cloud=str(self.address), key=KEY)
            tries.append(PathTimes.from_json(answer))
        times = min(tries, key=_stray)
        found = replace(
            self.link,
            uplink_bps=8 / times.link.up_s_per_byte,
            downlink_bps=8 / times.link.down_s_per_byte,
            rtt_s=times.link.fixed_s,
        )
        return ProbedPath(found, Transfer.of(times))

    def in_turns(
        self,
        bundles: Mapping[str, Path],
        inputs: Path | None,
        rounds: Rounds,
        job: str = "open",
        **run: float,
    ) -> dict[str, list[Turn]]:
        """Run bundles one after the other, round after round; `run` says how many queries.

        So what else the machine does for a while hits all alike, and one round of each. `job` is
        the phone's that opens a bundle; without `inputs` it makes them up.
        """
        for bundle in bundles.values():
            self.cloud.give(*bundle.glob("cloud*"))
        turns: dict[str, list[Turn]] = {name: [] for name in bundles}
        while missing := [name for name in bundles if rounds.missing(turns[name])]:
            done = max(map(len, turns.values()))
            print(f"round {done + 1}: {len(missing)} programs", file=sys.stderr, flush=True)
            for name in missing:
                turns[name].append(self._turn(bundles[name], inputs, job, run))
        return turns

    def _turn(self, bundle: Path, inputs: Path | None, job: str, run: Mapping[str, float]) -> Turn:
        where = {"cloud": str(self.address), "key": KEY, "inputs": inputs and str(inputs)}
        self.phone.do(job, bundle=str(bundle), **where)
        load = ForeignLoad()
        with self.phone.slowed(self.lab.slowdown):
            queries = self.phone.do("run", **run)
        foreign_cores = load.cores()
        crossed = self.phone.do("crossed")
        self.phone.do("close")
        return Turn([(query_s, own_s) for query_s, own_s in queries], crossed, foreign_cores)


def _stray(times: PathTimes) -> float:
    return max(times.link.error, times.messages.error)


@contextmanager
def site_on(lab: Lab, link: LinkProfile) -> Iterator[Site]:
    """Both sides with that link between them."""
    with (
        Cloud(lab.bed, lab.folder / "cache", lab.server) as cloud,
        Phone(lab.bed, lab.phone) as phone,
        lab.bed.shaped(link, cloud.address) as address,
    ):
        phone.do("close")  # it is up
        yield Site(lab, link, cloud, phone, address)
