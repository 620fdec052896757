"""Processors and features that LLVM has, and those that it only pretends to compile for."""

from __future__ import annotations

from typing import Any

import pytest

from jointdnn_tvm.errors import BuildError
from jointdnn_tvm.llvm_target import check_llvm_target

ARM = {"mtriple": "aarch64-linux-gnu"}


@pytest.mark.parametrize(
    "description",
    [
        {},
        ARM | {"mcpu": "cortex-a72", "mattr": ["+neon", "-crypto", "+dotprod"]},
        {"mtriple": "x86_64-linux-gnu", "mcpu": "skylake-avx512"},
        {"mtriple": "armv7a-linux-gnueabihf", "mcpu": "cortex-a9"},
        {"mtriple": "arm64-apple-ios"},
    ],
)
def test_known(description: dict[str, Any]) -> None:
    check_llvm_target("board", description)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({"mtriple": "nonsense-linux-gnu"}, "LLVM has no architecture 'nonsense'; correct"),
        ({"mtriple": "aarch46-linux"}, r"architecture 'aarch46' \(did you mean aarch64"),
        ({"mtriple": "armnonsense-linux-gnu"}, "no architecture 'armnonsense'"),
        (ARM | {"mcpu": "cortex-a27"}, r"no mcpu 'cortex-a27' \(did you mean cortex-a"),
        (ARM | {"mcpu": "skylake"}, "no mcpu 'skylake'"),
        (ARM | {"mcpu": "cortex-a76", "mattr": ["+nonsense"]}, r"no feature mattr '\+nonsense'"),
        (ARM | {"mattr": ["neon"]}, "no feature mattr 'neon'"),
    ],
)
def test_unknown(description: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BuildError, match=said):
        check_llvm_target("board", description)
    assert capfd.readouterr() == ("", "")
