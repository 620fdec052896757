"""Where the two sides of the test bed run, and the shaped link between them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from jointdnn_tvm.deploy.link_shaper import LinkShaper
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.closing import Closing
from jointdnn_tvm.targets import LinkProfile, load_link

_PREFIX = "jointdnn-bed"
_CLOUD_IP, _PHONE_IP = "10.77.0.1", "10.77.0.2"  # each pair of namespaces is a world of its own
_VETH = "link0"
_FRAME_BYTES, _PAYLOAD_BYTES = 1514, 1448  # of TCP over Ethernet, with time stamps
_BURST_S = 0.001
_SEGMENT_BYTES = 65536  # the kernel hands several frames on as one where the bucket takes it
_FAST_BPS = 500e6
_QUEUE_BYTES = 8 << 20


class BedError(JointdnnError):
    """The test bed cannot be made, or its phone failed."""


class Bed(Protocol):
    """Where the two sides run, and the link between them."""

    @property
    def how(self) -> str:
        """How the link is shaped."""

    def cloud(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """Program and arguments that run Python with these arguments on the cloud's side."""

    def phone(self, words: Sequence[str]) -> list[str]:
        """A command that runs Python with these arguments on the phone's side."""

    @property
    def cloud_host(self) -> str:
        """The address at which the cloud's side listens."""

    def shaped(self, link: LinkProfile, server: Address) -> AbstractContextManager[Address]:
        """A context in which the link has these rates; gives where the phone finds the server."""


class Namespaces(Closing):
    """Two network namespaces with a veth pair between them; made by `with`, removed at its end."""

    def __init__(self) -> None:
        self._phone, self._cloud = (f"{_PREFIX}-{os.getpid()}-{side}" for side in ("m", "c"))
        self._has_delay = False

    @property
    def how(self) -> str:
        """How the link is shaped."""
        delay = "netem" if self._has_delay else "no added delay: this kernel has no netem"
        return f"tbf between two network namespaces ({delay})"

    def __enter__(self) -> Namespaces:
        remove_leftovers()
        try:
            for name in (self._phone, self._cloud):
                _run("ip", "netns", "add", name)
            _run(
                *("ip", "link", "add", _VETH, "netns", self._cloud),
                *("type", "veth", "peer", "name", _VETH, "netns", self._phone),
            )
            for name, address in ((self._cloud, _CLOUD_IP), (self._phone, _PHONE_IP)):
                _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", _VETH)
                _run("ip", "-n", name, "link", "set", _VETH, "up")
                _run("ip", "-n", name, "link", "set", "lo", "up")
            self._has_delay = self._try_delay()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Remove the namespaces; the veth pair goes with them."""
        for name in (self._phone, self._cloud):
            _remove(name)

    def cloud(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """In the cloud's namespace."""
        return "ip", ["netns", "exec", self._cloud, sys.executable, *words]

    def phone(self, words: Sequence[str]) -> list[str]:
        """In the phone's namespace."""
        return ["ip", "netns", "exec", self._phone, sys.executable, *words]

    @property
    def cloud_host(self) -> str:
        """The cloud's end of the veth pair."""
        return _CLOUD_IP

    @contextmanager
    def shaped(self, link: LinkProfile, server: Address) -> Iterator[Address]:
        """A token bucket at each end of the veth pair."""
        try:
            self._shape(self._phone, link.uplink_bps, link.rtt_s / 2)
            self._shape(self._cloud, link.downlink_bps, link.rtt_s / 2)
            yield server
        finally:
            for name in (self._phone, self._cloud):
                with suppress(BedError):
                    _run("tc", "-n", name, "qdisc", "del", "dev", _VETH, "root")

    def _shape(self, name: str, rate_bps: float, delay_s: float) -> None:
        """Let bits leave at that rate: of payload, the frames' headers come on top."""
        wire_bps = rate_bps * _FRAME_BYTES / _PAYLOAD_BYTES
        burst = max(_FRAME_BYTES + 26, round(wire_bps / 8 * _BURST_S))
        if rate_bps >= _FAST_BPS:
            burst = max(burst, 2 * _SEGMENT_BYTES)
        tbf = ["tbf", "rate", f"{round(wire_bps)}bit", "burst", str(burst)]
        tbf += ["limit", str(_QUEUE_BYTES)]
        _run("tc", "-n", name, "qdisc", "replace", "dev", _VETH, "root", "handle", "1:", *tbf)
        if self._has_delay and delay_s:
            netem = ["netem", "delay", f"{delay_s * 1e6:.0f}us", "limit", "10000"]
            _run("tc", "-n", name, "qdisc", "add", "dev", _VETH, "parent", "1:1", *netem)

    def _try_delay(self) -> bool:
        words = ("qdisc", "replace", "dev", _VETH, "root")
        try:
            _run("tc", "-n", self._phone, *words, "netem", "delay", "1ms")
        except BedError:
            return False
        _run("tc", "-n", self._phone, "qdisc", "del", "dev", _VETH, "root")
        return True


class Loopback(Closing):
    """Both sides on loopback, and a forwarder in user space that keeps to the link's rates."""

    how = "a forwarder in user space"
    cloud_host = "127.0.0.1"

    def close(self) -> None:
        """There is nothing to remove."""

    def cloud(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """On this machine."""
        return sys.executable, [*words]

    def phone(self, words: Sequence[str]) -> list[str]:
        """On this machine."""
        return [sys.executable, *words]

    @contextmanager
    def shaped(self, link: LinkProfile, server: Address) -> Iterator[Address]:
        """A forwarder before the server."""
        rates = {"uplink_bps": link.uplink_bps, "downlink_bps": link.downlink_bps}
        with LinkShaper(server, **rates, rtt_s=link.rtt_s) as shaper:
            yield shaper.address


def find_bed(user_space: bool = False) -> Namespaces | Loopback:
    """Namespaces where they can be had, else the forwarder; says on stderr why."""
    if user_space:
        return Loopback()
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if os.geteuid() == 0 and not missing:
        try:
            with Namespaces() as trial, trial.shaped(load_link("huang2012-3g"), Address("", 0)):
                return Namespaces()
        except BedError as error:
            why = str(error)
    else:
        why = f"{missing[0]} is not installed" if missing else "it takes root"
    print(f"testbed: no network namespaces ({why}); shaping in user space", file=sys.stderr)
    return Loopback()


def remove_leftovers() -> None:
    """Remove the namespaces of runs that were killed: those of processes that are gone."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for name, pid in re.findall(rf"^({_PREFIX}-(\d+)-[mc])\b", listed.stdout, re.MULTILINE):
        if not Path(f"/proc/{pid}").exists():
            _remove(name)


def _remove(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise BedError(f"{' '.join(words[:6])} … failed: {told}")
