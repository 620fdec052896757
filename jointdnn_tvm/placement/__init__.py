"""The placement problem and its solvers: plain data, no TVM."""

from jointdnn_tvm.placement.baselines import all_baselines
from jointdnn_tvm.placement.cut_vertices import Segments, between_cut_vertices
from jointdnn_tvm.placement.evaluate import Metrics, evaluate
from jointdnn_tvm.placement.explain import Explanation, explain
from jointdnn_tvm.placement.lazy_blocks import LazyAnswer, Run, solve_lazily
from jointdnn_tvm.placement.pareto import ParetoFront, pareto_front
from jointdnn_tvm.placement.plan_table import PlanTable, Ranges, TablePlan, plan_table
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
from jointdnn_tvm.placement.solve import Answer, fixed_placement, solve

__all__ = [
    "CLOUD",
    "MOBILE",
    "PLAIN",
    "SIDES",
    "Answer",
    "Block",
    "Clash",
    "Codec",
    "Explanation",
    "InfeasibleError",
    "LazyAnswer",
    "Limits",
    "Link",
    "Metrics",
    "Operator",
    "ParetoFront",
    "PlanTable",
    "Problem",
    "Ranges",
    "Run",
    "Segments",
    "Side",
    "SideCost",
    "SideSeconds",
    "TablePlan",
    "Tensor",
    "all_baselines",
    "between_cut_vertices",
    "evaluate",
    "explain",
    "fixed_placement",
    "pareto_front",
    "plan_table",
    "solve",
    "solve_lazily",
]
