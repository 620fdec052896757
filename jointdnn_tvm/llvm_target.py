"""Whether LLVM has the processor that a target names.

Where it has not, TVM compiles for a generic one and says so among its logs, or crashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

import tvm

from jointdnn_tvm.errors import BuildError
from jointdnn_tvm.native_output import silenced

_STDERR = 2
# How else triples call some of LLVM's architectures.
_ALIASES = re.compile(r"arm64(e|ec)?|amd64|x86_64h|i[3-9]86|(arm|thumb)(v\d+[a-z]*(\.\d+a)?)?(eb)?")


def check_llvm_target(profile: str, description: Mapping[str, Any]) -> None:
    """BuildError when the triple's architecture, `mcpu` or a feature of `mattr` is not LLVM's."""
    triple, processor = (description.get(key) for key in ("mtriple", "mcpu"))
    attributes = description.get("mattr", ())
    if not all(isinstance(value, str) for value in (triple or "", processor or "", *attributes)):
        return  # TVM refuses it
    fault = _fault(triple, processor, tuple(attributes))
    if fault:
        raise BuildError(f"target {profile}: {fault}; correct [tvm_target] in its TOML file")


@cache
def _fault(triple: str | None, processor: str | None, attributes: tuple[str, ...]) -> str:
    """What LLVM does not know of these; an empty text when it knows all."""
    base = {"kind": "llvm"} if triple is None else {"kind": "llvm", "mtriple": triple}
    if triple is not None:
        architecture = triple.partition("-")[0]
        known = [str(name) for name in tvm.get_global_func("target.llvm_get_targets")()]
        if architecture not in known and not _ALIASES.fullmatch(architecture):
            return _unknown("architecture", architecture, known)
    if processor is not None:
        found = tvm.get_global_func("target.llvm_get_cpu_archlist")(tvm.target.Target(base))
        processors = [str(name) for name in found]
        if processor not in processors:
            return _unknown("mcpu", processor, processors)
        base["mcpu"] = processor
    features = tvm.get_global_func("target.llvm_get_cpu_features")
    for attribute in attributes:
        name = attribute.lstrip("+-")
        with silenced(_STDERR):  # LLVM complains there of those that it ignores
            enabled = features(tvm.target.Target({**base, "mattr": [f"+{name}"]}))
        if not attribute.startswith(("+", "-")) or name not in {str(key) for key in enabled}:
            return f"LLVM has no feature mattr {attribute!r} of that processor"
    return ""


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"LLVM has no {what} {name!r}" + (f" (did you mean {near[0]}?)" if near else "")
