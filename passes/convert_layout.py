"""Stores spatial tensors channels-last, with as few transpositions as can be.

Every tensor has a logical shape, the one that the imported graph talks about, and a stored one:
dimension `i` of what is stored is dimension `axes[i]` of the logical tensor. A convolution wants
its input stored as NHWC and stores its output so; most operators take whatever order their
input has; a `permute_dims` only changes the bookkeeping. A transposition is emitted where an
operator wants an order in which its input is not stored, and at most once for a tensor and order.
"""

from __future__ import annotations

import tvm
from tvm import relax

from jointdnn_tvm.passes.layout_rules import RULES
from jointdnn_tvm.passes.layouts import Layouts
from jointdnn_tvm.passes.main_function import without_main


def convert_layout(module: tvm.IRModule) -> tvm.IRModule:
    """Rewrites `main` so that convolutions and what surrounds them are NHWC (kernels HWIO).

    Parameters and outputs keep their shapes. Transpositions of weights are left in the graph, to
    be evaluated by `fold_weights`.
    """
    main = module["main"]
    (block,) = main.body.blocks
    builder = relax.BlockBuilder()
    num_input = int(main.attrs["num_input"])
    layouts = Layouts(builder, set(main.params[num_input:]))
    with builder.function("main", list(main.params), attrs=dict(main.attrs)):
        with builder.dataflow():
            for binding in block.bindings:
                layouts.convert(binding, RULES)
            outputs = layouts.tuple_fields(main.body.body)
            result = builder.emit_output(relax.Tuple(outputs))
        builder.emit_func_output(result)
    function = builder.get()["main"]
    converted = without_main(module)
    converted["main"] = function
    return relax.transform.DeadCodeElimination(["main"])(converted)
