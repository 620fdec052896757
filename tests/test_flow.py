"""The demo from end to end, quicker than the command's own setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from jointdnn_tvm.demo import text_line
from jointdnn_tvm.demo.flow import Setup, run_demo
from jointdnn_tvm.errors import JointdnnError


@pytest.fixture(scope="module")
def _models() -> None:
    try:
        text_line.find_model(), text_line.find_page()
    except JointdnnError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.usefixtures("_models")
def test_demo_reads_the_heading_and_agrees_with_onnxruntime(tmp_path: Path) -> None:
    setup = Setup(slowdown=2, link="lan-1g", folder=tmp_path / "out", costs=tmp_path / "costs")
    result = run_demo(setup, lambda what, done, total: None)
    assert result["text"] == result["onnxruntime_text"] == "Region-based segmentation"
    assert max(result["max_rel_error"].values()) < 1e-4
    assert result["newly_measured"] > 0
    plans = result["plans"]
    assert plans.keys() == {"mobile-only", "cloud-only", "joint"}
    predicted = {name: row["predicted_latency_s"] for name, row in plans.items()}
    assert predicted["joint"] <= min(predicted.values())
    assert all(row["measured_latency_s"] > 0 for row in plans.values())
    assert "slowed 2x" in result["emulated"]
    assert "emulated slowdown 2x" in result["sources"]["mobile latency"]
