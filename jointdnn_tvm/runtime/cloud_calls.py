"""The cloud stages of a bundle as calls: what goes up, what comes back, what stays there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from jointdnn_tvm.codec.registry import NONE
from jointdnn_tvm.errors import DeviceError
from jointdnn_tvm.runtime.cloud import Header, Tensors
from jointdnn_tvm.runtime.manifest import Manifest, StageEntry
from jointdnn_tvm.runtime.stage_module import Value, seen


class RunsStages(Protocol):
    """What runs a stage of the cloud when it is called, as a `Cloud` does."""

    def run(self, header: Header, tensors: Tensors) -> Tensors:
        """Run one stage; DeviceError when the cloud does not answer."""


class CloudCalls:
    """Makes the calls of one request after the other.

    `needed` are tensors that the phone needs beside those that its stages read.
    """

    def __init__(self, manifest: Manifest, needed: Iterable[str]) -> None:
        self._manifest = manifest
        wanted = {t for s in manifest.stages if s.side == "mobile" for t in s.inputs} | {*needed}
        cloud = [s for s in manifest.stages if s.side == "cloud"]
        self._wanted = {s.name: tuple(t for t in s.outputs if t in wanted) for s in cloud}
        self._last = cloud[-1].name if cloud else None

    def run(
        self,
        cloud: RunsStages,
        stage: StageEntry,
        held: Mapping[str, Value],
        there: set[str],
        header: Header,
    ) -> Tensors:
        """Run a stage on the cloud; returns the tensors that the phone needs of it.

        Args:
            cloud: where.
            stage: a stage of the cloud.
            held: the tensors that the phone has.
            there: names of those that the cloud has; what this call adds is added.
            header: says more about the request, its number as `request` at least.

        Raises:
            DeviceError: the cloud does not answer, or lacks a tensor in its answer.
        """
        wanted = self._wanted[stage.name]
        sent = {t: seen(held[t]) for t in stage.inputs if t not in there}
        call = {
            **header,
            "stage": stage.name,
            "wanted": list(wanted),
            "codecs": self._codecs([*sent, *wanted]),
            "last": stage.name == self._last,
        }
        answer = cloud.run(call, sent)
        there.update(sent, stage.outputs)
        return {name: self._checked(stage, name, answer) for name in wanted}

    def _codecs(self, names: Iterable[str]) -> dict[str, str]:
        """The codecs of the tensors that have one."""
        codecs = {name: self._manifest.tensors[name].codec for name in names}
        return {name: codec for name, codec in codecs.items() if codec != NONE}

    def _checked(self, stage: StageEntry, name: str, answer: Tensors) -> np.ndarray:
        """A tensor of an answer; DeviceError when it is not there, or not as it must be."""
        entry, found = self._manifest.tensors[name], answer.get(name)
        if found is None or (found.shape, found.dtype.name) != (entry.shape, entry.dtype):
            raise DeviceError(f"the cloud's answer to {stage.name} has no such tensor {name!r}")
        return found
