"""A test bed on one machine: a slowed phone and a native cloud, with a shaped link between them.

    python benchmarks/testbed.py BUNDLE... [--link huang2012-wifi] [--slowdown 3] [--repeat 20]

runs bundles for real and prints the latency of each. EMULATED are the phone's processor (a process
that is stopped most of the time) and the link: two network namespaces, a veth pair between them,
and a token bucket (`tc … tbf`) at each end with the profile's rate, with its delay (`netem`) where
the kernel has that. It takes root. Without root, `ip` or `tc` it says so, and a forwarder in user
space shapes the link instead. Whatever it makes is removed when it ends; what a run left that was
killed, the next one removes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from undisturbed import awake, urgent

from jointdnn_tvm.deploy.file_cache import FileCache
from jointdnn_tvm.deploy.link_shaper import LinkShaper
from jointdnn_tvm.deploy.server_process import ServerProcess
from jointdnn_tvm.deploy.throttle import Throttle
from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.file_transfer import file_digest
from jointdnn_tvm.targets import LinkProfile, load_link

KEY = "cloud"
SLOWDOWN = 3.0
_PREFIX = "jointdnn-bed"
_CLOUD_IP, _PHONE_IP = "10.77.0.1", "10.77.0.2"  # each pair of namespaces is a world of its own
_VETH = "link0"
_FRAME_BYTES, _PAYLOAD_BYTES = 1514, 1448  # of TCP over Ethernet, with time stamps
_BURST_S = 0.001
_SEGMENT_BYTES = 65536  # the kernel hands several frames on as one where the bucket takes it
_FAST_BPS = 500e6
_QUEUE_BYTES = 8 << 20
_START_S = 60.0
SERVER = ("-m", "jointdnn_tvm.cli", "device")
PHONE = (str(Path(__file__).with_name("testbed_phone.py")),)
ONE_THREAD = {"TVM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Both sides share few cores: a second thread would wait for whatever else runs there."""


class BedError(JointdnnError):
    """The test bed cannot be made, or its phone failed."""


class Bed(Protocol):
    """Where the two sides run, and the link between them."""

    how: str

    def cloud(self, words: Sequence[str]) -> tuple[str, list[str]]:
        """Program and arguments that run Python with these arguments on the cloud's side."""

    def phone(self, words: Sequence[str]) -> list[str]:
        """A command that runs Python with these arguments on the phone's side."""

    @property
    def cloud_host(self) -> str:
        """The address at which the cloud's side listens."""

    def shaped(self, link: LinkProfile, server: Address) -> Any:
        """A context in which the link has these rates; gives where the phone finds the server."""


class Namespaces:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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


class Loopback:
    """Both sides on loopback, and a forwarder in user space that keeps to the link's rates."""

    how = "a forwarder in user space"
    cloud_host = "127.0.0.1"

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

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


class Cloud:
    """The cloud's device server, native, and the cache that its files are put into."""

    def __init__(self, bed: Bed, folder: Path, program: Sequence[str] = SERVER) -> None:
        self._cache = FileCache(folder)
        words = [*program, "--host", bed.cloud_host, "--port", "0"]
        words += ["--key", KEY, "--cache", str(folder), "--until-stdin-closes"]
        program, arguments = bed.cloud(words)
        with urgent():
            self._server = ServerProcess("cloud device server", arguments, ONE_THREAD, program)
        try:
            self.address = self._server.wait_ready(_START_S)
        except BaseException:
            self._server.close()
            raise

    def give(self, *files: Path) -> None:
        """Put files into its cache past the link, which may be slow."""
        for path in files:
            digest, size = file_digest(path), path.stat().st_size
            if not self._cache.has(digest, size):
                with self._cache.writer(digest, size) as target, path.open("rb") as source:
                    shutil.copyfileobj(source, target)

    def __enter__(self) -> Cloud:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()


class Phone:
    """The process on the phone's side: it does one job after the other; see `testbed_phone.py`."""

    def __init__(self, bed: Bed, program: Sequence[str] = PHONE) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        with urgent():
            self._process = subprocess.Popen(
                bed.phone(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                start_new_session=True,
                env={**os.environ, **ONE_THREAD, "TVM_USE_RUNTIME_LIB": "1"},
            )

    @contextmanager
    def slowed(self, factor: float) -> Iterator[None]:
        """It is stopped most of the time."""
        throttle = Throttle(self._process.pid, factor)
        with urgent(2):  # before what it stops
            throttle.start()
        try:
            yield
        finally:
            throttle.stop()

    def do(self, job: str, **arguments: Any) -> Any:
        """Have it do a job and return the result; BedError when it failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"job": job, **arguments}) + "\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise BedError(f"the phone ended: {self._last_words()}")
        answer = json.loads(said)
        if "error" in answer:
            raise BedError(f"the phone could not {job}: {answer['error']}")
        return answer["result"]

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode().splitlines() if line.strip()]
        return lines[-1] if lines else "it left no log"

    def __enter__(self) -> Phone:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sig in (signal.SIGCONT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sig)
        self._process.communicate()
        self._log.close()


@contextmanager
def on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program as Ctrl-C does, so that what it made is removed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = [(sig, signal.signal(sig, stop)) for sig in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for sig, handler in before:
            signal.signal(sig, handler)


def main() -> int:
    """Runs bundles on the test bed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--link", default="huang2012-wifi", help="profile or rates (%(default)s)")
    parser.add_argument("--slowdown", type=float, default=SLOWDOWN, help="default %(default)g")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="default %(default)s")
    parser.add_argument("--user-space", action="store_true", help="shape without root")
    options = parser.parse_args()
    link = load_link(options.link)
    with on_signals(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jointdnn-bed-")))
        stack.enter_context(awake())
        bed = stack.enter_context(find_bed(options.user_space))
        cloud = stack.enter_context(Cloud(bed, folder))
        phone = stack.enter_context(Phone(bed))
        print(f"EMULATED: {bed.how}; the phone is slowed {options.slowdown:g}x; {link.name}")
        for bundle in options.bundles:
            cloud.give(*bundle.glob("cloud*"))
            with bed.shaped(link, cloud.address) as address:
                phone.do("open", bundle=str(bundle.absolute()), cloud=str(address), key=KEY)
                with phone.slowed(options.slowdown):
                    began = time.monotonic()
                    queries = phone.do("run", least=options.repeat, most=options.repeat, seconds=0)
                    took_s = time.monotonic() - began
                phone.do("close")
            seconds = [query_s for query_s, _ in queries]
            print(
                f"{bundle}: median {statistics.median(seconds) * 1e3:.2f} ms, least "
                f"{min(seconds) * 1e3:.2f} ms of {len(seconds)} queries in {took_s:.1f} s"
            )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (JointdnnError, OSError) as error:
        sys.exit(f"testbed: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
