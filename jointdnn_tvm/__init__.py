"""JointDNN as a compiler pass over Apache TVM: place every operator on a phone or in the cloud.

The names below are imported when they are first used, so that the phone, which has the TVM
runtime but no compiler, can import the package and open a session.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jointdnn_tvm.api import compile, find_path, plan, plan_by_stages
    from jointdnn_tvm.building import build
    from jointdnn_tvm.bundle import Bundle
    from jointdnn_tvm.cost.table import CostTable
    from jointdnn_tvm.devices import Devices
    from jointdnn_tvm.estimating import estimate
    from jointdnn_tvm.measuring import measure, measure_stages
    from jointdnn_tvm.network import Network, load_network
    from jointdnn_tvm.offering import offer_codecs
    from jointdnn_tvm.placement import Limits
    from jointdnn_tvm.planning import Plan
    from jointdnn_tvm.runtime.open_training import open_training
    from jointdnn_tvm.runtime.session import Session, open_session
    from jointdnn_tvm.runtime.trainer import Trainer
    from jointdnn_tvm.targets import load_link as link
    from jointdnn_tvm.targets import load_target as target
    from jointdnn_tvm.training.build_training import build_training
    from jointdnn_tvm.training.step_codecs import offer_step_codecs
    from jointdnn_tvm.training.step_plan import plan_training
    from jointdnn_tvm.tuning.tune_network import tune

__version__ = "0.1.0"

# Threads of TVM's pool look for work so often, about 2 ms long, before they sleep; by themselves a
# quarter of a second, which takes a core from whatever else the phone does. TVM reads this once,
# when the first query starts the pool.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "2000")

__all__ = [
    "Bundle",
    "CostTable",
    "Devices",
    "Limits",
    "Network",
    "Plan",
    "Session",
    "Trainer",
    "build",
    "build_training",
    "compile",
    "estimate",
    "find_path",
    "link",
    "load_network",
    "measure",
    "measure_stages",
    "offer_codecs",
    "offer_step_codecs",
    "open_session",
    "open_training",
    "plan",
    "plan_by_stages",
    "plan_training",
    "target",
    "tune",
]

# Public name: the module that has it, and its name there. No public name is a submodule's: once
# imported, the submodule would take its place.
_HOMES = {
    "Bundle": ("bundle", "Bundle"),
    "CostTable": ("cost.table", "CostTable"),
    "Devices": ("devices", "Devices"),
    "Limits": ("placement", "Limits"),
    "Network": ("network", "Network"),
    "Plan": ("planning", "Plan"),
    "Session": ("runtime.session", "Session"),
    "Trainer": ("runtime.trainer", "Trainer"),
    "build": ("building", "build"),
    "build_training": ("training.build_training", "build_training"),
    "compile": ("api", "compile"),
    "estimate": ("estimating", "estimate"),
    "find_path": ("api", "find_path"),
    "link": ("targets", "load_link"),
    "load_network": ("network", "load_network"),
    "measure": ("measuring", "measure"),
    "measure_stages": ("measuring", "measure_stages"),
    "offer_codecs": ("offering", "offer_codecs"),
    "offer_step_codecs": ("training.step_codecs", "offer_step_codecs"),
    "open_session": ("runtime.session", "open_session"),
    "open_training": ("runtime.open_training", "open_training"),
    "plan": ("api", "plan"),
    "plan_by_stages": ("api", "plan_by_stages"),
    "plan_training": ("training.step_plan", "plan_training"),
    "target": ("targets", "load_target"),
    "tune": ("tuning.tune_network", "tune"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
