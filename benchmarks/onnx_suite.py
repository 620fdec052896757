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
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from worker_pool import run_jobs

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.network import Network, load_network
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target

Array = np.ndarray[Any, Any]

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
    inputs: list[Array]
    outputs: list[Array]
    rtol: float
    atol: float


def load_cases(kind: str) -> Iterator[Case]:
    """The tests of one kind whose inputs and outputs are tensors of plain numbers.

    Tests of an operator written out as its function body are left out: the import does that.
    """
    with warnings.catch_warnings(action="ignore"):  # the tests of infinities divide by zero
        tests = load_model_tests(kind=kind)
    for test in sorted(tests, key=lambda test: test.name):
        if "_expanded" in test.name:
            continue
        folder = Path(test.model_dir or "")
        model = test.model or onnx.load(folder / "model.onnx")
        sets = test.data_sets or [(_read_set(folder, "input"), _read_set(folder, "output"))]
        inputs, outputs = sets[0]
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


def freeze_settings(case: Case) -> tuple[onnx.ModelProto, list[Array]]:
    """The model with inputs that are settings made constants, and the inputs that are left."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    initializers = {tensor.name for tensor in model.graph.initializer}
    names = [item.name for item in model.graph.input if item.name not in initializers]
    is_setting = [_is_setting(array) for array in case.inputs]
    if is_setting and all(is_setting) and any(node.input for node in model.graph.node):
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


def _is_setting(array: Array) -> bool:
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


def compare(outputs: list[Array], case: Case) -> str:
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


def _run_ours(model: onnx.ModelProto, inputs: list[Array], name: str) -> list[Array]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        network = load_network(path, _shapes(model, inputs))
    profile = load_target("host")
    target = tvm_target(profile)
    with target, tvm.transform.PassContext(opt_level=3):
        lowered, weights = lower(_grouped(network), target, profile)
        executable = tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE)
    packed = [weight.of(network.weights) for weight in weights["main"]]
    return _run(executable, [*inputs, *packed])


def _grouped(network: Network) -> tvm.IRModule:
    """The network in groups; whole where shapes that depend on the data rule groups out."""
    try:
        return network.grouped if network.graph else network.module
    except ModelError:
        return network.module


def _shapes(model: onnx.ModelProto, inputs: list[Array]) -> dict[str, tuple[int, ...]]:
    initializers = {tensor.name for tensor in model.graph.initializer}
    names = [item.name for item in model.graph.input if item.name not in initializers]
    return {name: array.shape for name, array in zip(names, inputs, strict=False)}


def _run_stock(model: onnx.ModelProto, inputs: list[Array], name: str) -> list[Array]:
    shapes = {key: list(shape) for key, shape in _shapes(model, inputs).items()}
    module = from_onnx(model, shape_dict=shapes, keep_params_in_input=False)
    executable = tvm.compile(module, target=tvm.target.Target({"kind": "llvm"}))
    return _run(executable, inputs)


def _run(executable: Any, values: list[Array]) -> list[Array]:
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*[tvm.runtime.tensor(value) for value in values])
    fields = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [field.numpy() for field in fields]


@dataclass(frozen=True)
class Job:
    """One test with one importer."""

    kind: str
    name: str
    importer: str


def prepare(kinds: tuple[str, ...]) -> Callable[[Job], str]:
    """Loads the tests in a worker process."""
    cases = {(kind, case.name): case for kind in kinds for case in load_cases(kind)}
    return lambda job: run_case(cases[job.kind, job.name], job.importer)


def reason_of(failure: str) -> str:
    """A failure without what differs from test to test."""
    if "cannot be imported; export" in failure or "not supported for frontend" in failure:
        return "operator not supported"
    head, _, rest = failure.partition(":")
    rest = re.sub(r"'[^']*'|\d[\d.e+-]*", "_", rest)
    return f"{head}:{rest[:80]}"


def print_report(results: dict[Job, str]) -> None:
    """The counts for each kind and importer, then the failures of ours by reason."""
    for kind in KINDS:
        mine = {job: why for job, why in results.items() if job.kind == kind}
        if not mine:
            continue
        counts = [
            sum(not why for job, why in mine.items() if job.importer == importer)
            for importer in IMPORTERS
        ]
        total = len({job.name for job in mine})
        print(f"{kind:18} {total:5} tests: ours {counts[0]:5}, TVM's importer {counts[1]:5}")
        lost = [
            job.name
            for job, why in mine.items()
            if job.importer == "ours" and why and mine.get(Job(kind, job.name, "stock")) == ""
        ]
        if lost:
            print(f"  lost: {', '.join(sorted(lost))}")
    failures = [why for job, why in results.items() if why and job.importer == "ours"]
    reasons = Counter(reason_of(why) for why in failures)
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
        Job(kind, case.name, importer)
        for kind in kinds
        for case in load_cases(kind)
        if options.filter in case.name
        for importer in importers
    ]
    results = run_jobs(partial(prepare, tuple(kinds)), jobs, options.jobs, options.timeout)
    print_report(results)
    if options.json:
        rows = [{**asdict(job), "passed": not why, "reason": why} for job, why in results.items()]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
