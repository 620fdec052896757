"""Arguments that several verbs share, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jointdnn_tvm.errors import ModelError

if TYPE_CHECKING:
    from jointdnn_tvm.api import Devices
    from jointdnn_tvm.placement import Limits

# Option, key of `Limits`, how many of the option's units make one of the key's, and its help.
_LIMITS = (
    ("--deadline-ms", "max_latency_s", 1e3, "most milliseconds a query may take"),
    ("--max-energy-mj", "max_energy_j", 1e3, "most millijoules of the mobile a query"),
    ("--max-cloud-ms", "max_cloud_s", 1e3, "most milliseconds of the cloud's computing a query"),
    ("--max-mobile-mb", "max_mobile_bytes", 1e-6, "most megabytes of weights on the mobile"),
    (
        "--max-mobile-peak-mb",
        "max_mobile_peak_bytes",
        1e-6,
        "most megabytes on the mobile of weights and the tensors held at once",
    ),
    ("--max-error", "max_error", 1.0, "largest sum of the errors of the codecs used"),
)


def add_model(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """MODEL and the shapes of its inputs."""
    parser.add_argument("model", metavar="MODEL", nargs="?" if optional else None, help="ONNX file")
    add_shapes(parser)


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """The shapes of inputs that the file leaves open."""
    parser.add_argument(
        "--shape",
        metavar="NAME=1,3,224,224",
        action="append",
        default=[],
        help="shape of an input that the file leaves open (may be repeated)",
    )


def shapes(args: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    """Read every --shape; ModelError for one that is not NAME=NUMBERS."""
    found = {}
    for text in args.shape:
        name, _, numbers = text.rpartition("=")
        try:
            dims = tuple(int(n) for n in numbers.split(",")) if numbers else ()
        except ValueError:
            dims = (-1,)
        if not name or any(d < 0 for d in dims):
            raise ModelError(f"--shape {text!r} is not NAME=1,3,224,224")
        found[name] = dims
    return found


def add_targets(parser: argparse.ArgumentParser) -> None:
    """The two kinds of device, and where devices of those kinds are."""
    for side in ("mobile", "cloud"):
        parser.add_argument(
            f"--{side}", metavar="TARGET", default="host", help=f"{side} target (default: host)"
        )
    parser.add_argument(
        "--tracker",
        metavar="HOST:PORT",
        help="tracker of the device servers (default: two of them on loopback, for this run)",
    )
    for side in ("mobile", "cloud"):
        parser.add_argument(
            f"--{side}-key",
            metavar="KEY",
            default=side,
            help=f"key of the {side} devices at the tracker (default: {side})",
        )
    parser.add_argument(
        "--costs",
        metavar="FILE",
        type=Path,
        help="measurement database (default: the user's own), or `analytic`: no device is asked, "
        "times are those that the targets' peak and bandwidth allow",
    )
    parser.add_argument(
        "--device-timeout",
        metavar="S",
        type=positive_seconds,
        default=30.0,
        help="seconds to wait for a device that is free (default: 30)",
    )


def devices(args: argparse.Namespace) -> Devices | None:
    """Where the device servers are, or None when they shall be started on loopback."""
    from jointdnn_tvm.api import Devices
    from jointdnn_tvm.runtime.address import Address

    if args.tracker is None:
        return None
    Address.parse(args.tracker)
    return Devices(args.tracker, args.mobile_key, args.cloud_key, args.device_timeout)


def add_planning(parser: argparse.ArgumentParser) -> None:
    """The link, what is to be least, and the limits."""
    parser.add_argument(
        "--link",
        metavar="LINK",
        default="huang2012-wifi",
        help="link profile, up=5.85e6,down=13.76e6,rtt=0.05, or `probe`: the one between the "
        "devices, timed now; PROFILE,probe adds that profile's radio (default: huang2012-wifi)",
    )
    parser.add_argument(
        "--objective", choices=("latency", "energy", "throughput"), default="latency"
    )
    parser.add_argument(
        "--placement",
        metavar="P",
        default="auto",
        help="auto, mobile-only, cloud-only, random:SEED, or a JSON file (default: auto)",
    )
    parser.add_argument(
        "--codecs",
        choices=("none", "lossless", "lossy"),
        default="lossless",
        help="how tensors may be encoded for the link: not at all, with every bit coming back, or "
        "within --max-error on the samples of --calibrate (default: lossless)",
    )
    parser.add_argument(
        "--calibrate",
        metavar="FILE.npz|DIR",
        type=Path,
        help="inputs that show how small tensors get, and at which error (default: noise)",
    )
    add_limits(parser)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """What a plan may take."""
    group = parser.add_argument_group("limits of a plan")
    for option, _, _, text in _LIMITS:
        group.add_argument(
            option, metavar=option.rpartition("-")[2].upper(), type=amount, help=text
        )


def limits(args: argparse.Namespace) -> Limits:
    """The limits that are given, in seconds, joules and bytes."""
    from jointdnn_tvm.placement import Limits

    given = {
        key: value / units
        for option, key, units, _ in _LIMITS
        if (value := getattr(args, option.lstrip("-").replace("-", "_"))) is not None
    }
    return Limits(**given)


def amount(text: str) -> float:
    """Parse a finite number of 0 or more."""
    value = float(text)
    if not 0 <= value < 1e90:
        raise argparse.ArgumentTypeError(f"{text} is not a number of 0 or more")
    return value


def positive(text: str) -> int:
    """Parse a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def positive_seconds(text: str) -> float:
    """Parse a number of seconds above 0."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def add_cloud(parser: argparse.ArgumentParser) -> None:
    """Where a bundle's cloud stages run."""
    parser.add_argument(
        "--cloud",
        metavar="HOST:PORT",
        help="device server for the cloud stages, or `local` for this process",
    )
    parser.add_argument(
        "--tracker", metavar="HOST:PORT", help="tracker to ask for a device for the cloud stages"
    )
    parser.add_argument(
        "--cloud-key",
        metavar="KEY",
        default="cloud",
        help="key of the cloud device (default: cloud)",
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=positive_seconds,
        default=30.0,
        help="seconds that a remote call may take (default: 30)",
    )
