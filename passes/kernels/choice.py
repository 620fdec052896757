"""What tuning may decide of a kernel in place of its rules.

A choice is a few whole numbers, by name. Those that a kernel does not know are ignored, and those
that do not fit it give way to the rule: whatever a choice says, the answer is right. `apart`, of
any of them, keeps the elementwise operators behind it from joining it.
"""

from __future__ import annotations

from collections.abc import Mapping

from jointdnn_tvm.targets import TargetProfile

Choice = Mapping[str, int]

_MOST_WRITTEN_OUT = 16


def chosen(kernel: object, profile: TargetProfile) -> Choice:
    """What was decided for a kernel on a target; empty: all by rules.

    A kernel is known by its `repr`: its shapes, and what else it depends on.
    """
    return profile.tuned.get(repr(kernel), {})


def written_out(choice: Choice) -> int:
    """How many steps of a sum are written out in a loop's body; 0: by the rule."""
    return max(0, min(choice.get("unroll", 0), _MOST_WRITTEN_OUT))
