"""Where a kernel stands in its function, and how its results go through what follows it."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm import s_tir, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.site import KERNEL, Site, find_site
from jointdnn_tvm.passes.schedule_for_cpu import ScheduleForCpu
from tests.kernel_cases import Case, convolution, dense
from tests.kernel_library import PROFILES, fused_kernel

PROFILE = PROFILES["avx2"]


def _site(case: Case, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site that the scheduler finds, after it inlined what it can."""
    found: list[Site | None] = []

    def spy(sch: s_tir.Schedule) -> Site | None:
        found.append(find_site(sch))
        return None  # the kernel itself is not wanted

    monkeypatch.setattr("jointdnn_tvm.passes.schedule_for_cpu.find_site", spy)
    module = tvm.IRModule({"kernel": fused_kernel(case, PROFILE)})
    tvm.transform.Sequential([ScheduleForCpu(PROFILE)])(module)
    (site,) = found
    assert site is not None
    return site


def _conv(then: str) -> Case:
    return convolution((1, 5, 6, 4), (1, 1, 4, 8), then)


def _factors(then: str = "spread") -> Case:
    """One pixel, whose result is used for many."""
    return convolution((1, 1, 1, 4), (1, 1, 4, 8), then)


@pytest.mark.parametrize(
    ("case", "kernel", "shape"),
    [
        (_conv(""), "convolution", (1, 5, 6, 8)),
        (dense((7, 5), 9), "dense", (7, 9)),
        (convolution((2, 5, 6, 4), (3, 3, 1, 4), groups=4), "depthwise", (2, 3, 4, 4)),
    ],
)
def test_kernel_alone(
    case: Case, kernel: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = _site(case, monkeypatch)
    assert site.kernel == site.options[KERNEL] == kernel
    assert site.shape == shape
    assert site.holds_all
    x, w = site.operands
    assert tuple(int(extent) for extent in x.shape) == case.inputs[0]
    assert w.same_as(site.function.params[1])


def test_options_are_those_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    case = convolution((1, 9, 9, 4), (2, 3, 2, 6), strides=(2, 1), padding=(0, 1, 2, 3), groups=2)
    options = _site(case, monkeypatch).options
    assert list(map(int, options["strides"])) == [2, 1]
    assert list(map(int, options["padding"])) == [0, 1, 2, 3]
    assert int(options["groups"]) == 2


@pytest.mark.parametrize(
    ("then", "holds_all"),
    [
        ("bias_relu", True),
        ("bias_residual", True),
        ("swish", True),
        ("gate", True),
        ("spread", False),
        ("spread_work", False),
    ],
)
def test_elementwise_epilogue_belongs_to_the_kernel(
    then: str, holds_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = _conv(then) if holds_all else _factors(then)
    site = _site(case, monkeypatch)
    assert site.holds_all == holds_all
    assert site.positions == range(1)


def _stored(site: Site) -> tuple[Any, str]:
    value = tirx.Var("value", "float32")
    store = site.store([emit.number(i) for i in (0, 3, 5, 7)], value)
    assert [int(index) for index in store.indices] == [0, 3, 5, 7]
    return store.buffer, str(store.value)


def test_result_is_stored_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _site(_conv(""), monkeypatch)
    buffer, value = _stored(site)
    assert buffer.same_as(site.function.params[-1])
    assert value == "value"


def test_result_passes_through_the_epilogue(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _site(_conv("bias_relu"), monkeypatch)
    buffer, value = _stored(site)
    assert buffer.same_as(site.function.params[-1])
    assert value.startswith("T.max(value + ")
    assert "(7)]" in value  # the bias of that channel


def test_result_that_other_blocks_read_goes_to_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _site(_factors(), monkeypatch)
    buffer, value = _stored(site)
    assert not buffer.same_as(site.function.params[-1])
    assert value == "value"


def test_written_function_keeps_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _site(_conv("bias"), monkeypatch)
    body = emit.sequence([])
    written = site.written(body)
    assert written.body.same_as(body)
    assert list(written.params) == list(site.function.params)
    assert dict(written.attrs) == dict(site.function.attrs)


def test_spliced_statement_takes_the_place_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _site(_factors(), monkeypatch)
    statement = emit.sequence([])
    spliced = site.spliced(site.function, statement)
    before, after = (list(f.body.block.body.seq) for f in (site.function, spliced))
    assert after[0].same_as(statement)
    assert len(after) == len(before) == 2
    assert after[1].same_as(before[1])


def test_function_without_a_mark_has_no_site() -> None:
    kernel = fused_kernel(_conv("bias"), PROFILE)
    sch = s_tir.Schedule(kernel)
    assert find_site(sch) is not None
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if KERNEL in sch.get(block).annotations:
            sch.unannotate(block, KERNEL)
    assert find_site(sch) is None
