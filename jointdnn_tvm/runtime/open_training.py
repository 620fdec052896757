"""Open a bundle that trains: a new run, or one that goes on from its checkpoints."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from jointdnn_tvm.errors import BundleError, DeviceError
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.bundle_names import library_name, state_name, weights_name
from jointdnn_tvm.runtime.cloud import reach
from jointdnn_tvm.runtime.large_blocks import return_large_blocks
from jointdnn_tvm.runtime.manifest import (
    check_files,
    read_manifest,
)
from jointdnn_tvm.runtime.stage_module import check_runtime, load_side
from jointdnn_tvm.runtime.trainer import Trainer
from jointdnn_tvm.runtime.training_cloud import (
    LocalTrainingCloud,
    RemoteTrainingCloud,
    TrainingCloud,
)
from jointdnn_tvm.runtime.training_server import opening
from jointdnn_tvm.runtime.training_start import Start, TrainingBundle, starts
from jointdnn_tvm.runtime.weights import write_weights

logger = logging.getLogger(__name__)


def open_training(
    bundle: str | Path,
    *,
    cloud: str | None = None,
    tracker: str | None = None,
    key: str = "cloud",
    checkpoints: str | Path | None = None,
    seed: int = 0,
    alone: bool = False,
    timeout_s: float = 30.0,
) -> Trainer:
    """Check the bundle's files, load the mobile side, reach the cloud side, and begin or go on.

    Args:
        bundle: the folder.
        cloud: ``"host:port"`` of a device server, or ``"local"`` for this process.
        tracker: ``"host:port"`` of one that knows a device with `key`, where `cloud` is not given.
        key: of that device.
        checkpoints: a folder of the run's own. Where it has checkpoints, the run goes on from the
            newest of which the cloud has its half; `Trainer.steps` says where that is.
        seed: of the dropout masks.
        alone: whether the phone may go on without a cloud. Its checkpoints then have both halves.
        timeout_s: bounds the connection and each remote call.

    Raises:
        BundleError: the bundle, or a checkpoint, is damaged or of something else.
        DeviceError: the cloud cannot be used, or does not have its half of any checkpoint.
        RunError: the checkpoints are of a run with another seed.
    """
    return_large_blocks()
    opened = _open_bundle(Path(bundle))
    folder = None if checkpoints is None else Path(checkpoints)
    found = starts(opened, folder, seed)
    if alone and not opened.manifest.fallback:
        raise BundleError(
            f"{bundle} cannot train on the phone alone; build it with a fallback, or open it "
            "without `alone`"
        )
    if not opened.manifest.stages_on("cloud"):
        return Trainer(opened, found[0], None, checkpoints=folder)
    if cloud is None and tracker is None and not alone:
        raise DeviceError(f"{bundle} has cloud stages; say where they run: `cloud` or `tracker`")
    if cloud != "local" and (cloud or tracker):
        Address.parse(str(cloud or tracker))  # a slip is told, not taken for a lost cloud
    try:
        reached = _reach(cloud, tracker, key, timeout_s, folder)
        try:
            start = _first_on(reached, opened, found)
        except BaseException:
            reached.close()
            raise
        return Trainer(opened, start, reached, checkpoints=folder, alone=alone)
    except DeviceError as error:
        whole = [start for start in found if start.state.keys() >= opened.carried]
        if not alone or not whole:
            raise
        logger.warning("the cloud cannot be used (%s); going on alone", error)
        why = str(error)
    return Trainer(opened, whole[0], None, checkpoints=folder, alone=True, cloud_error=why)


def _open_bundle(folder: Path) -> TrainingBundle:
    manifest = read_manifest(folder)
    if manifest.training is None:
        raise BundleError(f"{folder} is a bundle that does not train; open it with a session")
    check_runtime(manifest.versions.get("tvm"))
    check_files(folder, manifest)
    mobile = load_side(folder, manifest, "mobile")
    return TrainingBundle(folder, manifest, manifest.training, mobile)


def _reach(
    cloud: str | None, tracker: str | None, key: str, timeout_s: float, checkpoints: Path | None
) -> TrainingCloud:
    if cloud == "local":
        return LocalTrainingCloud(None if checkpoints is None else checkpoints / "cloud")
    if cloud is None and tracker is None:
        raise DeviceError("no cloud was given")
    session = reach(cloud, tracker, key, timeout_s)
    try:
        return RemoteTrainingCloud(session, timeout_s)
    except BaseException:
        session.close()
        raise


def _first_on(cloud: TrainingCloud, bundle: TrainingBundle, found: list[Start]) -> Start:
    """The first of these starts of which the cloud has, or can be given, its half."""
    folder = bundle.folder
    files = {
        "library": cloud.send(folder / library_name("cloud")),
        "weights": cloud.send(folder / weights_name("cloud")),
    }
    for start in found:
        if _open_on(cloud, bundle, start, files):
            return start
    newest = found[0].steps
    raise DeviceError(
        f"the cloud does not have its half of the run after step {newest}; give the device server "
        "that the run was on, or begin again with another folder for the checkpoints"
    )


def _open_on(
    cloud: TrainingCloud, bundle: TrainingBundle, start: Start, files: dict[str, str]
) -> bool:
    def opened(sha256: str) -> bool:
        document = opening(start.run, bundle.manifest, files, start.steps, sha256)
        return cloud.open(document)

    held = bundle.manifest.state_held_by("cloud")
    if start.steps == 0 and held:
        return opened(cloud.send(bundle.folder / state_name("cloud")))
    if start.cloud is not None and opened(start.cloud):
        return True
    if not start.state.keys() >= set(held):
        return False
    with tempfile.TemporaryDirectory(prefix="jointdnn-state-") as folder:
        half = Path(folder) / state_name("cloud")
        write_weights(half, {name: start.state[name] for name in held})
        return opened(cloud.send(half))
