"""Where the time of networks goes, by class of kernel, and which kernels could be faster.

    python benchmarks/kernel_classes.py [--network squeezenet] [--threads 2] [--json FILE]

What bounds a kernel is the longer of two times: its operations (of the direct algorithm, so that
Winograd's may reach more than all) at the rate of multiply-adds from registers, and the bytes of
its operands and result at the rate of a triad over arrays that no cache holds. Both rates are
measured between the runs; all figures are medians over the same rounds. What the caches hold may
come faster than the triad's. Watching a kernel costs about a microsecond, which is in its time.
Concatenations are copies of their own here; in a compiled network kernels write into them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_work import CLASSES
from known_networks import network_names
from own_process import ScriptError, answer_of
from time_kernels import arguments

from jointdnn_tvm.cli.console import note, progress

_ENOUGH = 0.8  # of what bounds a kernel
_HEADINGS = ("time ms", "share", "kernels", "GFLOP/s", "of peak", "GB/s", "of memory", "of bound")


@dataclass(frozen=True)
class Kernel:
    """One kernel of a network, all its calls in a run together."""

    network: str
    name: str
    kind: str
    calls: int
    seconds: float
    flops: int
    moved_bytes: int
    shapes: list[list[int]]
    computing_s: float
    """At the peak."""
    moving_s: float
    """At the memory's rate."""

    @property
    def bound_s(self) -> float:
        """The time that it cannot beat, unless caches or the algorithm help."""
        return max(self.computing_s, self.moving_s)


def read_kernels(document: dict[str, Any]) -> list[Kernel]:
    """The kernels of one network that `time_kernels.py` timed."""
    return [
        Kernel(
            document["network"],
            item["name"],
            item["kind"],
            item["calls"],
            item["seconds"],
            item["flops"],
            item["bytes"],
            item["shapes"],
            item["flops"] / document["peak_flops"],
            item["bytes"] / document["bandwidth_bytes_per_s"],
        )
        for item in document["kernels"]
    ]


def measure(names: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """What `time_kernels.py` answers for each network that could be run."""
    passed = {"threads": options.threads, "repeat": options.repeat, "target": options.target}
    passed |= {"models": options.models} if options.models else {}
    flags = [text for key, value in passed.items() for text in (f"--{key}", str(value))]
    documents = []
    with progress() as report:
        for done, name in enumerate(names):
            report("networks", done, len(names))
            try:
                documents.append(answer_of("time_kernels.py", [name, *flags], options.threads))
            except ScriptError as error:
                note(f"{name}: {error}")
        report("networks", len(names), len(names))
    return documents


def print_classes(kernels: Sequence[Kernel]) -> None:
    """One line a class, and one for all."""
    total_s = sum(kernel.seconds for kernel in kernels)
    print(_aligned("class", _HEADINGS))
    for kind in CLASSES:
        mine = [kernel for kernel in kernels if kernel.kind == kind]
        if mine:
            print(_aligned(kind, _cells(mine, total_s)))
    print(_aligned("all", _cells(kernels, total_s)))


def _cells(kernels: Sequence[Kernel], total_s: float) -> list[str]:
    seconds = sum(kernel.seconds for kernel in kernels)

    def share(times: Iterable[float]) -> str:
        return f"{100 * sum(times) / seconds:.0f} %"

    return [
        f"{1e3 * seconds:.2f}",
        f"{100 * seconds / total_s:.1f} %",
        str(sum(kernel.calls for kernel in kernels)),
        f"{sum(kernel.flops for kernel in kernels) / seconds / 1e9:.1f}",
        share(kernel.computing_s for kernel in kernels),
        f"{sum(kernel.moved_bytes for kernel in kernels) / seconds / 1e9:.1f}",
        share(kernel.moving_s for kernel in kernels),
        share(kernel.bound_s for kernel in kernels),
    ]


def _aligned(name: str, cells: Sequence[str]) -> str:
    return f"{name:19}" + "".join(f"{cell:>11}" for cell in cells)


def print_slow(kernels: Sequence[Kernel], most: int) -> None:
    """The kernels further from what bounds them than is enough, by what they lose."""
    slow = [k for k in kernels if 0 < k.bound_s < _ENOUGH * k.seconds]
    slow.sort(key=lambda kernel: kernel.bound_s - kernel.seconds)
    print(f"\n{len(slow)} of {len(kernels)} under {100 * _ENOUGH:.0f} % of what bounds them:")
    for k in slow[:most]:
        by = "operations" if k.computing_s > k.moving_s else "memory"
        shapes = " ".join("x".join(map(str, shape)) for shape in k.shapes)
        print(
            f"{k.network:13} {1e6 * k.seconds:9.1f} us {100 * k.bound_s / k.seconds:4.0f} % of "
            f"{by:10} x{k.calls:<3} {k.kind:18} {k.name[:48]}  {shapes[:100]}"
        )


def main() -> int:
    """Times the networks asked for and prints both tables; 1 when one could not be run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[arguments()])
    parser.add_argument(
        "--network", action="append", choices=network_names(), metavar="NAME", help="default: all"
    )
    parser.add_argument("--slowest", type=int, default=30, metavar="COUNT", help="default 30")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every kernel's numbers")
    options = parser.parse_args()
    names = options.network or network_names()
    documents = measure(names, options)
    for document in documents:
        peak, stream = document["peak_flops"], document["bandwidth_bytes_per_s"]
        kernels_s = sum(item["seconds"] for item in document["kernels"])
        print(
            f"{document['network']:13} {1e3 * document['whole_s']:9.2f} ms whole, "
            f"{1e3 * kernels_s:9.2f} ms in kernels; {peak / 1e9:.1f} GFLOP/s at most, "
            f"{stream / 1e9:.1f} GB/s from memory"
        )
    kernels = [kernel for document in documents for kernel in read_kernels(document)]
    if kernels:
        print_classes(kernels)
        print_slow(kernels, options.slowest)
    if options.json:
        options.json.write_text(json.dumps(documents, indent=1) + "\n")
    return 0 if len(documents) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
