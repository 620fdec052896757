from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tvm import relax

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.network import TensorSpec, load_network
from tests.networks import LIGHT, SHAPES, TRAINED, light_network, trained_network
from tests.onnx_models import (
    calls,
    make_model,
    random_like,
    run_network,
    run_onnx,
    save,
)

FAST = ("pnet", "rnet", "onet")
TOLERANCE = 1e-4


def check(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """The largest error over the largest value of onnxruntime's answer."""
    network = load_network(path, shapes)
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.uniform(0, 1, i.shape).astype(i.dtype) for i in network.inputs}
    answers = run_network(network, feeds)
    expected = run_onnx(onnx.load(path), feeds)
    for spec, answer, wanted in zip(network.outputs, answers, expected, strict=True):
        assert spec.shape == answer.shape == wanted.shape
        assert spec.dtype == str(answer.dtype)
        assert np.abs(answer - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize("name", FAST)
def test_small_trained_networks(name: str) -> None:
    check(trained_network(name), SHAPES.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRAINED.keys() - {*FAST, "ddddocr_old"}))
def test_trained_networks(name: str) -> None:
    check(trained_network(name), SHAPES.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LIGHT if name != "vgg19"])
def test_architectures(name: str, tmp_path: Path) -> None:
    check(light_network(name, tmp_path), {})


@pytest.mark.parametrize(
    ("name", "transpositions"),
    [("pnet", 0), ("ppocr_cls", 1), ("ppocr_det", 3), ("ppocr_rec", 9), ("opennsfw", 0)],
)
def test_few_transpositions(name: str, transpositions: int) -> None:
    network = load_network(trained_network(name), SHAPES.get(name, {}))
    assert calls(network.module).count("relax.permute_dims") <= transpositions


def test_one_function_of_one_block() -> None:
    network = load_network(trained_network("rnet"))
    assert [v.name_hint for v in network.module.functions] == ["main"]
    main = network.module["main"]
    assert len(main.body.blocks) == 1
    assert isinstance(main.body.blocks[0], relax.DataflowBlock)
    assert isinstance(main.ret_ty, relax.TupleType)
    assert int(main.attrs["num_input"]) == len(network.inputs) == 1
    weights = main.params[1:]
    assert [param.name for param in weights] == list(network.weights)
    for param, array in zip(weights, network.weights.values(), strict=True):
        assert tuple(int(dim) for dim in param.ty.shape) == array.shape
        assert str(param.ty.dtype) == str(array.dtype)


def test_users_names_stay(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["my input:0"], ["scores/softmax"])
    path = save(
        make_model([node], {"my input:0": ("N", 3)}, ["scores/softmax"]), tmp_path, "a b.onnx"
    )
    network = load_network(path, {"my input:0": (2, 3)})
    assert network.name == "a_b"
    assert network.inputs == (TensorSpec("my input:0", (2, 3), "float32"),)
    assert network.outputs == (TensorSpec("scores/softmax", (2, 3), "float32"),)


def test_outputs_that_are_one_value(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["b"])]
    network = load_network(save(make_model(nodes, {"x": (3,)}, ["b", "a"]), tmp_path))
    assert [spec.name for spec in network.outputs] == ["b", "a"]
    x = random_like((3,))
    for answer in run_network(network, {"x": x}):
        np.testing.assert_array_equal(answer, np.maximum(x, 0))


def test_kernels_are_height_width_in_out(tmp_path: Path) -> None:
    weight = random_like((8, 3, 5, 7))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    path = save(make_model([node], {"x": (1, 3, 9, 9)}, ["y"], {"w": weight}), tmp_path)
    (kernel,) = load_network(path).weights.values()
    np.testing.assert_array_equal(kernel, weight.transpose(2, 3, 1, 0))


def test_dense_weights_are_in_out(tmp_path: Path) -> None:
    weight = random_like((8, 3))
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    path = save(make_model([node], {"x": (1, 3)}, ["y"], {"w": weight}), tmp_path)
    network = load_network(path)
    assert calls(network.module) == ["relax.matmul"]
    (array,) = network.weights.values()
    np.testing.assert_array_equal(array, weight.T)


def test_quantized_network() -> None:
    with pytest.raises(ModelError, match="operators ConvInteger, com"):
        load_network(trained_network("ddddocr_old"), SHAPES["ddddocr_old"])


MEASURE = """
import resource, sys
from jointdnn_tvm.network import load_network
network = load_network(sys.argv[1])
assert sum(array.nbytes for array in network.weights.values()) > 548 << 20
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    """vgg19 holds 548 MiB of weights."""
    path = light_network("vgg19", tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 2.2 * (1 << 20)
