"""The placement problem and its solvers: plain data, no TVM."""

from jointdnn_tvm.placement.evaluate import Metrics, evaluate
from jointdnn_tvm.placement.problem import (
    CLOUD,
    MOBILE,
    SIDES,
    Link,
    Operator,
    Problem,
    Side,
    SideCost,
    Tensor,
)
from jointdnn_tvm.placement.solve import Answer, all_on, fixed_placement, solve

__all__ = [
    "CLOUD",
    "MOBILE",
    "SIDES",
    "Answer",
    "Link",
    "Metrics",
    "Operator",
    "Problem",
    "Side",
    "SideCost",
    "Tensor",
    "all_on",
    "evaluate",
    "fixed_placement",
    "solve",
]
