"""Target and link profiles (TOML) and their loader."""

from jointdnn_tvm.targets.link import LinkProfile, RadioPower, is_link, link_names, load_link
from jointdnn_tvm.targets.target import TargetProfile, load_target, target_names

__all__ = [
    "LinkProfile",
    "RadioPower",
    "TargetProfile",
    "is_link",
    "link_names",
    "load_link",
    "load_target",
    "target_names",
]
