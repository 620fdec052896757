"""Every kind of kernel together: the same numbers from one thread as from two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.passes.kernels.convolution import Convolution, Dense
from jointdnn_tvm.passes.kernels.depthwise import Depthwise
from jointdnn_tvm.passes.kernels.emitters import EMITTERS
from jointdnn_tvm.passes.kernels.matmul import Matmul
from jointdnn_tvm.passes.kernels.pooling import Pooling
from jointdnn_tvm.passes.kernels.softmax import Softmax
from jointdnn_tvm.passes.kernels.winograd import Winograd
from tests.activation_cases import matmul, pool, softmax
from tests.kernel_cases import convolution, dense
from tests.kernel_library import Library, check_all, check_written, machine

CASES = [
    convolution((1, 9, 11, 8), (1, 1, 8, 40), "bias_relu"),
    convolution((2, 13, 7, 5), (5, 3, 5, 12), "swish", strides=(2, 1), padding=(2, 1, 2, 1)),
    convolution((1, 12, 12, 6), (3, 3, 3, 10), "gate", groups=2, padding=(0, 1, 2, 0)),
    convolution((1, 17, 15, 37), (3, 3, 1, 37), "bias_tanh", groups=37, padding=(1, 1, 1, 1)),
    convolution((1, 30, 30, 32), (3, 3, 32, 32), "bias_residual", padding=(1, 1, 1, 1)),
    dense((1, 100), 130, "bias"),
    dense((33, 20), 31, "gelu"),
    pool((1, 15, 17, 20), (3, 3), "bias_relu", strides=(2, 2), padding=(1, 1, 1, 1)),
    pool((1, 6, 7, 70), (6, 7), kind="mean"),
    softmax((9, 130), 1, "bias"),
    matmul((3, 17, 30), (3, 23, 30), "b", "swish"),
    matmul((70, 5), (5, 20)),
    softmax((3, 8, 21), 1),
]
_RUN = """
import sys
import numpy as np
import tvm
from tvm import relax

library, arrays, results = sys.argv[1:]
machine = relax.VirtualMachine(tvm.runtime.load_module(library), tvm.cpu())
given = np.load(arrays)
found = {}
for case in sorted({name.split(".")[0] for name in given}):
    count = sum(name.split(".")[0] == case for name in given)
    arguments = [tvm.runtime.tensor(given[f"{case}.{i}"]) for i in range(count)]
    found[case] = machine[case](*arguments).numpy()
np.savez(results, **found)
"""


def test_every_kernel_has_an_emitter_under_its_name() -> None:
    kinds = (Convolution, Dense, Depthwise, Matmul, Pooling, Softmax, Winograd)
    assert set(EMITTERS) == {kind.name for kind in kinds}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(CASES, machine(256, 16, cores=2), tmp_path_factory.mktemp("two"))


def _results(library: Library, threads: int, folder: Path) -> dict[str, np.ndarray]:
    """What a process with so many threads computes."""
    given, found = folder / "given.npz", folder / f"found{threads}.npz"
    arguments = {
        f"case_{index}.{i}": array
        for index in range(len(CASES))
        for i, array in enumerate(library.arguments(index))
    }
    np.savez(given, allow_pickle=False, **arguments)
    command = [sys.executable, "-c", _RUN, str(library.path), str(given), str(found)]
    environment = {**os.environ, "TVM_NUM_THREADS": str(threads)}
    subprocess.run(command, env=environment, check=True, timeout=120)
    with np.load(found) as results:
        return dict(results)


def test_cases_are_of_every_kind_and_right(library: Library) -> None:
    check_written(library, set(EMITTERS))
    names = {name for index in range(len(CASES)) for name in library.kernels(index)}
    assert all(any(kind in name for name in names) for kind in EMITTERS)
    check_all(library, 3e-5)


def test_two_threads_give_the_same_bits_as_one(library: Library, tmp_path: Path) -> None:
    one, two = (_results(library, threads, tmp_path) for threads in (1, 2))
    assert one.keys() == two.keys() == {f"case_{index}" for index in range(len(CASES))}
    for name, expected in one.items():
        assert expected.tobytes() == two[name].tobytes(), name
