"""The ONNX project's own backend tests, through this project's importer and through TVM's alone.

    python benchmarks/onnx_suite.py [--kind node] [--filter conv] [--jobs 2] [--json FILE]

Each test is a small model with inputs and expected outputs. Inputs that stand for a shape, an
axis or another setting (scalars, short lists of integers) are given to both importers as
constants, as in the models that people deploy. A test passes when every output has the expected
type and shape, and values within the test's own tolerances. Tests run in worker processes, so
that a crash or an endless compilation costs one test.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
IMPORTERS = ("ours", "stock")
_DTYPES = {np.dtype(name) for name in ["float16", "float32", "float64", "bool"]} | {
    np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_SHAPED_BY_INPUT = (
    *("BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "If", "MelWeightMatrix"),
    "Range",
)
_MAX_SETTING = 16
"""A list of so many integers, given as an input, is taken for a shape, axes, pads and the like."""


@dataclass(frozen=True)
class Case:
    """A test: the model, one set of inputs and the expected outputs."""

    kind: str
    name: str
    model: onnx.ModelProto
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    rtol: float
    atol: float


def load_cases(kind: str) -> Iterator[Case]:
    """The tests of one kind whose inputs and outputs are tensors of plain numbers.

    Tests of an operator written out as its function body are left out: the import does that.
    """
    from onnx.backend.test.loader import load_model_tests

    for test in sorted(load_model_tests(kind=kind), key=lambda test: test.name):
        if "_expanded" in test.name:
            continue
        model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
        if test.data_sets:
            inputs, outputs = test.data_sets[0]
        else:
            inputs, outputs = (
                _read_set(Path(test.model_dir), what) for what in ("input", "output")
            )
        values = [*inputs, *outputs]
        if all(isinstance(v, (np.ndarray, np.generic)) and v.dtype in _DTYPES for v in values):
            inputs, outputs = ([np.asarray(v) for v in part] for part in (inputs, outputs))
            yield Case(kind, test.name, model, inputs, outputs, test.rtol, test.atol)


def _read_set(folder: Path, what: str) -> list[Any]:
    files = (folder / "test_data_set_0").glob(f"{what}_*.pb")
    ordered = sorted(files, key=lambda file: int(file.stem.split("_")[1]))
    return [_read_tensor(file) for file in ordered]


def _read_tensor(file: Path) -> Any:
    try:
        return numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))
    except Exception:  # a sequence or an optional: not a test for us
        return None


def freeze_settings(case: Case) -> tuple[onnx.ModelProto, list[np.ndarray]]:
    """The model with inputs that are settings made constants, and the inputs that are left."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    initializers = {tensor.name for tensor in model.graph.initializer}
    names = [item.name for item in model.graph.input if item.name not in initializers]
    is_setting = [_is_setting(array) for array in case.inputs]
    if all(is_setting) and any(node.input for node in model.graph.node):
        is_setting[0] = _needs_constants(model)
    left = []
    for name, array, frozen in zip(names, case.inputs, is_setting, strict=False):
        if not frozen:
            left.append(array)
            continue
        model.graph.initializer.append(numpy_helper.from_array(array, name))
        index = next(i for i, item in enumerate(model.graph.input) if item.name == name)
        del model.graph.input[index]
    return model, left


def _is_setting(array: np.ndarray) -> bool:
    if array.ndim == 0:
        return True
    return array.ndim == 1 and array.dtype in (np.int32, np.int64) and array.size <= _MAX_SETTING


def _needs_constants(model: onnx.ModelProto) -> bool:
    return any(node.op_type in _SHAPED_BY_INPUT for node in model.graph.node)


def run_case(case: Case, importer: str) -> str:
    """Runs a test; the answer is empty when it passes, else one line that says why not."""
    try:
        model, inputs = freeze_settings(case)
        outputs = (_run_ours if importer == "ours" else _run_stock)(model, inputs, case.name)
    except Exception as error:
        text = " ".join(str(error).split())
        return f"{type(error).__name__}: {text[:400]}"
    return compare(outputs, case)


def compare(outputs: list[np.ndarray], case: Case) -> str:
    """Compares as the ONNX project's own runner does: type, shape, then values."""
    if len(outputs) != len(case.outputs):
        return f"Wrong: {len(outputs)} outputs instead of {len(case.outputs)}"
    for index, (actual, wanted) in enumerate(zip(outputs, case.outputs, strict=True)):
        if actual.dtype != wanted.dtype:
            return f"Wrong: output {index} is {actual.dtype} instead of {wanted.dtype}"
        if actual.shape != wanted.shape:
            return f"Wrong: output {index} has shape {actual.shape} instead of {wanted.shape}"
        if not np.allclose(actual, wanted, case.rtol, case.atol, equal_nan=True):
            with np.errstate(all="ignore"):
                worst = np.nanmax(np.abs(actual.astype("f8") - wanted.astype("f8")))
            return f"Wrong: output {index} differs by {worst:.3g}"
    return ""


def _run_ours(model: onnx.ModelProto, inputs: list[np.ndarray], name: str) -> list[np.ndarray]:
    from jointdnn_tvm.network import load_network

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        network = load_network(path, _shapes(model, inputs))
    return _build_and_run(network.module, [*inputs, *network.weights.values()])


def _shapes(model: onnx.ModelProto, inputs: list[np.ndarray]) -> dict[str, tuple[int, ...]]:
    initializers = {tensor.name for tensor in model.graph.initializer}
    names = [item.name for item in model.graph.input if item.name not in initializers]
    return {name: array.shape for name, array in zip(names, inputs, strict=False)}


def _run_stock(model: onnx.ModelProto, inputs: list[np.ndarray], name: str) -> list[np.ndarray]:
    from tvm.relax.frontend.onnx import from_onnx

    shapes = {key: list(shape) for key, shape in _shapes(model, inputs).items()}
    module = from_onnx(model, shape_dict=shapes, keep_params_in_input=False)
    return _build_and_run(module, inputs)


def _build_and_run(module: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    import tvm
    from tvm import relax

    executable = tvm.compile(module, target=tvm.target.Target({"kind": "llvm"}))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*[tvm.runtime.tensor(value) for value in values])
    fields = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [field.numpy() for field in fields]


def work(connection: Connection, kinds: list[str]) -> None:
    """A worker: answers (kind, test, importer) with the reason of its failure, or nothing."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os.dup2(sys.stderr.fileno(), 2)
    warnings.simplefilter("ignore")
    cases = {(kind, case.name): case for kind in kinds for case in load_cases(kind)}
    connection.send("ready")
    while (job := connection.recv()) is not None:
        kind, name, importer = job
        connection.send(run_case(cases[kind, name], importer))


class Worker:
    """A worker process that is started again when it dies or takes too long."""

    def __init__(self, kinds: list[str], timeout_s: float) -> None:
        self._kinds, self._timeout_s = kinds, timeout_s
        self.job: tuple[str, str, str] | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=work, args=(other, self._kinds), daemon=True)
        self._process.start()
        other.close()
        if self.connection.recv() != "ready":
            raise RuntimeError("a worker did not start")

    def give(self, job: tuple[str, str, str]) -> None:
        """Starts a test."""
        self.job = job
        self.deadline = time.monotonic() + self._timeout_s
        self.connection.send(job)

    def collect(self) -> str | None:
        """The result of the test, or None while it runs."""
        try:
            if self.connection.poll(0):
                return str(self.connection.recv())
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._start()
            return f"Crash: the process ended with {code}"
        if time.monotonic() < self.deadline:
            return None
        self._process.kill()
        self._process.join()
        self._start()
        return f"Timeout: more than {self._timeout_s:.0f} s"

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()


def run_all(
    jobs: list[tuple[str, str, str]], kinds: list[str], workers: int, timeout_s: float
) -> dict[tuple[str, str, str], str]:
    """Runs every (kind, test, importer); the results are reasons of failure, empty for none."""
    pool = [Worker(kinds, timeout_s) for _ in range(workers)]
    pending, results = jobs[::-1], {}
    try:
        while pending or any(worker.job for worker in pool):
            for worker in pool:
                if worker.job is not None and (answer := worker.collect()) is not None:
                    results[worker.job] = answer
                    worker.job = None
                if worker.job is None and pending:
                    worker.give(pending.pop())
            if sys.stderr.isatty():
                print(f"\r{len(results)} of {len(jobs)}", end="", file=sys.stderr)
            multiprocessing.connection.wait([w.connection for w in pool if w.job], timeout=1)
    finally:
        for worker in pool:
            worker.stop()
    return results


def reason_of(failure: str) -> str:
    """A failure without what differs from test to test."""
    if "cannot be imported; export" in failure or "not supported for frontend" in failure:
        return "operator not supported"
    head, _, rest = failure.partition(":")
    rest = re.sub(r"'[^']*'|\d[\d.e+-]*", "_", rest)
    return f"{head}:{rest[:80]}"


def print_report(results: dict[tuple[str, str, str], str]) -> None:
    """The counts for each kind and importer, then the failures of ours by reason."""
    for kind in KINDS:
        total = len({name for k, name, _ in results if k == kind})
        counts = [
            sum(not why for (k, _, i), why in results.items() if (k, i) == (kind, importer))
            for importer in IMPORTERS
        ]
        lost = [
            name
            for (k, name, importer), why in results.items()
            if k == kind and importer == "ours" and why and results.get((k, name, "stock")) == ""
        ]
        if total:
            print(f"{kind:18} {total:5} tests: ours {counts[0]:5}, TVM's importer {counts[1]:5}")
        if lost:
            print(f"  lost: {', '.join(sorted(lost))}")
    reasons = Counter(reason_of(why) for (_, _, i), why in results.items() if why and i == "ours")
    for reason, count in reasons.most_common(40):
        print(f"{count:6}  {reason}")


def main() -> int:
    """Runs the tests asked for and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="default: all")
    parser.add_argument("--filter", default="", metavar="TEXT", help="only tests named so")
    parser.add_argument("--importer", choices=IMPORTERS, action="append", help="default: both")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every test's result")
    options = parser.parse_args()
    kinds, importers = options.kind or list(KINDS), options.importer or list(IMPORTERS)
    jobs = [
        (kind, case.name, importer)
        for kind in kinds
        for case in load_cases(kind)
        if options.filter in case.name
        for importer in importers
    ]
    results = run_all(jobs, kinds, options.jobs, options.timeout)
    print_report(results)
    if options.json:
        rows = [
            {"kind": k, "test": name, "importer": importer, "passed": not why, "reason": why}
            for (k, name, importer), why in sorted(results.items())
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
