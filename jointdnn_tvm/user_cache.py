"""Where what the command keeps for its user lies."""

from __future__ import annotations

import os
from pathlib import Path

from jointdnn_tvm.errors import JointdnnError


def user_cache() -> Path:
    """The folder, by the XDG base directory specification; JointdnnError when there is none."""
    root = os.environ.get("XDG_CACHE_HOME")
    if root:
        return Path(root) / "jointdnn"
    try:
        return Path.home() / ".cache" / "jointdnn"
    except RuntimeError as error:
        raise JointdnnError(
            "this user has no home folder to keep a cache in; set HOME or XDG_CACHE_HOME"
        ) from error
