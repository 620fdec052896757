"""The form of a stored weight, there and back."""

from __future__ import annotations

import numpy as np

from jointdnn_tvm.runtime.form import Form


def test_form_is_undone() -> None:
    form = Form((2, 3, 4), (("order", (2, 0, 1)), ("shape", (8, 3))))
    array = np.arange(24.0).reshape(2, 3, 4)
    stored = form.of(array)
    np.testing.assert_array_equal(stored, array.transpose(2, 0, 1).reshape(8, 3))
    assert stored.flags.c_contiguous
    np.testing.assert_array_equal(form.undo(stored), array)


def test_weight_that_is_stored_as_it_is() -> None:
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(Form((2, 3)).of(array), array)
    np.testing.assert_array_equal(Form((2, 3)).undo(array), array)
