"""What each kernel of a lowered network computes: its class, and its operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import s_tir, tirx

from jointdnn_tvm.passes.kernels.site import KERNEL

CLASSES = (
    "1x1 convolution",
    "kxk convolution",
    "winograd",
    "depthwise",
    "dense, matmul",
    "pooling",
    "reduction",
    "concat",
    "transpose, reshape",
    "elementwise",
    "other",
    "virtual machine",
)
_SPATIAL, _REDUCE = 0, 2  # tirx.IterVar.iter_type
_MOVES = ("T_reshape", "T_transpose", "T_strided_slice", "T_layout_trans", "pad", "T_expand_dims")


@dataclass(frozen=True)
class Work:
    """A kernel's class, and the operations of the direct algorithm; a multiply-add is two."""

    kind: str
    flops: int


class WorkRecorder:
    """Notes the work of all kernels of a module, before they are scheduled.

    `instrument` belongs into the pass context.
    """

    def __init__(self) -> None:
        self.works: dict[str, Work] = {}
        self.instrument = tvm.ir.instrument.pass_instrument(_recorder(self.works))()


def _recorder(works: dict[str, Work]) -> type:
    class Recorder:
        def run_before_pass(self, module: tvm.IRModule, info: Any) -> None:
            if info.name == "ScheduleForCpu":
                for var, function in module.functions.items():
                    if isinstance(function, tirx.PrimFunc):
                        works[var.name_hint] = work_of(function)

    return Recorder


def work_of(function: tirx.PrimFunc) -> Work:
    """The work of a kernel that is still made of blocks."""
    sch = s_tir.Schedule(function)
    blocks = [sch.get(block) for block in sch.get_child_blocks(sch.get_sblock("root"))]
    for block in blocks:
        if KERNEL in block.annotations:
            return _written(str(block.annotations[KERNEL]), block)
    names = [str(block.name_hint) for block in blocks]
    products = [b for b in blocks if str(b.name_hint).startswith(("matmul", "T_matmul", "conv"))]
    if products:
        return Work("dense, matmul", sum(map(_products, products)))
    if any("pool" in name for name in names):
        return Work("pooling", 0)
    if any("concat" in name for name in names):
        return Work("concat", 0)
    if names and all(name.startswith(_MOVES) for name in names):
        return Work("transpose, reshape", 0)
    if any(_extents(block, _REDUCE) for block in blocks):
        return Work("reduction", 0)
    return Work("elementwise" if blocks else "other", 0)


def _written(kernel: str, block: Any) -> Work:
    """A block that one of our kernels computes."""
    space, reduce = _extents(block, _SPATIAL), _extents(block, _REDUCE)
    if kernel == "winograd":
        return Work(kernel, 2 * math.prod(space) * 9 * reduce[-1])
    if kernel == "pooling":
        return Work(kernel, 0)
    if kernel == "softmax":
        return Work("reduction", 0)
    if kernel == "convolution":
        single = math.prod(reduce[:2]) == 1
        return Work("1x1 convolution" if single else "kxk convolution", _products(block))
    return Work(kernel if kernel == "depthwise" else "dense, matmul", _products(block))


def _products(block: Any) -> int:
    return 2 * math.prod(_extents(block, _SPATIAL) + _extents(block, _REDUCE))


def _extents(block: Any, kind: int) -> list[int]:
    return [int(v.dom.extent) for v in block.iter_vars if int(v.iter_type) == kind]
