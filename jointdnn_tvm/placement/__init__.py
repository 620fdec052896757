"""The placement problem and its solvers: plain data, no TVM.

What it is: `problem`, its file (`problem_json`), what a placement costs by definition (`evaluate`,
`check_problem`), what solvers hand back (`solution`); `solve` chooses among these:

- no limits: `min_cut`, from `prices` over `cut_model`, `contract` and `max_flow`;
- limits and throughput: `milp`, which tries prices on limits first (`lagrangian`, `priced_cut`),
  then labels (`label_search` over a `frontier`), then HiGHS (`integer_program`) on a `linear_model`
  (`choices`, `measures`, `peak_rows`); `clashes` when nothing meets them;
- costs of runs: `chain` over `chain_costs`, `lazy_blocks`, and `cut_vertices` for branchy graphs.

On top of them: `plan_table` (`linear_prices`, `envelope`), `rates`, `pareto`, `fixed_codecs` of a
placement that is given, `baselines`, and `explain` (`breakdown`, `alternatives`, `limit_use`,
`plan_changes`, `what_if`, `conditions`).
"""

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
