"""The phone's process: it runs the mobile stages and calls the cloud for the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jointdnn_tvm.errors import BundleError, DeviceError, RunError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.check_inputs import check_inputs
from jointdnn_tvm.runtime.closing import Closing
from jointdnn_tvm.runtime.cloud import Cloud, LocalCloud, RemoteCloud, Tensors, reach
from jointdnn_tvm.runtime.cloud_calls import CloudCalls
from jointdnn_tvm.runtime.manifest import Manifest, StageEntry, check_files, read_manifest
from jointdnn_tvm.runtime.stage_module import StageModule, check_runtime, load_side

logger = logging.getLogger(__name__)


class Session(Closing):
    """Runs the network of one bundle, one query at a time.

    When the cloud is lost in the middle of a query, the phone computes what is missing from the
    tensors that it still holds, and goes on alone; `cloud_error` then says why.
    """

    def __init__(
        self,
        manifest: Manifest,
        mobile: StageModule | None,
        cloud: Cloud | None,
        cloud_error: str | None = None,
    ) -> None:
        self.manifest = manifest
        self.cloud_error = cloud_error
        self._mobile = mobile
        self._cloud = cloud
        self._closed = False
        self._lock = threading.Lock()
        self._requests = 0
        self._calls = CloudCalls(manifest, [p.tensor for p in manifest.outputs])

    def signature(self) -> list[tuple[str, tuple[int, ...], str]]:
        """Name, shape and type of each input."""
        entries = [(p.name, self.manifest.tensors[p.tensor]) for p in self.manifest.inputs]
        return [(name, entry.shape, entry.dtype) for name, entry in entries]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Compute the network's outputs, by the user's names, from its inputs, by theirs.

        Threads take turns. RunError when an input is missing, unknown, or has another shape or
        type than the network's; DeviceError when the cloud is lost and the bundle has no fallback.
        """
        held = check_inputs(self.manifest, inputs)
        with self._lock:
            if self._closed:
                raise RunError("the session is closed; open a new one")
            self._requests += 1
            on_cloud: set[str] = set()
            for stage in self.manifest.stages:
                if stage.side == "cloud" and self._cloud is not None:
                    self._run_on_cloud(self._cloud, stage, held, on_cloud)
                else:
                    self._run_here(stage, held)
        return {p.name: np.require(held[p.tensor], None, "W") for p in self.manifest.outputs}

    def _run_on_cloud(
        self, cloud: Cloud, stage: StageEntry, held: Tensors, on_cloud: set[str]
    ) -> None:
        try:
            held.update(self._calls.run(cloud, stage, held, on_cloud, {"request": self._requests}))
        except DeviceError as error:
            if not self.manifest.fallback:
                raise
            self._run_here(stage, held)  # a query that fails here too is to blame, not the cloud
            self.cloud_error = str(error)
            logger.warning("the cloud is lost (%s); going on alone", error)
            cloud.close()
            self._cloud = None

    def _run_here(self, stage: StageEntry, held: Tensors) -> None:
        """Run a stage on the phone; tensors that stayed on a lost cloud are computed again."""
        for earlier in self.manifest.stages:
            if earlier is stage:
                break
            if any(t not in held for t in earlier.outputs if t in stage.inputs):
                self._run_here(earlier, held)
        assert self._mobile is not None  # the bundle's own check: it has mobile stages or fallback
        held.update(self._mobile.run(stage.name, held))

    def close(self) -> None:
        """End the connection to the cloud; the session cannot run any more."""
        self._closed = True
        if self._cloud is not None:
            self._cloud.close()
            self._cloud = None


def open_session(
    bundle: str | Path,
    *,
    cloud: str | None = None,
    tracker: str | None = None,
    key: str = "cloud",
    timeout_s: float = 30.0,
) -> Session:
    """Check the bundle's files, load the mobile side, and reach the cloud side.

    `cloud` is ``"host:port"`` of a device server, or ``"local"`` for this process; else the
    `tracker` at ``"host:port"`` is asked for a device with `key`. `timeout_s` bounds the
    connection and each remote call. A cloud that cannot be used is as good as lost: with a
    fallback in the bundle the session runs on the phone alone, and its `cloud_error` says why.
    BundleError and DeviceError say what is wrong.
    """
    folder = Path(bundle)
    manifest = read_manifest(folder)
    if manifest.training is not None:
        raise BundleError(f"{folder} is a bundle that trains; open it with `jd.open_training`")
    check_runtime(manifest.versions.get("tvm"))
    check_files(folder, manifest)
    mobile = load_side(folder, manifest, "mobile")
    if not manifest.stages_on("cloud"):
        return Session(manifest, mobile, None)
    if cloud == "local":
        module = load_side(folder, manifest, "cloud")
        return Session(manifest, mobile, LocalCloud(module) if module else None)
    if cloud is None and tracker is None:
        raise DeviceError(
            f"{folder} has cloud stages; say where they run: --cloud HOST:PORT, --cloud local, "
            "or --tracker HOST:PORT"
        )
    Address.parse(str(cloud or tracker))  # a slip is told, not taken for a lost cloud
    try:
        return Session(manifest, mobile, _connect(folder, manifest, cloud, tracker, key, timeout_s))
    except DeviceError as error:
        if not manifest.fallback:
            raise
        logger.warning("the cloud cannot be used (%s); going on alone", error)
        return Session(manifest, mobile, None, str(error))


def _connect(
    folder: Path,
    manifest: Manifest,
    cloud: str | None,
    tracker: str | None,
    key: str,
    timeout_s: float,
) -> RemoteCloud:
    remote = reach(cloud, tracker, key, timeout_s)
    try:
        return RemoteCloud.connect(folder, manifest, remote, timeout_s)
    except BaseException:
        remote.close()
        raise
