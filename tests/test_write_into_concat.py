"""Concatenations whose parts are written in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from jointdnn_tvm.compiling import tvm_target
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import load_target
from tests.kernel_cases import Case, Draw, Shape, convolve
from tests.kernel_library import PROFILES, Library, check_all
from tests.tiny_models import relax_main

op = relax.op
Array = np.ndarray[Any, Any]
IMAGE, KERNELS = (2, 6, 5, 8), {"a": (1, 1, 8, 12), "b": (3, 3, 8, 9), "c": (1, 1, 8, 12)}


def conv(x: relax.Expr, w: relax.Expr) -> relax.Expr:
    pad = int(w.ty.shape[0]) // 2
    return op.nn.conv2d(x, w, padding=pad, data_layout="NHWC", kernel_layout="HWIO")


def reference(x: Array, w: Array) -> Array:
    pad = w.shape[0] // 2
    wide = np.pad(x.astype("f8"), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    shape = x.shape[1:3]
    return np.asarray(
        sum(
            wide[:, i : i + shape[0], j : j + shape[1]] @ w[i, j].astype("f8")
            for i in range(w.shape[0])
            for j in range(w.shape[1])
        )
    )


def run(
    body: Callable[..., list[relax.Expr]], inputs: dict[str, Array]
) -> tuple[list[Array], list[str], dict[str, Array]]:
    """What the compiled module gives, the names of its kernels, and the weights."""
    profile = load_target("host")
    target = tvm_target(profile)
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal(shape, "float32") for name, shape in KERNELS.items()}
    module = relax_main({n: a.shape for n, a in inputs.items()}, KERNELS, body)
    with target:
        lowered, taken = lower(module, target, profile)
        machine = relax.VirtualMachine(
            tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=LOOPS_TO_CODE), tvm.cpu()
        )
    arguments = [*inputs.values(), *(w.of(weights) for w in taken["main"])]
    found = machine["main"](*map(tvm.runtime.tensor, arguments))
    kernels = [v.name_hint for v, f in lowered.functions.items() if isinstance(f, tirx.PrimFunc)]
    return [value.numpy() for value in found], kernels, weights


def image() -> Array:
    return np.random.default_rng(0).standard_normal(IMAGE, "float32")


def check(found: Array, parts: Sequence[Array], axis: int = 3) -> None:
    expected = np.concatenate(parts, axis)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_kernels_write_their_slices() -> None:
    def body(b: relax.BlockBuilder, x: Any, *ws: Any) -> list[relax.Expr]:
        parts = [b.emit(op.nn.relu(b.emit(conv(x, w)))) for w in ws]
        return [b.emit(op.concat(parts, 3))]

    x = image()
    (found,), kernels, weights = run(body, {"x": x})
    assert kernels == ["concatenate_joined"]
    check(found, [np.maximum(reference(x, w), 0) for w in weights.values()])


def test_one_kernel_twice_along_another_axis() -> None:
    def body(b: relax.BlockBuilder, x: Any, y: Any, *ws: Any) -> list[relax.Expr]:
        parts = [b.emit(conv(x, ws[0])), b.emit(conv(y, ws[0]))]
        return [b.emit(op.concat(parts, 1))]

    x, y = image(), image() + 1
    (found,), kernels, weights = run(body, {"x": x, "y": y})
    assert kernels == ["concatenate_joined"]
    check(found, [reference(x, weights["a"]), reference(y, weights["a"])], 1)


def test_part_from_elsewhere_is_copied() -> None:
    def body(b: relax.BlockBuilder, x: Any, *ws: Any) -> list[relax.Expr]:
        return [b.emit(op.concat([b.emit(conv(x, ws[0])), x], 3))]

    x = image()
    (found,), kernels, weights = run(body, {"x": x})
    assert kernels == ["concatenate_joined"]
    check(found, [reference(x, weights["a"]), x])


@pytest.mark.parametrize("why", ["read by others too", "little of the whole"])
def test_concatenations_that_stay(why: str) -> None:
    def body(b: relax.BlockBuilder, x: Any, *ws: Any) -> list[relax.Expr]:
        made = b.emit(conv(x, ws[0]))
        if why == "read by others too":
            return [b.emit(op.concat([made, x], 3)), made]
        return [b.emit(op.concat([x, made, x], 3))]

    x = image()
    found, kernels, weights = run(body, {"x": x})
    assert "concatenate" in kernels
    made = reference(x, weights["a"])
    check(found[0], [made, x] if why == "read by others too" else [x, made, x])


def random_case(seed: int) -> Case:
    """Two to four parts along some axis: convolutions of all kinds, or the input as it is."""
    draw = Draw(seed)
    image = (draw.size(2), draw.size(6), draw.size(9), draw.size(20, 2))
    axis = draw.size(3, 0)
    columns = draw.size(20)
    made: list[tuple[Shape, dict[str, Any], bool]] = []
    for _ in range(draw.size(4, 2)):
        side, relu = draw.size(3), draw.chance(0.5)
        pads = ((side - 1) // 2, (side - 1) // 2, side // 2, side // 2)
        if axis == 3 and draw.chance(0.3):
            made.append(((side, side, 1, image[3]), {"padding": pads, "groups": image[3]}, relu))
        else:
            out = draw.size(20) if axis == 3 else columns
            made.append(((side, side, image[3], out), {"padding": pads}, relu))
    whole = axis == 3 and draw.chance(0.4)

    def compute(x: Any, *ws: Any) -> Any:
        layouts = {"data_layout": "NHWC", "kernel_layout": "HWIO"}
        parts = [op.nn.conv2d(x, w, **layouts, **o) for w, (_, o, _) in zip(ws, made, strict=True)]
        parts = [op.nn.relu(p) if m[2] else p for p, m in zip(parts, made, strict=True)]
        return op.concat([*parts, *([x] if whole else [])], axis)

    def expect(x: Array, *ws: Array) -> Array:
        parts = [
            convolve(x, w, (1, 1), o["padding"], (1, 1), o.get("groups", 1))
            for w, (_, o, _) in zip(ws, made, strict=True)
        ]
        parts = [p.clip(min=0) if m[2] else p for p, m in zip(parts, made, strict=True)]
        return np.concatenate([*parts, *([x] if whole else [])], axis)

    weights = tuple(kernel for kernel, _, _ in made)
    return Case(f"concat_{axis}_{image}_{weights}_{whole}", (image,), weights, compute, expect)


@pytest.mark.parametrize("profile", ["host", "pi"])
def test_random_parts(profile: str, tmp_path: Path) -> None:
    library = Library([random_case(seed) for seed in range(9)], PROFILES[profile], tmp_path)
    joined = {name for index in range(9) for name in library.kernels(index) if "joined" in name}
    assert len(joined) > 4
    check_all(library)
