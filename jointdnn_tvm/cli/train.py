"""`jointdnn train`: an ONNX file, trained further on examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jointdnn_tvm.cli import arguments, train_places
from jointdnn_tvm.cli.console import progress
from jointdnn_tvm.cli.course import Course, row_text
from jointdnn_tvm.cli.units import quantity

if TYPE_CHECKING:
    from jointdnn_tvm.training.epochs import StepTaken
    from jointdnn_tvm.training.step import TrainingStep
    from jointdnn_tvm.training.trainable import Trainable

HELP = "train a network further, on this machine or with a cloud"

_BATCH = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    arguments.add_model(parser)
    parser.add_argument(
        "--data",
        metavar="FILE.npz|DIR",
        type=Path,
        required=True,
        help="examples: an array for each input, by its name, and `label`; first dimension: "
        "the examples",
    )
    parser.add_argument(
        "--out", metavar="TUNED.onnx", type=Path, required=True, help="where the result is written"
    )
    parser.add_argument(
        "--validation",
        metavar="FILE.npz|DIR",
        type=Path,
        help="examples to judge by after each epoch, not trained",
    )
    _add_goal(parser.add_argument_group("goal"))
    _add_choice(parser.add_argument_group("what is trained (default: all weights)"))
    _add_course(parser.add_argument_group("course"))
    train_places.add_arguments(parser)


def _add_goal(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--loss",
        metavar="LOSS",
        default="cross-entropy",
        help="cross-entropy (of class ids), soft-cross-entropy, mse, l1, huber, or own: an output "
        "that is a loss (default: cross-entropy)",
    )
    group.add_argument("--loss-output", metavar="NAME", help="of which output (default: the first)")
    group.add_argument(
        "--class-axis",
        metavar="N",
        type=int,
        default=1,
        help="dimension of that output along which scores of classes are (default: 1)",
    )


def _add_choice(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--last-layers",
        metavar="N",
        type=arguments.positive,
        help="only those of the last N layers",
    )
    group.add_argument("--biases", action="store_true", help="only biases and shifts")
    group.add_argument(
        "--weights",
        metavar="PATTERN",
        action="append",
        default=[],
        help="only those with such a name, as `head.*` (may be repeated)",
    )
    group.add_argument(
        "--batch-norm",
        choices=("frozen", "batch"),
        default="frozen",
        help="by running statistics that stay, or by those of each batch (default: frozen)",
    )
    group.add_argument("--dropout", action="store_true", help="dropouts in the file drop")


def _add_course(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs", metavar="N", type=arguments.positive, default=1, help="default: 1"
    )
    group.add_argument(
        "--batch",
        metavar="B",
        type=arguments.positive,
        help=f"examples a step (default: {_BATCH}, or as the file has it)",
    )
    group.add_argument(
        "--accumulate",
        metavar="N",
        type=arguments.positive,
        default=1,
        help="N batches move the weights once, by their mean gradient (default: 1)",
    )
    group.add_argument(
        "--optimizer",
        metavar="NAME",
        default="adamw",
        help="sgd, momentum, nesterov, adam or adamw (default: adamw)",
    )
    group.add_argument("--learning-rate", metavar="R", type=arguments.amount, default=1e-3)
    group.add_argument(
        "--schedule",
        metavar="SHAPE",
        default="constant",
        help="constant, or falling to 0: linear or cosine (default: constant)",
    )
    group.add_argument(
        "--warmup", metavar="N", type=int, default=0, help="steps in which the rate rises"
    )
    group.add_argument("--weight-decay", metavar="D", type=arguments.amount)
    group.add_argument("--momentum", metavar="M", type=arguments.amount)
    group.add_argument(
        "--clip-norm", metavar="N", type=arguments.amount, help="most that gradients may measure"
    )
    group.add_argument(
        "--seed", type=int, default=0, help="of the order of examples and of dropout (default: 0)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Train, write the result, and return how it went."""
    from jointdnn_tvm.errors import DivergedError
    from jointdnn_tvm.training.batches import Batches
    from jointdnn_tvm.training.epochs import evaluate_examples, train_epochs
    from jointdnn_tvm.training.examples import read_examples
    from jointdnn_tvm.training.score import score
    from jointdnn_tvm.training.write_onnx import check_can_write, write_onnx

    source = Path(args.model)
    check_can_write(args.out, source)
    network, step = _step(args)
    output = args.loss_output or network.outputs[0].name
    examples = read_examples(args.data, step)
    judged = examples.first(examples.batch_size)
    scores = {}
    if args.validation is not None:
        judged = read_examples(args.validation, step)
        scores["before"] = score(source, judged, output)
    batches = Batches(examples, args.seed)
    steps = _steps(args, batches.per_epoch)
    rate = _rate(args, steps)
    with (
        progress() as report,
        train_places.open_trainer(args, step, batches.of(0), report) as (trainer, plan),
    ):
        validate = partial(evaluate_examples, trainer, judged) if scores else None
        course = Course(steps, args.epochs, batches.per_epoch, report, validate)

        def took(taken: StepTaken) -> None:
            course.took(taken)
            train_places.keep(args, trainer, taken.number)

        try:
            train_places.go_on_alone(
                trainer, lambda: train_epochs(trainer, batches, rate, steps, took)
            )
        except DivergedError as error:
            if trainer.steps:
                write_onnx(source, trainer.weights(), args.out)
            raise DivergedError(f"{error}; {_advice(trainer.steps, args.out)}") from error
        write_onnx(source, trainer.weights(), args.out)
        taken = trainer.steps
    after = score(args.out, judged, output)  # at least proves that onnxruntime runs the file
    if scores:
        scores["after"] = after
    return {
        "model": str(args.out),
        "trained": {tensor.source: list(tensor.form.shape) for tensor in network.trained},
        "examples": len(examples),
        "batch": examples.batch_size,
        "steps": taken,
        **course.result(),
        "scores": scores,
        **({"plan": plan} if plan else {}),
    }


def _step(args: argparse.Namespace) -> tuple[Trainable, TrainingStep]:
    from jointdnn_tvm.errors import RunError
    from jointdnn_tvm.training.choose_weights import TrainedWeights
    from jointdnn_tvm.training.losses import loss_named
    from jointdnn_tvm.training.optimizers import optimizer_named
    from jointdnn_tvm.training.step import training_step
    from jointdnn_tvm.training.trainable import load_trainable

    loss = loss_named(args.loss, args.class_axis)
    settings = {"momentum": args.momentum, "weight_decay": args.weight_decay}
    optimizer = optimizer_named(args.optimizer, **settings)
    network = load_trainable(
        args.model,
        arguments.shapes(args),
        batch=args.batch or _BATCH,
        trained=TrainedWeights(args.last_layers, args.biases, tuple(args.weights)),
        batch_norm=args.batch_norm,
        dropout=args.dropout,
    )
    sizes = {spec.name: spec.shape[:1] for spec in network.inputs}
    for name, size in sizes.items():
        if args.batch is not None and size != (args.batch,):
            raise RunError(
                f"--batch {args.batch}: input '{name}' has a batch of {size[0] if size else 1}, in "
                "the file or by --shape; leave --batch out, or export the model with an open batch"
            )
    step = training_step(
        network,
        loss,
        optimizer,
        output=args.loss_output,
        clip_norm=args.clip_norm,
        accumulate=args.accumulate,
    )
    return network, step


def _steps(args: argparse.Namespace, per_epoch: int) -> int:
    """Those of all epochs, without batches at the end that would move nothing."""
    from jointdnn_tvm.errors import RunError

    steps = args.epochs * per_epoch
    whole: int = steps - steps % args.accumulate
    if not whole:
        raise RunError(
            f"--accumulate {args.accumulate}: {args.epochs} epochs have {steps} batches in all, so "
            "that the weights would never move; give less, or more --epochs"
        )
    return whole


def _rate(args: argparse.Namespace, steps: int) -> Callable[[int], float]:
    """Of each step; counted in updates where gradients are accumulated."""
    from jointdnn_tvm.training.schedules import Schedule

    of_update = Schedule(args.learning_rate, steps // args.accumulate, args.schedule, args.warmup)
    return lambda step: of_update(step // args.accumulate)


def _advice(steps: int, out: Path) -> str:
    kept = f"the weights after step {steps} are in {out}" if steps else "nothing is written"
    return f"{kept}; lower --learning-rate, give --clip-norm, or look at the data"


def render(result: dict[str, Any]) -> str:
    """Say where the tuned network is, and how good it has become."""
    count = len(result["trained"])
    told = row_text(result["epochs"][-1]) if result["epochs"] else "nothing"
    lines = [
        f"{result['model']}: {count} weight{'' if count == 1 else 's'} trained in "
        f"{result['steps']} steps of {result['batch']} examples; {told} in the last epoch"
    ]
    if "plan" in result:
        sides = list(result["plan"]["placement"].values())
        lines.append(
            f"{sides.count('mobile')} groups on the mobile, {sides.count('cloud')} on the cloud: "
            f"{quantity(result['plan']['latency_s'], 's')} a step predicted"
        )
        lines += train_places.lossy_text(result["plan"])
    if result["scores"]:
        before, after = result["scores"]["before"], result["scores"]["after"]
        lines += [f"{name}: {before[name]:.4g} before, {after[name]:.4g} after" for name in after]
    return "\n".join(lines)
