"""The roofline of a profile, and its figures in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointdnn_tvm import targets
from jointdnn_tvm.cost.roofline import BEST_CASE, SOURCE, Work, latency_s, source
from jointdnn_tvm.errors import ProfileError
from jointdnn_tvm.targets import load_target
from jointdnn_tvm.targets.roofline import KINDS, RooflineFigures

BOARD = replace(
    load_target("raspberry-pi-4"),
    peak_flops=1e9,
    bandwidth_bytes_per_s=1e8,
    roofline=RooflineFigures(0.001, {"convolution": 0.5, "pooling": 0.25}, "a test"),
)
TOML = (Path(targets.__file__).parent / "raspberry-pi-4.toml").read_text()

works = st.builds(
    Work,
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(KINDS), st.integers(0, 10**12)),
    st.integers(0, 10**10),
    st.integers(0, 20),
)


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (Work("convolution", {"convolution": 10**9}, 0, 1), 0.001 + 2.0),
        (Work("dense", {"dense": 10**9}, 10**7, 2), 0.002 + 1.0),
        (Work("dense", {"dense": 10**6}, 10**8, 1), 0.001 + 1.0),  # bound by its bytes
        (Work("pooling", {"pooling": 10**15}, 10**8, 1), 0.001 + 4.0),  # no multiply-adds
        (Work("elementwise", {"elementwise": 10**15}, 10**8, 1), 0.001 + 1.0),
        (Work("elementwise", {}, 0, 0), 0.0),  # a view
    ],
)
def test_the_longer_of_computing_and_moving(work: Work, seconds: float) -> None:
    assert latency_s(work, BOARD) == pytest.approx(seconds)


@given(works, st.floats(1.0, 1e6), st.sampled_from(["peak_flops", "bandwidth_bytes_per_s"]))
def test_a_better_device_is_never_slower(work: Work, times: float, figure: str) -> None:
    better = replace(BOARD, **{figure: times * getattr(BOARD, figure)})
    assert latency_s(work, better) <= latency_s(work, BOARD)


@given(works, st.sampled_from(KINDS), st.floats(0.01, 1.0))
def test_no_efficiency_is_the_best_case(work: Work, kind: str, share: float) -> None:
    best = replace(BOARD, roofline=RooflineFigures(0.0, {}, ""))
    real = replace(BOARD, roofline=RooflineFigures(0.0, {kind: share}, "a test"))
    assert latency_s(work, best) <= latency_s(work, real)


@given(works, works)
def test_more_work_is_never_faster(work: Work, other: Work) -> None:
    both = Work(
        work.kind,
        {k: work.operations.get(k, 0) + other.operations.get(k, 0) for k in KINDS},
        work.moved_bytes + other.moved_bytes,
        work.kernels + other.kernels,
    )
    assert latency_s(both, BOARD) >= latency_s(work, BOARD)


def test_the_source_says_how_much_was_known() -> None:
    assert source(BOARD) == SOURCE
    assert source(replace(BOARD, roofline=RooflineFigures(0.0, {}, ""))) == BEST_CASE
    assert BEST_CASE.startswith(SOURCE)


def write(folder: Path, roofline: str) -> str:
    path = folder / "board.toml"
    text = "".join(TOML.partition("[linker]")[1:])
    path.write_text(f"{TOML.partition('[roofline]')[0].partition('[linker]')[0]}{roofline}\n{text}")
    return str(path)


def test_figures_are_read(tmp_path: Path) -> None:
    text = '[roofline]\ncall_s = 2e-6\nsource = "measured"\n[roofline.efficiency]\ndense = 0.5'
    assert load_target(write(tmp_path, text)).roofline == RooflineFigures(
        2e-6, {"dense": 0.5}, "measured"
    )
    assert load_target(write(tmp_path, "")).roofline == RooflineFigures(0.0, {}, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[roofline]\ncal_s = 1", "[roofline]: unknown key 'cal_s'; did you mean call_s?"),
        ("[roofline]\ncall_s = -1", "[roofline]: call_s must be 0 or more, not '-1'"),
        (
            "[roofline.efficiency]\nconvolutions = 1",
            "[roofline]: [efficiency]: unknown key 'convolutions'; did you mean convolution?",
        ),
        ("[roofline.efficiency]\ndense = 'fast'", "[efficiency]: dense must be a number"),
        ("[roofline.efficiency]\ndense = 0.5", "[roofline]: key 'source' is missing; add it"),
        ("[roofline]\nefficiency = 1", "[roofline]: efficiency must be a table, not '1'"),
    ],
)
def test_a_wrong_figure_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_target(write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
