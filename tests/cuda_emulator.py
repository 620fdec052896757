"""CUDA source of kernels, run on this machine's CPU: what threads compute, share and wait for.

The text that NVIDIA's compiler would get is compiled by g++ instead, with `cuda_on_cpu/emulate.h`
for what CUDA adds to C++: each thread of a block is a fibre, `__syncthreads` and tensor-core
products wait for the other threads. So this judges everything between the schedule and the
assembler: indices, sums, vectors, barriers, who holds which part of a matrix. It cannot judge
what only a GPU does: timing, caches, and the compiler's own faults.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from jointdnn_tvm.passes.blocks_to_gpu_code import BLOCKS_TO_GPU_CODE

_HERE = Path(__file__).parent / "cuda_on_cpu"
_MARGIN = 1 << 16  # bytes before and behind each array
_ALIGNED = 64  # bytes, as what TVM allocates
_ASM = re.compile(
    r'\b(?:asm|__asm__)(?: volatile| __volatile__)?\s*\((?P<text>(?:\s*"[^"]*")+)'
    r"(?P<operands>[^;]*)\);"
)
_COPY = "emulated_copy"
_INSTRUCTIONS = {
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};": "emulated_mma",
    "cp.async.cg.shared.global [%0], [%1], %2;": _COPY,
    "cp.async.ca.shared.global [%0], [%1], %2;": _COPY,
    "cp.async.commit_group;": "emulated_commit",
    **{f"cp.async.wait_group {n};": f"emulated_wait<{n}>" for n in range(4)},
    **{
        "{ .reg .pred p; setp.eq.u32 p, %3, 1; "
        f"@p cp.async.{kind}.shared.global [%0], [%1], %2; @!p st.shared.{zeros}; }}": _COPY
        for kind, zeros in (
            ("cg", "v4.u32 [%0], {%4, %4, %4, %4}"),
            ("ca", "v2.u32 [%0], {%4, %4}"),
            ("ca", "u32 [%0], {%4}"),
        )
    },
}
_AXES = [f"{index}Idx.{axis}" for index in ("block", "thread") for axis in "xyz"]


@tvm.ir.instrument.pass_instrument
class _HostAndDevice:
    """Keeps the module whose functions for the host launch those for the device."""

    module: tvm.IRModule

    def run_after_pass(self, module: tvm.IRModule, info: Any) -> None:
        if info.name == "tirx.SplitHostDevice":
            self.module = module


def emulate(
    kernels: Mapping[str, tirx.PrimFunc], target: tvm.target.Target, folder: Path
) -> dict[str, Callable[..., None]]:
    """Functions that take TVM tensors on the CPU and do to them what the kernels do."""
    split = _HostAndDevice()
    with tvm.transform.PassContext(opt_level=3, instruments=[split]):
        built = tvm.tirx.build(tvm.IRModule(dict(kernels)), target, pipeline=BLOCKS_TO_GPU_CODE)
    functions = {var.name_hint: function for var, function in split.module.functions.items()}
    device = Device(cuda_source(built), sorted(functions.keys() - kernels.keys()), folder)
    return {name: _Emulated(functions[name], device) for name in kernels}


def cuda_source(module: Any) -> str:
    """The CUDA source in a built module; nothing if there is none."""
    if module.kind == "cuda":
        return str(module.inspect_source("cuda"))
    return "".join(cuda_source(imported) for imported in module.imports)


class Device:
    """CUDA source compiled for the CPU, of which the named kernels can be launched."""

    def __init__(self, source: str, names: Sequence[str], folder: Path) -> None:
        entries = "\n".join(
            f'extern "C" bool launch_{name}(void **arguments, const int *dimensions) '
            f"{{ return emulation::launch({name}, arguments, dimensions); }}"
            for name in names
        )
        code, library = folder / "kernels.cc", folder / "kernels.so"
        code.write_text(f'#include "emulate.h"\n{_ASM.sub(_as_call, source)}\n{entries}\n')
        _compiler("-shared", "-o", str(library), str(code), str(_runtime()))
        self._library = ctypes.CDLL(str(library))

    def launch(self, name: str, arrays: Sequence[Guarded], sizes: Mapping[str, int]) -> None:
        """Run a kernel with as many blocks and threads as `blockIdx.x` and so on say."""
        pointers = (ctypes.c_void_p * len(arrays))(*(array.address for array in arrays))
        dimensions = (ctypes.c_int * len(_AXES))(*(sizes.get(axis, 1) for axis in _AXES))
        launch = getattr(self._library, f"launch_{name}")
        launch.restype = ctypes.c_bool
        if not launch(pointers, dimensions):
            raise RuntimeError(f"threads of {name} do not do together what they must")
        for array in arrays:
            array.check()


@cache
def _runtime() -> Path:
    """The emulator's own object file, for as long as this process runs."""
    folder = Path(tempfile.mkdtemp(prefix="jointdnn-emulator-"))
    atexit.register(shutil.rmtree, folder)
    _compiler("-c", "-o", str(folder / "emulate.o"), str(_HERE / "emulate.cc"))
    return folder / "emulate.o"


def _compiler(*arguments: str) -> None:
    options = ["-std=c++17", "-O1", "-w", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"]
    subprocess.run(["g++", *options, f"-I{_HERE}", *arguments], check=True)


def _as_call(found: re.Match[str]) -> str:
    """An instruction in assembly as a call of its emulation, operands in order."""
    text = "".join(re.findall(r'"([^"]*)"', found["text"])).replace("\\n", " ")
    text = " ".join(text.split())
    if text not in _INSTRUCTIONS:
        raise ValueError(f"nothing here emulates {text}")
    operands = re.findall(r'"[+=]?[a-z]"\(([^()]*)\)', found["operands"])
    return f"{_INSTRUCTIONS[text]}({', '.join(operands)});"


class _Emulated:
    """One kernel of TVM's: the buffers that it allocates, and launches one after another."""

    def __init__(self, host: tirx.PrimFunc, device: Device) -> None:
        self._host = host
        self._device = device

    def __call__(self, *tensors: Any) -> None:
        views = [np.from_dlpack(tensor) for tensor in tensors]
        parameters = [Guarded(view.dtype, view.size) for view in views]
        for parameter, view in zip(parameters, views, strict=True):
            parameter.array[...] = view.reshape(-1)
        held = dict(zip(self._host.params, parameters, strict=True))
        for statement in _statements(self._host.body):
            self._run(statement, held)
        for parameter, view in zip(parameters, views, strict=True):
            view[...] = parameter.array.reshape(view.shape)

    def _run(self, statement: Any, held: dict[tirx.Var, Guarded]) -> None:
        if isinstance(statement, tirx.AllocBuffer):
            buffer = statement.buffer
            shape = [int(extent) for extent in buffer.shape]
            held[buffer] = Guarded(np.dtype(str(buffer.dtype)), math.prod(shape))
        elif isinstance(statement, tirx.DeclBuffer):
            held[statement.buffer] = held[statement.data.args[0]]
        else:  # call_ffi_kernel(name, pointers…, sizes…)
            axes = [str(axis) for axis in statement.value.attrs.launch_params]
            name, *rest = statement.value.args
            arrays = [held[pointer.args[0]] for pointer in rest[: -len(axes)]]
            sizes = dict(zip(axes, map(int, rest[-len(axes) :]), strict=True))
            self._device.launch(name.value, arrays, sizes)


def _statements(body: Any) -> Iterator[Any]:
    if isinstance(body, tirx.SeqStmt):
        for statement in body.seq:
            yield from _statements(statement)
    else:
        yield body


class Guarded:
    """An array of one dimension, full of NaN, between margins that nobody may write.

    Margins hold NaN too: who reads them spoils the answer.
    """

    def __init__(self, dtype: np.dtype[Any], elements: int) -> None:
        size = elements * dtype.itemsize
        memory = np.full(size + 2 * _MARGIN + _ALIGNED, 0xFF, "uint8")
        start = -memory.ctypes.data % _ALIGNED
        self._memory = memory[start : start + size + 2 * _MARGIN]
        self.array = self._memory[_MARGIN : _MARGIN + size].view(dtype)
        self.address = self._memory.ctypes.data + _MARGIN

    def check(self) -> None:
        margins = (self._memory[:_MARGIN], self._memory[_MARGIN + self.array.nbytes :])
        if any((margin != 0xFF).any() for margin in margins):
            raise RuntimeError("a kernel wrote beyond its array")
