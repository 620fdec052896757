"""`jointdnn device`: let TVM RPC clients measure, tune and run on this machine."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from jointdnn_tvm.deploy.sockets import warn_if_exposed
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.targets import TargetProfile, load_target

HELP = "serve this machine as a device, registered with a tracker"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--tracker", metavar="HOST:PORT", help="register with this tracker")
    parser.add_argument(
        "--key", type=_key, default="device", help="what clients ask the tracker for"
    )
    parser.add_argument("--target", default="host", help="the profile of this machine")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=9090, help="0: any free one (%(default)s)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where received files are kept")
    parser.add_argument(
        "--cache-bytes", type=int, metavar="N", help="how much may be kept there (16 GiB)"
    )
    parser.add_argument(
        "--silence-s",
        type=_seconds,
        default=3600.0,
        metavar="N",
        help="end a session whose client says nothing for so long (%(default)g)",
    )
    parser.add_argument(
        "--slowdown",
        type=_factor,
        default=1.0,
        metavar="F",
        help="emulate a processor F times slower by stopping sessions most of the time",
    )
    parser.add_argument("--sensors", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    parser.add_argument("--private-cache", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    """Serve in the foreground until SIGTERM or Ctrl-C."""
    profile = load_target(args.target)
    tracker = Address.parse(args.tracker) if args.tracker else None
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")  # a device needs no compiler
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the process that forks has one thread
    _check_driver(profile)
    from jointdnn_tvm.deploy.device_server import DeviceConfig, DeviceServer
    from jointdnn_tvm.deploy.file_cache import DEFAULT_CAPACITY_BYTES, default_directory

    with _private_folder() if args.private_cache else nullcontext(args.cache) as cache:
        config = DeviceConfig(
            cache=cache or default_directory(),
            host=args.host,
            port=args.port,
            key=args.key,
            tracker=tracker,
            target=profile.name,
            slowdown=args.slowdown,
            silence_s=args.silence_s,
            cache_bytes=args.cache_bytes or DEFAULT_CAPACITY_BYTES,
            sensors=args.sensors,
        )
        server = DeviceServer(config)
        _warn(config.host, config.tracker)
        server.register()
        if args.until_stdin_closes:
            server.stop_at_end_of(0)
        print(f"READY {server.address}", flush=True)
        server.serve()


def _check_driver(profile: TargetProfile) -> None:
    from jointdnn_tvm.runtime.backends import has_cuda_driver

    if profile.kind == "cuda" and not has_cuda_driver():
        raise DeviceError(
            f"target {profile.name} needs NVIDIA's driver, and this machine has none (libcuda.so.1)"
            "; install it, or start the device server on the machine with the GPU"
        )


@contextmanager
def _private_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="jointdnn-device-") as folder:
        yield Path(folder)


def _warn(host: str, tracker: Address | None) -> None:
    warn_if_exposed(host, "run any code as this user")
    if Address(host, 0).is_loopback and tracker is not None and not tracker.is_loopback:
        print(
            f"jointdnn: WARNING: clients elsewhere cannot reach {host}; "
            f"give --host an address that they can",
            file=sys.stderr,
        )


def _key(text: str) -> str:
    if not text or len(text.split()) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one word")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1000000")
    return seconds


def _factor(text: str) -> float:
    factor = float(text)
    if not 1 <= factor <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 1000")
    return factor
