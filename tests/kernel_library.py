"""Many small kernels built into one library by the real pipeline, and judged in float64."""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.choose_kernels import choose_kernels
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import TargetProfile, load_target
from tests.buffer_bounds import outside
from tests.kernel_cases import Array, Case


def machine(bits: int, registers: int, **facts: Any) -> TargetProfile:
    """This one, as if it had such vectors; LLVM splits those that are too wide for it."""
    return replace(load_target("host"), vector_bits=bits, vector_registers=registers, **facts)


PROFILES: dict[str, TargetProfile] = {
    "host": load_target("host"),
    "avx2": machine(256, 16, cores=1, l2_bytes=4096),  # so little that work comes in many parts
    "avx512": machine(512, 32, cores=8),
    "pi": replace(load_target("raspberry-pi-4"), tvm_target=load_target("host").tvm_target),
}


class Library:
    """Compiled cases."""

    def __init__(self, cases: Sequence[Case], profile: TargetProfile, folder: Path) -> None:
        self.cases = cases
        host = tvm_target(load_target("host"))
        with host, tvm.transform.PassContext(opt_level=3), _Complaints() as self.complaints:
            self.lowered, self._weights = lower(module_of(cases), host, profile)
            executable = tvm.compile(
                self.lowered, host, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE
            )
        self.path = folder / "cases.so"
        executable.export_library(str(self.path))  # far sooner than compiled in memory
        self._machine = relax.VirtualMachine(tvm.runtime.load_module(str(self.path)), tvm.cpu())

    def kernels(self, index: int) -> list[str]:
        """Names of the kernels that a case calls."""
        text = self.lowered[f"case_{index}"].script()
        names = (var.name_hint for var in self.lowered.get_global_vars())
        return [name for name in names if re.search(rf"^ +{name}\(", text, re.MULTILINE)]

    def arguments(self, index: int) -> list[Array]:
        """Random inputs and weights as a compiled case takes them."""
        inputs, weights = draw_arrays(self.cases[index], seed=index)
        return [*inputs, *(weight.of(weights) for weight in self._weights[f"case_{index}"])]

    def call(self, index: int, *arguments: Array) -> Array:
        """What a case gives."""
        return np.asarray(self._machine[f"case_{index}"](*map(in_nans, arguments)).numpy())

    def expected(self, index: int) -> Array:
        """What a case should give."""
        inputs, weights = draw_arrays(self.cases[index], seed=index)
        exact = [array.astype(np.float64) for array in (*inputs, *weights.values())]
        return self.cases[index].expect(*exact)


def check(library: Library, index: int, tolerance: float = 1e-5) -> None:
    """Fails where a case is off by more than this part of its largest number, or of 1."""
    found = library.call(index, *library.arguments(index))
    expected = library.expected(index)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def check_all(library: Library, tolerance: float = 1e-5) -> None:
    """Checks every case, and how their kernels were written."""
    check_written(library)
    for index in range(len(library.cases)):
        check(library, index, tolerance)


def check_written(library: Library, kinds: Iterable[str] = ("",)) -> None:
    """Fails where a case has no kernel of these kinds, or one that could not be written out, or
    one that leaves its buffers."""
    assert not library.complaints
    for index, case in enumerate(library.cases):
        names = library.kernels(index)
        assert any(kind in name for name in names for kind in kinds), f"{case.name}: {names}"
        for name in names:
            assert not outside(library.lowered[name]), f"{case.name}: {name}"


def numbered(cases: Callable[[str], Sequence[Case]]) -> list[Any]:
    """Parameters of a test: each profile's cases, by profile and index, with their names."""
    return [
        pytest.param(profile, index, id=f"{profile}-{case.name}")
        for profile in PROFILES
        for index, case in enumerate(cases(profile))
    ]


Libraries = Callable[[str], Library]


def built_when_wanted(
    cases: Callable[[str], Sequence[Case]], folder: Callable[[str], Path]
) -> Libraries:
    """The library of a profile's cases, compiled when it is first asked for."""
    return functools.cache(
        lambda profile: Library(cases(profile), PROFILES[profile], folder(profile))
    )


def draw_arrays(case: Case, seed: int) -> tuple[list[Array], dict[str, Array]]:
    """Inputs, and weights so small that results are about as large as inputs."""
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in case.inputs]
    weights = {}
    for i, shape in enumerate(case.weights):
        size = max(1, math.prod(shape[:-1])) ** -0.5 if len(shape) > 1 else 1.0
        weights[f"w{i}"] = (rng.standard_normal(shape) * size).astype(np.float32)
    return inputs, weights


def in_nans(array: Array) -> Any:
    """A tensor with NaNs before and after it in memory, which spoil sums that reach too far."""
    if not array.size:
        return tvm.runtime.tensor(array)
    border, alignment = 256, 64
    memory = np.full(array.size + 2 * border + alignment, np.nan, array.dtype)
    first = border + -(memory.ctypes.data // array.itemsize + border) % alignment
    view = memory[first : first + array.size].reshape(array.shape)
    view[...] = array
    return tvm.runtime.from_dlpack(view)


class _Complaints(logging.Handler):
    """What the scheduler says of kernels that it could not write out: it falls back in silence."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []
        self._logger = logging.getLogger("jointdnn_tvm.passes.schedule_blocks")

    def emit(self, record: logging.LogRecord) -> None:
        if "_written does not fit" in record.getMessage():
            self.found.append(record.getMessage())

    def __enter__(self) -> list[str]:
        self._level = self._logger.level
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(self)
        return self.found

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


def fused_kernel(case: Case, profile: TargetProfile) -> tirx.PrimFunc:
    """The one kernel of a case, chosen and fused but not scheduled."""
    chosen, _ = choose_kernels(module_of([case]), profile)
    passes = [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    fused = tvm.transform.Sequential(passes)(chosen)
    (kernel,) = (f for f in fused.functions.values() if isinstance(f, tirx.PrimFunc))
    return kernel


def module_of(cases: Sequence[Case]) -> tvm.IRModule:
    """One public function a case, inputs before weights."""
    builder = relax.BlockBuilder()
    for index, case in enumerate(cases):
        names = [(f"x{i}", s) for i, s in enumerate(case.inputs)]
        names += [(f"w{i}", s) for i, s in enumerate(case.weights)]
        params = [relax.Var(name, relax.TensorType(s, "float32")) for name, s in names]
        attributes = {"num_input": len(case.inputs)}
        with builder.function(f"case_{index}", params, attrs=attributes):
            with builder.dataflow():
                result = builder.emit_output(builder.emit(case.compute(*params)))
            builder.emit_func_output(result)
    return builder.get()
