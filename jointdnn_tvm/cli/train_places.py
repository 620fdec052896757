"""Where `jointdnn train` takes its steps: in this process, or with a cloud, and from where on."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.cli import arguments
from jointdnn_tvm.cli.console import Progress, note
from jointdnn_tvm.errors import DeviceError, RunError

if TYPE_CHECKING:
    from jointdnn_tvm.planning import Plan
    from jointdnn_tvm.runtime.trainer import Trainer as SavedTrainer
    from jointdnn_tvm.training.epochs import Trainer
    from jointdnn_tvm.training.examples import Batch
    from jointdnn_tvm.training.step import TrainingStep

_BUNDLE, _SETTINGS = "bundle.jd", "settings.json"
_NOT_OF_THE_RUN = {
    *("verb", "run", "json", "debug", "out", "checkpoints", "checkpoint_every", "tracker"),
    *("cloud_key", "mobile_key", "device_timeout", "timeout", "costs", "validation", "alone"),
}
"""Arguments that may be others when a run goes on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the place, and of what is kept of a run."""
    arguments.add_targets(parser)
    group = parser.add_argument_group("with a cloud (--tracker)")
    group.add_argument("--link", metavar="LINK", default="huang2012-wifi", help="as `plan` has it")
    group.add_argument(
        "--objective", choices=("latency", "energy"), default="latency", help="of a step"
    )
    group.add_argument(
        "--placement",
        metavar="P",
        default="auto",
        help="auto, mobile-only, cloud-only, random:SEED, or a JSON file (default: auto)",
    )
    group.add_argument(
        "--codecs",
        choices=("none", "lossless", "f16", "u8"),
        default="none",
        help="how tensors may be encoded for the link: not at all, with every bit coming back, or "
        "activations and gradients with few bits a number, which is no exact training any more: "
        "what gradients lose is sent in the next step (default: none)",
    )
    group.add_argument(
        "--private",
        choices=("inputs", "labels"),
        action="append",
        default=[],
        help="what must not leave this machine (may be repeated)",
    )
    group.add_argument(
        "--alone", action="store_true", help="go on without the cloud when it is lost"
    )
    arguments.add_limits(parser)
    kept = parser.add_argument_group("what is kept of a run")
    kept.add_argument(
        "--checkpoints",
        metavar="DIR",
        type=Path,
        help="a folder of the run's own, from which the same command goes on",
    )
    kept.add_argument(
        "--checkpoint-every",
        metavar="N",
        type=arguments.positive,
        default=50,
        help="steps (default: 50)",
    )


@contextmanager
def open_trainer(
    args: argparse.Namespace, step: TrainingStep, batch: Batch, report: Progress
) -> Iterator[tuple[Trainer, dict[str, Any]]]:
    """What takes the steps, closed in the end, and what the plan was, where there is one.

    By the first batch codecs are chosen.
    """
    if args.tracker is None and args.checkpoints is None:
        from jointdnn_tvm.training.host_trainer import HostTrainer

        report("compiling", 0, 1)
        trainer = HostTrainer(step, seed=args.seed)
        report("compiling", 1, 1)
        yield trainer, {}
        return
    with ExitStack() as stack:
        folder = args.checkpoints
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jointdnn-")))
        else:
            _check_settings(args, folder)
        if not (folder / _BUNDLE).exists():
            _build(args, step, batch, folder / _BUNDLE, report)
        trainer_of_run, plan = _open(args, folder / _BUNDLE)
        yield stack.enter_context(trainer_of_run), plan


def keep(args: argparse.Namespace, trainer: Trainer, steps: int) -> None:
    """Write a checkpoint where it is time for one."""
    if args.checkpoints is not None and steps % args.checkpoint_every == 0:
        trainer.checkpoint()  # type: ignore[attr-defined]  # a run with a folder has them


def go_on_alone(trainer: Trainer, work: Callable[[], None]) -> None:
    """Do the work, again where the cloud is lost meanwhile and the trainer goes on alone."""
    while True:
        before = getattr(trainer, "cloud_error", None)
        try:
            return work()
        except DeviceError:
            error = getattr(trainer, "cloud_error", None)
            if error == before:
                raise
            note(f"the cloud is lost ({error}); going on alone after step {trainer.steps}")


def _check_settings(args: argparse.Namespace, folder: Path) -> None:
    """Whether the folder is of this very run; it is from now on. RunError says what differs."""
    given = {name: _plain(value) for name, value in vars(args).items()}
    given = {name: value for name, value in given.items() if name not in _NOT_OF_THE_RUN}
    given["model"] = hashlib.sha256(Path(args.model).read_bytes()).hexdigest()
    path = folder / _SETTINGS
    try:
        if path.exists():
            had = json.loads(path.read_bytes())
            other = [name for name in given if had.get(name) != given[name]]
            if other:
                name = other[0]
                raise RunError(
                    f"{folder} is of a run with another {name.replace('_', '-')} "
                    f"({had.get(name)}, not {given[name]}); give the same, or another folder"
                )
            return
        if folder.exists() and any(folder.iterdir()):
            raise RunError(f"{folder} holds other files; give --checkpoints a folder of its own")
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(given, indent=1) + "\n")
        part.replace(path)
    except OSError as error:
        raise RunError(f"{folder} cannot be used ({error.strerror}); choose another") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); give another folder") from error


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | list | None) else str(value)


def lossy_text(plan: dict[str, Any]) -> list[str]:
    """A line about tensors that cross by codecs that lose bits, where there are some."""
    from jointdnn_tvm.codec.registry import CODECS

    lossy = [codec for codec in plan["codecs"].values() if not CODECS[codec].exact]
    if not lossy:
        return []
    counts = " and ".join(f"{lossy.count(codec)} as {codec}" for codec in sorted(set(lossy)))
    return [f"of the tensors that cross, {counts}: not the bits of exact training"]


def _build(
    args: argparse.Namespace, step: TrainingStep, batch: Batch, path: Path, report: Progress
) -> None:
    from jointdnn_tvm.targets import load_target
    from jointdnn_tvm.training.build_training import build_training

    plan = None if args.tracker is None else _plan(args, step, batch, report)
    placement = {g.name: "mobile" for g in step.graph.groups}
    report("compiling", 0, 1)
    bundle = build_training(
        step,
        placement if plan is None else plan.answer.placement,  # type: ignore[arg-type]
        mobile=load_target(args.mobile),
        cloud=load_target(args.cloud),
        codecs=None if plan is None else plan.answer.codecs,
        fallback=args.alone,
        plan=None if plan is None else plan.to_json(),
    )
    bundle.save(path)
    report("compiling", 1, 1)


def _plan(args: argparse.Namespace, step: TrainingStep, batch: Batch, report: Progress) -> Plan:
    from jointdnn_tvm import api
    from jointdnn_tvm.planning import check_placement_choice
    from jointdnn_tvm.training.step_codecs import offer_step_codecs
    from jointdnn_tvm.training.step_plan import plan_training

    check_placement_choice(args.placement)
    devices = arguments.devices(args)
    path = api.find_path(args.link, devices=devices, database=args.costs)
    costs = api.find_costs(
        step,
        mobile=args.mobile,
        cloud=args.cloud,
        devices=devices,
        database=args.costs,
        progress=report,
    )
    costs = path.applied_to(costs)
    return plan_training(
        step,
        costs,
        link=path.link,
        objective=args.objective,
        limits=arguments.limits(args),
        private=args.private,
        placement=args.placement,
        codecs=offer_step_codecs(step, costs, args.codecs, batch=batch),
    )


def _open(args: argparse.Namespace, bundle: Path) -> tuple[SavedTrainer, dict[str, Any]]:
    from jointdnn_tvm.runtime.manifest import read_manifest
    from jointdnn_tvm.runtime.open_training import open_training

    trainer = open_training(
        bundle,
        tracker=args.tracker,
        key=args.cloud_key,
        checkpoints=args.checkpoints,
        seed=args.seed,
        alone=args.alone,
        timeout_s=args.device_timeout,
    )
    if trainer.steps:
        note(f"going on after step {trainer.steps}, the last checkpoint of {args.checkpoints}")
    plan = dict(read_manifest(bundle).plan)
    return trainer, plan if "latency_s" in plan else {}
