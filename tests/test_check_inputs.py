"""What a caller gives, against what a bundle takes."""

from __future__ import annotations

import numpy as np
import pytest

from jointdnn_tvm.bundle import Bundle
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.runtime.check_inputs import check_array, check_classes, check_inputs
from jointdnn_tvm.runtime.manifest import TensorEntry

GIVEN = {"image": np.zeros((1, 3, 8, 8), "float32"), "bias": np.zeros((1, 10), "float32")}


def test_inputs_by_the_names_of_their_tensors(built: Bundle) -> None:
    found = check_inputs(built.manifest, GIVEN)
    assert list(found) == [port.tensor for port in built.manifest.inputs]
    assert found["image"] is GIVEN["image"]


def test_inputs_that_do_not_fit(built: Bundle) -> None:
    with pytest.raises(RunError, match="input 'bias' is missing"):
        check_inputs(built.manifest, {"image": GIVEN["image"]})
    with pytest.raises(RunError, match="has no input 'more'; it has image, bias"):
        check_inputs(built.manifest, {**GIVEN, "more": GIVEN["bias"]})


def test_array_of_another_shape_or_type() -> None:
    entry = TensorEntry((2, 3), "int64", "none")
    assert check_array("the label", [[1, 2, 3], [4, 5, 6]], entry).shape == (2, 3)
    with pytest.raises(RunError, match=r"the label is int64\[3\]; the network takes int64\[2, 3\]"):
        check_array("the label", [1, 2, 3], entry)
    with pytest.raises(RunError, match=r"the label is float64\[2, 3\]"):
        check_array("the label", np.zeros((2, 3)), entry)


def test_classes_that_there_are_not() -> None:
    check_classes("the label", np.array([[0, 4], [2, 2]]), 5)
    check_classes("the label", np.zeros((0,), np.int64), 5)
    for wrong in (5, -1, 1 << 40):
        with pytest.raises(RunError, match=f"the label holds class {wrong}; .* classes 0 to 4 ap"):
            check_classes("the label", np.array([0, wrong, 4]), 5)
