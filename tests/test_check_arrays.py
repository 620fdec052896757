"""What a step is given, told apart from what it takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from jointdnn_tvm.errors import RunError
from jointdnn_tvm.training.check_arrays import check_array, check_classes


def test_what_fits_is_handed_on_contiguous() -> None:
    given = np.arange(6.0).reshape(2, 3).T
    found = check_array(given, "x", (3, 2), "float64")
    np.testing.assert_array_equal(found, given)
    assert found.flags.c_contiguous


def test_classes() -> None:
    check_classes(np.array([0, 4, 2]), "label", 5)
    check_classes(np.zeros(0, np.int64), "label", 5)
    for ids, wrong in (([0, 5], 5), ([-1, 5], -1)):
        with pytest.raises(RunError, match=f"'label' holds class {wrong}, but .* 0 to 4 apart"):
            check_classes(np.array(ids), "label", 5)


def test_needs_no_compiler() -> None:
    code = (
        "import sys, jointdnn_tvm.training.check_arrays;"
        "sys.exit(any(name.partition('.')[0] == 'tvm' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
