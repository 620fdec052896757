"""The keys of the function attributes that this project adds to a module, in one place."""

from __future__ import annotations

PLACEMENT = "jointdnn.placement"  # on a group or stage: "mobile" or "cloud"
GROUP = "jointdnn.group"  # on a group: its name; keeps alike groups apart in the module
GROUP_KEY = "jointdnn.group_key"  # on a group: equal for groups that cost the same
OPERATORS = "jointdnn.operators"  # on a group: the names of its operators, in order
