from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from jointdnn_tvm.errors import ModelError
from jointdnn_tvm.importer.read_tensors import read_tensor, take_constant


def external(folder: Path, location: str = "data.bin", **entries: Any) -> TensorProto:
    values = np.arange(6, dtype=np.float32)
    (folder / "data.bin").write_bytes(b"1234" + values.tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    tensor.data_location = TensorProto.EXTERNAL
    described = {"location": location, "offset": 4, "length": 24, **entries}
    for key, value in described.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def refused(tensor: TensorProto, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_tensor(tensor, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
def test_values(dtype: str, tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = numpy_helper.from_array(values, "w")
    np.testing.assert_array_equal(read_tensor(tensor, tmp_path), values)


def test_data_is_not_held_twice(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros(1000, np.float32), "w")
    read_tensor(tensor, tmp_path)
    assert not tensor.raw_data


def test_data_in_another_file_is_mapped(tmp_path: Path) -> None:
    values = read_tensor(external(tmp_path), tmp_path)
    assert isinstance(values, np.memmap)
    np.testing.assert_array_equal(values, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("location", ["../data.bin", "/etc/passwd", "a/../../data.bin", ""])
def test_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "data.bin").write_bytes(bytes(99))
    tensor = external(tmp_path / "inner", location)
    assert "outside the model's folder" in refused(tensor, tmp_path / "inner")


def test_link_that_leads_outside(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    tensor = external(folder, "link.bin")
    (tmp_path / "secret.bin").write_bytes(bytes(99))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside the model's folder" in refused(tensor, folder)


def test_missing_data(tmp_path: Path) -> None:
    assert "there is no file" in refused(external(tmp_path, "none.bin"), tmp_path)


@pytest.mark.parametrize("entries", [{"offset": 5}, {"offset": -4}, {"length": 20}])
def test_data_that_does_not_fit(entries: dict[str, Any], tmp_path: Path) -> None:
    assert "needs 24 bytes" in refused(external(tmp_path, **entries), tmp_path)


def test_damaged_values(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
    tensor.raw_data = tensor.raw_data[:-4]
    assert "tensor 'w' is damaged" in refused(tensor, tmp_path)


def test_negative_dimension(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-2, 3])
    assert "negative dimension" in refused(tensor, tmp_path)


def test_tensor_larger_than_any_memory(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40, 17])
    assert "would take 7.48e+04 GB, more than the 16 GiB allowed" in refused(tensor, tmp_path)


def test_text(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])
    assert "holds text" in refused(tensor, tmp_path)


def test_unknown_element_type(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=99, dims=[1])
    assert "unknown element type 99" in refused(tensor, tmp_path)


def test_constants_within_nodes_stay_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="kept in another file"):
        take_constant(external(tmp_path))
