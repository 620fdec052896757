"""Try choices of your own for one kernel of a network, on this machine, beside the rule's.

    python scripts/try_choices.py model.onnx                                    # lists the kernels
    python scripts/try_choices.py model.onnx --kernel 0 rows=6,vectors=4 unroll=8,in_rows=1

It is what `jointdnn tune` does for a batch of choices, without the search.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import jointdnn_tvm as jd
from jointdnn_tvm.cost.bench import Bench, EvaluatorConfig
from jointdnn_tvm.cost.race import race
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.runtime.remote import connect
from jointdnn_tvm.tuning.candidates import build_candidate
from jointdnn_tvm.tuning.groups import kernels_of_groups
from jointdnn_tvm.tuning.space import Space, with_choice


def main() -> int:
    """Races the choices, or lists the kernels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("choices", nargs="*", metavar="NAME=NUMBER,…")
    parser.add_argument("--kernel", type=int, default=0, metavar="N", help="as they are listed")
    args = parser.parse_intermixed_args()
    network, profile = jd.load_network(args.model), jd.target("host")
    names = {group.key: group.name for group in network.graph.groups}
    listed = [
        (kernel, (key, names[key]))
        for key, kernels in kernels_of_groups(network, profile).items()
        for kernel in kernels
    ]
    if not args.choices:
        for number, (kernel, _) in enumerate(listed):
            print(f"{number:3} {kernel!r}\n    by the rules {dict(Space(kernel, profile).rule)}")
        return 0
    kernel, group = listed[args.kernel]
    space = Space(kernel, profile)
    choices = [space.rule, *({**space.rule, **_read(text)} for text in args.choices)]
    with tempfile.TemporaryDirectory() as folder, LoopbackLab() as lab:
        candidates = [
            build_candidate(
                network, group, with_choice(profile, kernel, choice), Path(folder) / f"{i}.so"
            )
            for i, choice in enumerate(choices)
        ]
        with closing(Bench(lambda: connect(lab.address("cloud")), "cpu", EvaluatorConfig())) as b:
            outcomes = race(b, [c.entrant for c in candidates], 15, 5, 60.0)
    for choice, outcome in zip(choices, outcomes, strict=True):
        print(f"{outcome.share:6.3f} of the rule's time  {choice} {outcome.reason or ''}")
    return 0


def _read(text: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (p.partition("=") for p in text.split(","))}


if __name__ == "__main__":
    sys.exit(main())
