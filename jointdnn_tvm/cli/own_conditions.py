"""An explanation of a network's plan, told by the link's own rates and round trip.

The problem has what crossings cost the devices in those of its link; a user knows the link.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jointdnn_tvm.planning import Plan

_THOUSANDFOLD = 1000.0  # of the present rate: how far a link is looked for

Document = dict[str, Any]


def with_own_conditions(explanation: Document, plan: Plan) -> Document:
    """The document with the link's own values in place of those that crossings find.

    Rates that crossings find on no link, for what they cost the devices, are left out.
    """
    if plan.transfer is None:
        return explanation
    own_value = plan.transfer.own_value
    changes, samples = explanation["changes"], explanation["samples"]
    if changes is not None:
        changes = {name: _own_regions(plan, name, regions) for name, regions in changes.items()}
    if samples is not None:
        samples = {
            name: [
                {**sample, "value": value}
                for sample in some
                if (value := own_value(name, sample["value"])) < math.inf
            ]
            for name, some in samples.items()
        }
    return {**explanation, "changes": changes, "samples": samples}


def _own_regions(plan: Plan, condition: str, regions: Iterable[Document]) -> list[Document]:
    assert plan.transfer is not None
    is_rate = condition.endswith("_bps")
    end = _THOUSANDFOLD * getattr(plan.link, condition) if is_rate else math.inf
    own_value = partial(plan.transfer.own_value, condition)
    own = [
        {**r, "least": own_value(r["least"]), "most": min(own_value(r["most"]), end)}
        for r in regions
    ]
    return [region for region in own if region["least"] < region["most"]]
