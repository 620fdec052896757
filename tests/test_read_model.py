from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.read_model import read_onnx_graph
from tests.onnx_models import make_model, random_like, save

RELU = helper.make_node("Relu", ["x"], ["y"])


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_onnx_graph(path, {})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.onnx")


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in refused(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert "is empty" in refused(tmp_path / "m.onnx")


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    assert "not a regular file" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"hello, this is text", bytes(100), b"\x08\x07" + bytes(5)])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert "is not an ONNX file" in refused(tmp_path / "m.onnx")


def test_file_cut_short(tmp_path: Path) -> None:
    model = make_model(
        [helper.make_node("Add", ["x", "k"], ["y"])], {"x": (9,)}, ["y"], {"k": random_like((9,))}
    )
    path = save(model, tmp_path)
    content = path.read_bytes()
    for length in range(1, len(content), 7):
        path.write_bytes(content[:length])
        refused(path)


def open_model(shape: list[object]) -> onnx.ModelProto:
    return make_model([RELU], {"x": shape}, ["y"])


def shape_of(model: onnx.ModelProto, folder: Path, **shapes: tuple[int, ...]) -> object:
    return read_onnx_graph(save(model, folder), shapes).shape("x")


def test_batch_is_one(tmp_path: Path) -> None:
    assert shape_of(open_model(["N", 3]), tmp_path) == (1, 3)
    assert shape_of(open_model(["N", 3]), tmp_path, x=(4, 3)) == (4, 3)


def test_other_open_dimensions(tmp_path: Path) -> None:
    path = save(open_model(["N", 3, "H", None]), tmp_path)
    message = refused(path)
    assert "input 'x'" in message
    assert "--shape x=N,3,N,N" in message
    assert read_onnx_graph(path, {"x": (1, 3, 8, 9)}).shape("x") == (1, 3, 8, 9)


@pytest.mark.parametrize("shape", [(1, 4), (1,), (1, 3, 1), (-1, 3)])
def test_shape_that_does_not_fit(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not fit input 'x'"):
        shape_of(open_model(["N", 3]), tmp_path, x=shape)


def test_shape_of_no_input(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no input is named 'z'; the inputs are x"):
        shape_of(open_model(["N", 3]), tmp_path, z=(1, 3))


def test_input_of_unknown_rank(tmp_path: Path) -> None:
    model = open_model([2, 3])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="has no shape in the file; give --shape x="):
        shape_of(model, tmp_path)
    assert shape_of(model, tmp_path, x=(2, 3)) == (2, 3)


def test_weights_among_the_inputs_are_weights(tmp_path: Path) -> None:
    model = make_model(
        [helper.make_node("Add", ["x", "k"], ["y"])],
        {"x": (2, 3), "k": (3,)},
        ["y"],
        {"k": random_like((3,))},
    )
    graph = read_onnx_graph(save(model, tmp_path), {})
    assert graph.inputs == ["x"]
    assert list(graph.constants) == ["k"]
