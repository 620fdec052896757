"""Stages and tensors by what is wanted of them."""

from __future__ import annotations

from jointdnn_tvm.runtime.manifest import StageEntry
from jointdnn_tvm.runtime.stage_work import needed_stages, read_last


def test_evaluation_takes_the_stages_that_the_loss_needs() -> None:
    def stage(name: str, inputs: str, outputs: str) -> StageEntry:
        return StageEntry(name, "cloud", tuple(inputs), {}, tuple(outputs))

    stages = [
        stage("first", "xw", "ab"),
        stage("aside", "x", "s"),
        stage("second", "bw", "l"),
        stage("backward", "lsa", "g"),
    ]
    assert [s.name for s in needed_stages(stages, {"l"})] == ["first", "second"]
    assert [s.name for s in needed_stages(stages, {"l", "s"})] == ["first", "aside", "second"]
    assert needed_stages(stages, {"g"}) == stages


def test_tensors_are_let_go_when_nothing_reads_them_any_more() -> None:
    def stage(name: str, inputs: str, outputs: str) -> StageEntry:
        return StageEntry(name, "mobile", tuple(inputs), {}, tuple(outputs))

    stages = [stage("first", "xw", "abl"), stage("second", "aw", "c"), stage("third", "b", "d")]
    assert read_last(stages, {"l"}) == {
        "first": {"x"},
        "second": {"a", "w", "c"},
        "third": {"b", "d"},
    }
