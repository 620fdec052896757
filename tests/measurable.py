"""Functions to time: some that run, one that is slow, and some that cannot."""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from jointdnn_tvm.cost.bench import EvaluatorConfig, Workload

QUICK = EvaluatorConfig(number=1, repeat=3, min_repeat_ms=1, max_repeat=3)
SQUARE = ((16, 16), "float32")


@I.ir_module
class Groups:
    @T.prim_func(private=True, s_tir=True)
    def _abort(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")) -> None:
        T.evaluate(T.call_extern("int32", "abort"))

    @T.prim_func(private=True, s_tir=True)
    def _nap(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")) -> None:
        T.evaluate(T.call_extern("int32", "usleep", 100000))

    @R.function
    def product(x: R.Tensor((16, 16), "float32"), w: R.Tensor((16, 16), "float32")) -> R.Tensor(
        (16, 16), "float32"
    ):
        return R.matmul(x, w)

    @R.function
    def pick(x: R.Tensor((16, 16), "float32"), i: R.Tensor((3,), "int64")) -> R.Tensor(
        (3, 16), "float32"
    ):
        return R.take(x, i, axis=0)

    @R.function
    def crash(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        cls = Groups
        return R.call_tir(cls._abort, (x,), R.Tensor((4,), "float32"))

    @R.function
    def nap(x: R.Tensor((4,), "float32")) -> R.Tensor((4,), "float32"):
        cls = Groups
        return R.call_tir(cls._nap, (x,), R.Tensor((4,), "float32"))


PRODUCT = Workload("product", "product", (SQUARE, SQUARE))
PICK = Workload("pick", "pick", (SQUARE, ((3,), "int64")))
CRASH = Workload("crash", "crash", (((4,), "float32"),))
NAP = Workload("nap", "nap", (((4,), "float32"),))
MISSING = Workload("missing", "missing", ())
MISFIT = Workload("misfit", "product", (SQUARE, ((17, 16), "float32")))


def build_library(folder: Path) -> Path:
    """A library of all of them."""
    path = folder / "groups.so"
    tvm.compile(Groups, tvm.target.Target("llvm")).export_library(str(path))
    return path
