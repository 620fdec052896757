"""`jointdnn device` on a machine that does not fit its target."""

from __future__ import annotations

import pytest

from jointdnn_tvm.cli import main
from jointdnn_tvm.runtime import backends


def test_gpu_without_a_driver(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TVM_USE_RUNTIME_LIB", "OPENBLAS_NUM_THREADS"):  # the verb sets them for good
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(backends, "_DRIVER", "libnowhere.so.1")
    assert main(["device", "--target", "cuda-sm90"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("jointdnn: error: target cuda-sm90 needs NVIDIA's driver")
    assert told.count("\n") == 1
