"""The placement problem and its solvers: plain data, no TVM."""

from jointdnn_tvm.placement.evaluate import Metrics, evaluate
from jointdnn_tvm.placement.problem import (
    CLOUD,
    MOBILE,
    PLAIN,
    SIDES,
    Block,
    Codec,
    Limits,
    Link,
    Operator,
    Problem,
    Side,
    SideCost,
    SideSeconds,
    Tensor,
)
from jointdnn_tvm.placement.solution import Clash, InfeasibleError
from jointdnn_tvm.placement.solve import Answer, all_on, fixed_placement, solve

__all__ = [
    "CLOUD",
    "MOBILE",
    "PLAIN",
    "SIDES",
    "Answer",
    "Block",
    "Clash",
    "Codec",
    "InfeasibleError",
    "Limits",
    "Link",
    "Metrics",
    "Operator",
    "Problem",
    "Side",
    "SideCost",
    "SideSeconds",
    "Tensor",
    "all_on",
    "evaluate",
    "fixed_placement",
    "solve",
]
