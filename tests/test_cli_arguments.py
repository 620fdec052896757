"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from jointdnn_tvm.api import Devices
from jointdnn_tvm.cli import arguments
from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.placement import Limits


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    arguments.add_model(parser)
    arguments.add_targets(parser)
    arguments.add_planning(parser)
    return parser.parse_args(["m.onnx", *words])


def test_defaults() -> None:
    args = parse()
    assert (args.model, args.shape) == ("m.onnx", [])
    assert (args.mobile, args.cloud, args.tracker, args.costs) == ("host", "host", None, None)
    assert (args.link, args.objective, args.placement) == ("huang2012-wifi", "latency", "auto")
    assert arguments.devices(args) is None


def test_model_may_be_optional() -> None:
    parser = argparse.ArgumentParser()
    arguments.add_model(parser, optional=True)
    assert parser.parse_args([]).model is None
    assert parser.parse_args(["m.onnx"]).model == "m.onnx"


def test_devices_at_a_tracker() -> None:
    args = parse("--tracker", "lab:9190", "--cloud-key", "gpu", "--device-timeout", "2.5")
    assert arguments.devices(args) == Devices("lab:9190", "mobile", "gpu", 2.5)
    assert parse("--costs", "c.sqlite").costs == Path("c.sqlite")


def test_shapes() -> None:
    args = parse("--shape", "x=1,3,224,224", "--shape", "a=b=7", "--shape", "s=", "--shape", "x=2")
    assert arguments.shapes(args) == {"x": (2,), "a=b": (7,), "s": ()}


@pytest.mark.parametrize(
    "text", ["x", "", "=1,2", "x=1,", "x=,1", "x=1;2", "x=1.5", "x=-1,3", "x=a", "x=1 2", "x=1,,2"]
)
def test_shape_that_is_none(text: str) -> None:
    with pytest.raises(ModelError, match=r"--shape .* is not NAME=1,3,224,224"):
        arguments.shapes(parse("--shape", text))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e99", "x", ""])
def test_seconds_are_above_0(text: str) -> None:
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        arguments.positive_seconds(text)
    with pytest.raises(argparse.ArgumentError, match="--device-timeout"):
        parse(f"--device-timeout={text}")


def test_seconds() -> None:
    assert arguments.positive_seconds("0.25") == 0.25


def test_cloud() -> None:
    parser = argparse.ArgumentParser()
    arguments.add_cloud(parser)
    args = parser.parse_args([])
    assert (args.cloud, args.tracker, args.cloud_key, args.timeout) == (None, None, "cloud", 30.0)
    args = parser.parse_args(["--cloud", "local", "--timeout", "3"])
    assert (args.cloud, args.timeout) == ("local", 3.0)


def test_limits_become_seconds_joules_and_bytes() -> None:
    assert arguments.limits(parse()) == Limits()
    words = ["--deadline-ms", "20", "--max-energy-mj", "500", "--max-cloud-ms", "0"]
    words += ["--max-mobile-mb", "1.5", "--max-mobile-peak-mb", "2", "--max-error", "0.25"]
    assert arguments.limits(parse(*words)) == Limits(0.02, 0.5, 0.0, 1.5e6, 2e6, 0.25)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e99", "x", ""])
def test_limits_are_amounts(text: str) -> None:
    with pytest.raises(argparse.ArgumentError, match="--max-energy-mj"):
        parse(f"--max-energy-mj={text}")
