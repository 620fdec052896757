"""The inner loops that LLVM makes of the kernels for 64-bit ARM cores, read as assembly."""

from __future__ import annotations

import collections
import functools
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import tvm
from tvm import relax

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.choose_kernels import choose_kernels
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import TargetProfile, load_target

op = relax.op

SHARES = {
    **{"first": 0.55, "1x1": 0.55, "3x3": 0.55, "winograd": 0.55, "dense": 0.55, "matmul": 0.55},
    "depthwise": 0.48,
}
"""Kernels, and how many of the inner loop's instructions are multiply-adds on a Cortex-A76, at
the least. A depthwise convolution loads a vector of its input for nearly every product: 56 % with
strides of 1, 49 % with 2."""

CORES = ("cortex-a76", "cortex-a72", "cortex-a55")
SPILLED = ("first", "cortex-a55")


@dataclass(frozen=True)
class Loop:
    """The instructions of a kernel's innermost loop."""

    instructions: tuple[str, ...]

    @property
    def share(self) -> float:
        """How many of them are multiply-adds."""
        return sum(map(_is_product, self.instructions)) / len(self.instructions)

    @property
    def issue(self) -> float:
        """Products a cycle on a Cortex-A76, of the two that it can begin; caches apart.

        Its front end hands on four instructions a cycle, it has two ports for vectors and two for
        loads (Arm's optimisation guide for the core), and a product waits four cycles for the sum
        that it adds to, or two when that is another product's. Every order within the loop is
        taken for possible, since the core reorders.
        """
        products = [line for line in self.instructions if _is_product(line)]
        vector = sum(bool(_VECTOR.match(line)) for line in self.instructions)
        loads = sum(
            2 if line.startswith("ldp") else bool(_LOAD.match(line)) for line in self.instructions
        )
        sums = collections.Counter(line.split()[1] for line in products)
        waits = 2 * max(sums.values())
        cycles = max(len(self.instructions) / 4, vector / 2, loads / 2, waits)
        return len(products) / cycles / 2

    @property
    def spills(self) -> list[str]:
        """Those that keep a vector register on the stack, or fetch it from there."""
        return [line for line in self.instructions if _SPILL.match(line)]


_SPILL = re.compile(r"(ldr|ldur|ldp|str|stur|stp)\s+[qds]\d.*\[sp\b")
_VECTOR = re.compile(r"(f|dup|ins|mov|movi|ext|zip\d|uzp\d|trn\d|orr|and|eor|bsl)\S*\s+[vqds]\d")
_LOAD = re.compile(r"(ldr|ldur|ld1r?|ld[234])\s")
_BRANCH = re.compile(r"(b|b\.\w+|cbn?z|tbn?z|ret)\s")
_TRANSFORM = re.compile(r"(fmul|fsub|fmls)\s")  # the other loops of a Winograd kernel


def _is_product(instruction: str) -> bool:
    return instruction.startswith("fmla")


def inner_loop(assembly: str) -> Loop:
    """The straight runs of instructions with the most multiply-adds, put together.

    Where the outer loop of the reduction is unrolled there are several alike.
    """
    runs = [run for run in straight_runs(assembly) if not any(map(_TRANSFORM.match, run))]
    most = max(sum(map(_is_product, run)) for run in runs)
    return Loop(tuple(line for r in runs if sum(map(_is_product, r)) == most for line in r))


def straight_runs(assembly: str) -> list[list[str]]:
    """Instructions between labels and branches."""
    runs: list[list[str]] = [[]]
    for text in assembly.splitlines():
        line = text.split("//")[0].strip()
        if line.endswith(":"):
            runs.append([])
        elif line and not line.startswith("."):
            runs[-1].append(line)
            if _BRANCH.match(line):
                runs.append([])
    return runs


def core(name: str) -> TargetProfile:
    """A profile of a board with such cores."""
    if name == "cortex-a76":
        return load_target("raspberry-pi-5")
    board = load_target("raspberry-pi-4")
    if name == "cortex-a72":
        return board
    small = {**board.tvm_target, "mcpu": name}
    return replace(board, tvm_target=small, l2_bytes=131072)


def convolution(image: tuple[int, ...], kernel: tuple[int, ...], **options: Any) -> tvm.IRModule:
    """With a bias and ReLU behind it."""

    def body(x: relax.Var, w: relax.Var, bias: relax.Var) -> relax.Expr:
        layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
        return op.nn.relu(op.add(op.nn.conv2d(x, w, **layouts, **options), bias))

    return _module(body, image, kernel, (1, 1, 1, kernel[3]))


def _module(body: Any, *shapes: tuple[int, ...], inputs: int = 1) -> tvm.IRModule:
    """One function, of inputs and weights."""
    builder = relax.BlockBuilder()
    params = [
        relax.Var(f"p{index}", relax.TensorType(shape, "float32"))
        for index, shape in enumerate(shapes)
    ]
    with builder.function("main", params, attrs={"num_input": inputs}):
        with builder.dataflow():
            output = builder.emit_output(builder.normalize(body(*params)))
        builder.emit_func_output(output)
    return builder.get()


def _times_transposed(x: relax.Var, y: relax.Var) -> relax.Expr:
    return op.matmul(x, op.permute_dims(y, [0, 2, 1]))


def _largest(x: relax.Var) -> relax.Expr:
    return op.nn.max_pool2d(x, (3, 3), (2, 2), layout="NHWC")


def _mean(x: relax.Var) -> relax.Expr:
    return op.nn.avg_pool2d(x, (3, 3), padding=(1, 1), layout="NHWC")


KERNELS = {
    "first": [
        convolution((1, 224, 224, 3), (7, 7, 3, 64), strides=2, padding=3),
        convolution((1, 224, 224, 3), (3, 3, 3, 32), strides=2, padding=1),
    ],
    "1x1": [
        convolution((1, 28, 28, 128), (1, 1, 128, 128)),
        convolution((1, 14, 14, 256), (1, 1, 256, 64)),
        convolution((1, 7, 7, 512), (1, 1, 512, 1024)),
    ],
    "3x3": [
        convolution((1, 29, 29, 64), (3, 3, 64, 128), strides=2),
        convolution((1, 28, 28, 256), (3, 3, 256, 256), strides=2, padding=1),
        convolution((1, 14, 14, 32), (5, 5, 32, 64), padding=2),
    ],
    "winograd": [
        convolution((1, 28, 28, 128), (3, 3, 128, 128), padding=1),
        convolution((1, 14, 14, 64), (3, 3, 64, 96), padding=1),
    ],
    "depthwise": [
        convolution((1, 28, 28, 128), (3, 3, 1, 128), padding=1, groups=128),
        convolution((1, 56, 56, 64), (3, 3, 1, 64), strides=2, padding=1, groups=64),
    ],
    "dense": [
        _module(op.matmul, (8, 1024), (1024, 1000)),
        _module(op.matmul, (49, 512), (512, 2048)),
        _module(op.matmul, (64, 256), (256, 512)),
    ],
    "matmul": [
        _module(op.matmul, (12, 197, 64), (12, 64, 197), inputs=2),
        _module(_times_transposed, (8, 128, 96), (8, 128, 96), inputs=2),
    ],
}

OTHERS = {
    "pooling": (_module(_largest, (1, 57, 57, 64)), "fcmgt"),
    "mean pooling": (_module(_mean, (1, 28, 28, 192)), "fadd"),
    "softmax": (_module(op.nn.softmax, (64, 197)), "fmla"),
    "softmax of columns": (_module(lambda x: op.nn.softmax(x, 1), (4, 50, 64)), "fmla"),
    "rows": (_module(lambda x: op.max(x, axis=[1]), (64, 197)), "fcmgt"),
}
"""Kernels without products, and an instruction of each one's inner loop.

The larger of two numbers is a comparison and a choice in LLVM, which so keeps what NaN gives."""


@functools.cache
def compiled(kernel: str, index: int, name: str) -> Loop:
    return inner_loop(assembly_of(KERNELS[kernel][index], name))


def assembly_of(module: tvm.IRModule, name: str) -> str:
    profile = core(name)
    target = tvm_target(profile)
    with target, tvm.transform.PassContext(opt_level=3):
        lowered, _ = lower(module, target, profile)
        executable = tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE)
    (library,) = executable.mod.imports
    return str(library.inspect_source("asm"))


CASES = [(kernel, index) for kernel, modules in KERNELS.items() for index in range(len(modules))]


# For the Cortex-A55 LLVM writes the loops of first layers out, and then spills.
KEPT = [(*case, name) for case in CASES for name in CORES if (case[0], name) != SPILLED]


@pytest.mark.parametrize(("kernel", "index", "name"), KEPT)
def test_inner_loop_keeps_to_registers(kernel: str, index: int, name: str) -> None:
    loop = compiled(kernel, index, name)
    assert not loop.spills


@pytest.mark.parametrize(("kernel", "index"), CASES)
def test_inner_loop_is_mostly_products(kernel: str, index: int) -> None:
    loop = compiled(kernel, index, "cortex-a76")
    assert loop.share >= SHARES[kernel], "\n".join(loop.instructions)


@pytest.mark.parametrize(("kernel", "index"), CASES)
def test_inner_loop_can_begin_most_products_that_the_core_can(kernel: str, index: int) -> None:
    loop = compiled(kernel, index, "cortex-a76")
    assert loop.issue >= 0.7, "\n".join(loop.instructions)


@pytest.mark.parametrize(
    ("loop", "share"),
    [
        (["fmla v{i}.4s, v20.4s, v21.s[0]"], 1.0),
        (["fmla v{i}.4s, v20.4s, v21.s[0]", "ldr q20, [x0]"], 1.0),
        (["fmla v{i}.4s, v20.4s, v21.s[0]", "ldp q20, q21, [x0]"], 0.5),
        (["fmla v{i}.4s, v20.4s, v21.s[0]", "dup v21.4s, w0"], 0.5),
        (["fmla v{i}.4s, v20.4s, v21.s[0]", *["add x0, x0, #4"] * 3], 0.5),
        (["fmla v0.4s, v20.4s, v21.s[0]"], 0.25),
    ],
)
def test_issue_is_bound_by_what_is_scarcest(loop: list[str], share: float) -> None:
    found = Loop(tuple(line.format(i=i) for i in range(16) for line in loop))
    assert found.issue == pytest.approx(share)


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("kernel", ["winograd", "depthwise"])
def test_kernel_is_the_one_that_is_meant(kernel: str, name: str) -> None:
    for module in KERNELS[kernel]:
        chosen, _ = choose_kernels(module, core(name))
        assert any(kernel in var.name_hint for var in chosen.get_global_vars())


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("kernel", OTHERS)
def test_other_kernels_work_in_vectors_and_keep_to_registers(kernel: str, name: str) -> None:
    module, instruction = OTHERS[kernel]
    vectors = re.compile(rf"{instruction}\s+v\d+\.4s")
    runs = straight_runs(assembly_of(module, name))
    counts = [sum(1 for line in run if vectors.match(line)) for run in runs]
    assert max(counts) > 0
    assert not Loop(tuple(runs[counts.index(max(counts))])).spills


def test_spills_are_seen() -> None:
    loop = inner_loop("top:\n fmla v0.4s, v1.4s, v2.s[0]\n str q0, [sp, #16]\n b.ne top\n")
    assert loop.share == pytest.approx(1 / 3)
    assert loop.spills == ["str q0, [sp, #16]"]
