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
import statistics
import sys
import time
from pathlib import Path

from bed_site import Rounds, add_lab_options, open_lab, site_on

from jointdnn_tvm.errors import JointdnnError
from jointdnn_tvm.targets import load_link


def main() -> int:
    """Runs bundles on the test bed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--link", default="huang2012-wifi", help="profile or rates (%(default)s)")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="default %(default)s")
    add_lab_options(parser)
    options = parser.parse_args()
    link = load_link(options.link)
    queries = {"least": options.repeat, "most": options.repeat, "seconds": 0}
    with open_lab(options) as lab, site_on(lab, link) as site:
        for bundle in options.bundles:
            began = time.monotonic()
            (turn,) = site.in_turns({"": bundle.absolute()}, None, Rounds(1, 1), **queries)[""]
            took_s = time.monotonic() - began
            seconds = [query_s for query_s, _ in turn.queries]
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
