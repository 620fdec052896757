"""Every network, placed at random, gives onnxruntime's answer: the commands a user would type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdnn_tvm.cli import main
from tests.networks import LIGHT, SHAPES, light_network, trained_network
from tests.pictures import page_of_text

FAST = ("pnet", "rnet")
SLOW = ("onet", "ppocr_cls", "ppocr_rec", "ppocr_det", "opennsfw")

Command = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all: alike groups of all networks are measured once."""
    return tmp_path_factory.mktemp("costs") / "costs.sqlite"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> dict[str, Any]:
        status = main([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        assert status == 0, err
        result: dict[str, Any] = json.loads(out)
        return result

    return run


def check(command: Command, model: Path, costs: Path, folder: Path, seed: int, *how: str) -> None:
    """Compile with a random placement and verify on an input of another seed."""
    shape, given = [w for w in how if "--input" not in w], [w for w in how if "--input" in w]
    bundle = folder / "model.jd"
    compiled = command(
        *("compile", model, "-o", bundle, "--costs", costs, "--placement", f"random:{seed}"),
        *("--link", "huang2012-wifi", *shape),
    )
    verified = command("verify", bundle, model, "--seed", 100 + seed, *given)
    assert verified["stages"] == len(compiled["stages"]) > 1
    assert verified["max_rel_error"] <= 1e-4


def shape_of(name: str) -> list[str]:
    shapes = {"x": (1, 3, 224, 224)} if name == "ppocr_det" else SHAPES.get(name, {})
    return [f"--shape={n}={','.join(map(str, s))}" for n, s in shapes.items()]


def trained(name: str) -> Path:
    try:
        return trained_network(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def photograph(folder: Path) -> str:
    np.save(folder / "page.npy", page_of_text(224))
    return f"--input=x={folder / 'page.npy'}"


@pytest.mark.parametrize("name", FAST)
def test_small_trained_networks(name: str, command: Command, costs: Path, tmp_path: Path) -> None:
    check(command, trained(name), costs, tmp_path, 1, *shape_of(name))


def test_a_light_network(command: Command, costs: Path, tmp_path: Path) -> None:
    check(command, light_network("squeezenet", tmp_path), costs, tmp_path, 0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_trained_networks(name: str, command: Command, costs: Path, tmp_path: Path) -> None:
    given = [photograph(tmp_path)] if name == "ppocr_det" else []
    for seed in range(10):
        check(command, trained(name), costs, tmp_path, seed, *shape_of(name), *given)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", LIGHT)
def test_light_networks(name: str, command: Command, costs: Path, tmp_path: Path) -> None:
    model = light_network(name, tmp_path)
    for seed in range(10):
        check(command, model, costs, tmp_path, seed)
