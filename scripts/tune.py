"""Tune several networks on all devices of a key, one after the other; read it and change it.

    jointdnn tracker --host 192.0.2.1                                            # here
    jointdnn device --tracker 192.0.2.1:9190 --key phone --target raspberry-pi-4   # on each board
    python scripts/tune.py detector.onnx reader.onnx --target raspberry-pi-4 \
        --tracker 192.0.2.1:9190 --key phone --minutes 30

Later networks start from what earlier ones found: kernels of the same shape are tuned once.
"""

from __future__ import annotations

import argparse
import sys

import jointdnn_tvm as jd
from jointdnn_tvm.cli.tune import watched
from jointdnn_tvm.errors import JointdnnError


def main() -> int:
    """Tunes each network, and says what that brought."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--target", default="host")
    parser.add_argument("--tracker", metavar="HOST:PORT", help="default: a device on loopback")
    parser.add_argument("--key", default="mobile")
    parser.add_argument("--minutes", type=float, default=10, metavar="N", help="for each network")
    args = parser.parse_args()
    for model in args.models:
        try:
            with watched() as watch:
                tuning = jd.tune(
                    jd.load_network(model),
                    target=args.target,
                    tracker=args.tracker,
                    key=args.key,
                    minutes=args.minutes,
                    watch=watch,
                )
        except JointdnnError as error:
            print(f"{model}: {error}", file=sys.stderr)
            return 1
        print(f"{model}: {tuning.share:.3f} of its time before, {len(tuning.records)} new records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
