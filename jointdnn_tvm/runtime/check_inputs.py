"""What a caller gives, against what the bundle takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.manifest import Manifest, TensorEntry

Array = np.ndarray[Any, Any]


def check_inputs(manifest: Manifest, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs by the names of their tensors.

    RunError when one is missing, unknown, or of another shape or type.
    """
    names = [p.name for p in manifest.inputs]
    if unknown := sorted(inputs.keys() - set(names)):
        raise RunError(f"the network has no input {unknown[0]!r}; it has {', '.join(names)}")
    held = {}
    for port in manifest.inputs:
        if port.name not in inputs:
            raise RunError(f"input {port.name!r} is missing")
        entry = manifest.tensors[port.tensor]
        held[port.tensor] = check_array(f"input {port.name!r}", inputs[port.name], entry)
    return held


def check_classes(what: str, ids: Array, classes: int) -> None:
    """RunError unless all ids are of one of so many classes, from 0 on."""
    least, most = int(ids.min(initial=0)), int(ids.max(initial=0))
    if least < 0 or most >= classes:
        raise RunError(
            f"{what} holds class {least if least < 0 else most}; the network tells classes 0 to "
            f"{classes - 1} apart"
        )


def check_array(what: str, given: Any, entry: TensorEntry) -> Array:
    """The array; RunError when it has another shape or type than the tensor."""
    array = np.asarray(given)
    if array.shape != entry.shape or array.dtype.name != entry.dtype:
        raise RunError(
            f"{what} is {array.dtype.name}{list(array.shape)}; "
            f"the network takes {entry.dtype}{list(entry.shape)}"
        )
    return array
