"""Model files that cannot be compiled: one line, exit 1, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.command import Command, contents, shape_words
from tests.networks import SHAPES, trained_network
from tests.onnx_models import make_model, save

node = helper.make_node
RELU = node("Relu", ["x"], ["y"])
ROW = {"x": (1, 4)}


@pytest.fixture
def refused(jointdnn: Command, tmp_path: Path) -> Callable[..., str]:
    """Compile a file that cannot be; returns the one line, after a look at what was written."""

    def refuse(model: Path, *words: object) -> str:
        before = contents(tmp_path)
        output = tmp_path / "new" / "model.jd"
        line = jointdnn("compile", model, "-o", output, *words).complaint
        assert contents(tmp_path) == before
        return line

    return refuse


def _content(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "model.onnx"
        path.write_bytes(content)
        return path

    return write


GOOD = make_model(
    [node("Conv", ["x", "k"], ["c"]), node("Relu", ["c"], ["y"])],
    {"x": (1, 3, 8, 8)},
    ["y"],
    {"k": np.ones((4, 3, 3, 3), "float32")},
).SerializeToString()


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda folder: folder / "none.onnx", "cannot read '{}': No such file or directory"),
        (lambda folder: folder, "'{}' is a directory; give the .onnx file"),
        (lambda folder: Path("/dev/null"), "'{}' is not a regular file; give the .onnx file"),
        (lambda folder: folder / ("n" * 300), "cannot read '{}': File name too long"),
        (_content(b""), "'{}' is empty; export or download the model again"),
        (_content(GOOD[: len(GOOD) // 2]), "'{}' is not an ONNX file, or is cut short"),
        (_content(b"text, and not an ONNX file"), "'{}' is not an ONNX file"),
        (_content(b"\x89PNG\r\n\x1a\n" + bytes(64)), "'{}' is not an ONNX file"),
        (_content(b"\0" * 1000), "'{}' is not an ONNX file"),
    ],
)
def test_no_model(write: Callable[[Path], Path], told: str, tmp_path: Path, refused: Any) -> None:
    path = write(tmp_path)
    assert refused(path).startswith(told.format(path))


def _cycle() -> onnx.ModelProto:
    nodes = [node("Add", ["x", "b"], ["a"], name="loop"), node("Relu", ["a"], ["b"])]
    return make_model([*nodes, node("Relu", ["b"], ["y"])], ROW, ["y"])


def _attribute_cut_short() -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((2, 4), "float32"), "w")
    weights.raw_data = weights.raw_data[:-4]
    model = make_model([node("Add", ["x", "w"], ["y"])], ROW, ["y"])
    model.graph.initializer.append(weights)
    return model


def _text() -> onnx.ModelProto:
    model = make_model([RELU], ROW, ["y"])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return model


def _text_weight() -> onnx.ModelProto:
    model = make_model([node("Gather", ["w", "x"], ["y"])], {"x": np.zeros(1, "int64")}, ["y"])
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.STRING, [1], [b"a"]))  # type: ignore[list-item]
    return model


def _sequence() -> onnx.ModelProto:
    model = make_model([node("SequenceConstruct", ["x"], ["y"])], ROW, [])
    model.graph.output.append(helper.make_tensor_sequence_value_info("y", 1, None))
    return model


MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "no node": (lambda: make_model([], ROW, ["x"]), "the graph has no node"),
    "no output": (lambda: make_model([RELU], ROW, []), "the graph has no output"),
    "output twice": (lambda: make_model([RELU], ROW, ["y", "y"]), "output name 'y' is used 2"),
    "value twice": (lambda: make_model([RELU, RELU], ROW, ["y"]), "value name 'y' is used 2"),
    "nobody's output": (lambda: make_model([RELU], ROW, ["z"]), "output 'z' is produced by no"),
    "nobody's value": (
        lambda: make_model([node("Add", ["x", "z"], ["y"])], ROW, ["y"]),
        "the model is not valid ONNX: ",
    ),
    "cycle": (_cycle, "the graph has a cycle through node 'loop'"),
    "opset 999": (lambda: make_model([RELU], ROW, ["y"], opset=999), "operator set 999; known"),
    "unknown operator": (lambda: make_model([node("Rule", ["x"], ["y"])], ROW, ["y"]), "for Rule"),
    "unknown domain": (
        lambda: make_model([node("Relu", ["x"], ["y"], domain="com.x")], ROW, ["y"]),
        "com.x",
    ),
    "68 TB": (
        lambda: make_model(
            [node("ConstantOfShape", ["n"], ["c"]), node("Add", ["x", "c"], ["y"])],
            {"x": (1,)},
            ["y"],
            {"n": np.array([17 * 10**12])},
        ),
        "tensor 'c' of shape [17000000000000] would take 6.8e+04 GB",
    ),
    "huge input": (lambda: make_model([RELU], {"x": (1, 2**62)}, ["y"]), "more than the 16 GiB"),
    "text": (_text, "'x' holds text"),
    "text weight": (_text_weight, "'w' holds text"),
    "sequence": (_sequence, "'y' is a sequence, not a tensor"),
    "weights cut short": (_attribute_cut_short, "tensor 'w' is damaged"),
    "channels differ": (
        lambda: make_model(
            [node("Conv", ["x", "k"], ["y"])],
            {"x": (1, 5, 8, 8)},
            ["y"],
            {"k": np.ones((4, 3, 3, 3), "float32")},
        ),
        "node 'y' (Conv) ",
    ),
    "shape of the data's choice": (
        lambda: make_model([node("NonZero", ["x"], ["y"])], ROW, ["y"]),
        "a shape that depends on the data",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_wrong_model(name: str, tmp_path: Path, refused: Any) -> None:
    make, told = MODELS[name]
    assert told in refused(save(make(), tmp_path))


def test_operators_that_tvm_lacks(refused: Any) -> None:
    line = refused(trained_network("ddddocr_old"), *shape_words(SHAPES["ddddocr_old"]))
    assert "ConvInteger" in line or "DynamicQuantizeLSTM" in line


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "link", "folder/../../secret", ""])
def test_data_outside_the_folder(place: str, tmp_path: Path, refused: Any) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    model = make_model([node("Add", ["x", "w"], ["y"])], ROW, ["y"])
    weights = model.graph.initializer.add(name="w", dims=[1, 4], data_type=TensorProto.FLOAT)
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    line = refused(save(model, folder))
    assert "the data of tensor 'w' is said to be in" in line
    assert "outside the model's folder" in line


@pytest.mark.parametrize(
    ("shape", "words", "told"),
    [
        ((1, "c", 4), [], "leaves dimension 1 of 3 open; give its shape with --shape x=1,N,4"),
        ((1, "c", 4), ["x=1,2"], "shape [1, 2] does not fit input 'x', which is [1, '?', 4]"),
        ((1, "c", 4), ["x=1,2,5"], "shape [1, 2, 5] does not fit input 'x'"),
        ((1, "c", 4), ["z=1,2,4"], "no input is named 'z'; the inputs are x"),
        ((1, "c", 4), ["x=1,-2,4"], "--shape 'x=1,-2,4' is not NAME=1,3,224,224"),
        ((1, "c", 4), ["x=1,,4"], "--shape 'x=1,,4' is not NAME=1,3,224,224"),
        ((1, "c", 4), ["1,2,4"], "--shape '1,2,4' is not NAME=1,3,224,224"),
        ((1, "c", 4), ["x:1,2,4"], "--shape 'x:1,2,4' is not NAME=1,3,224,224"),
        ((1, "c", 4), ["x=1,9999999999999,4"], "more than the 16 GiB allowed"),
        ((1, 2, 4), ["x=1,3,4"], "shape [1, 3, 4] does not fit input 'x', which is [1, 2, 4]"),
    ],
)
def test_shapes(
    shape: Sequence[Any], words: list[str], told: str, tmp_path: Path, refused: Any
) -> None:
    path = save(make_model([RELU], {"x": shape}, ["y"]), tmp_path)
    assert told in refused(path, *(f"--shape={word}" for word in words))
