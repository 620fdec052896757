"""Convolutions and dense layers: what they mean, over packed weights, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import Choice, chosen
from jointdnn_tvm.passes.kernels.packing import Panels
from jointdnn_tvm.passes.kernels.register_tile import Tile, tile_of
from jointdnn_tvm.passes.kernels.site import KERNEL
from jointdnn_tvm.targets import TargetProfile


@dataclass(frozen=True)
class Convolution:
    """NHWC convolution with kernels of (KH, KW, C / groups, O)."""

    image: tuple[int, int, int, int]
    kernel: tuple[int, int, int, int]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    name = "convolution"

    @cached_property
    def output(self) -> tuple[int, int, int, int]:
        """Shape of the result."""
        n, h, w, _ = self.image
        kh, kw, _, columns = self.kernel
        top, left, bottom, right = self.padding
        height = h + top + bottom - (kh - 1) * self.dilation[0] - 1
        width = w + left + right - (kw - 1) * self.dilation[1] - 1
        return n, height // self.strides[0] + 1, width // self.strides[1] + 1, columns

    @property
    def rows(self) -> int:
        """Output pixels of all images."""
        return math.prod(self.output[:3])

    @property
    def columns(self) -> int:
        """Output channels of one group."""
        return self.kernel[3] // self.groups

    @property
    def options(self) -> dict[str, Any]:
        """What the shapes do not tell, as attributes of a block."""
        return {
            "strides": list(self.strides),
            "padding": list(self.padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
        }

    def tile(self, profile: TargetProfile) -> Tile:
        """The register tile for a target."""
        return tile_of(self.choice(profile), self.rows, self.columns, profile)

    def choice(self, profile: TargetProfile) -> Choice:
        """What was decided for it as it is; nothing where that is for its Winograd form."""
        decided = chosen(self, profile)
        return {} if decided.get("outputs") else decided

    def seconds(self, profile: TargetProfile) -> float:
        """Modelled time on one core: the products, and fetching the weights."""
        tile = self.tile(profile)
        kh, kw, depth, _ = self.kernel
        panels = self.groups * -(-self.columns // tile.columns)
        tiles = -(-self.rows // tile.rows) * panels
        cycles = tiles * kh * kw * depth * tile.cycles(profile)
        weight_bytes = 4 * kh * kw * depth * panels * tile.columns
        return cycles / profile.clock_hz + weight_bytes / profile.bandwidth_bytes_per_s

    def packing(self, profile: TargetProfile) -> Panels:
        """How the weights are packed for a target."""
        return Panels(self.tile(profile).columns, self.groups)

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant, over packed weights."""
        _, h, wd, _ = self.image
        kh, kw, depth, _ = self.kernel
        (sh, sw), (dh, dw) = self.strides, self.dilation
        top, left, bottom, right = self.padding
        width = int(w.shape[-1])
        panels = -(-self.columns // width)
        ky, kx = te.reduce_axis((0, kh), "ky"), te.reduce_axis((0, kw), "kx")
        kc = te.reduce_axis((0, depth), "kc")

        def product(n: Any, y: Any, z: Any, c: Any) -> Any:
            group, column = (0, c) if self.groups == 1 else (c // self.columns, c % self.columns)
            row, col = y * sh + ky * dh - top, z * sw + kx * dw - left
            inside = []
            if top or bottom:
                inside += [row >= 0, row < h]
            if left or right:
                inside += [col >= 0, col < wd]
            value = x[n, row, col, group * depth + kc]
            if inside:
                value = tirx.if_then_else(tirx.all(*inside), value, emit.zero())
            first = tirx.min(column // width * width, self.columns - width)
            weight = w[group * panels + column // width, ky, kx, kc, column - first]
            return te.sum(value * weight, axis=[ky, kx, kc])

        attributes = {KERNEL: self.name, "columns": self.kernel[3], **self.options}
        return te.compute(self.output, product, "convolution", attrs=attributes)


@dataclass(frozen=True)
class Dense:
    """(..., K) times (K, O)."""

    x: tuple[int, ...]
    kernel: tuple[int, int]

    name = "dense"

    @property
    def convolution(self) -> Convolution:
        """The same product as a convolution of single pixels."""
        depth, columns = self.kernel
        rows = math.prod(self.x[:-1])
        return Convolution((1, 1, rows, depth), (1, 1, depth, columns))

    def packing(self, profile: TargetProfile) -> Panels:
        """How the weights are packed for a target."""
        return self.convolution.packing(profile)

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant, over packed weights."""
        depth, columns = self.kernel
        width = int(w.shape[-1])
        k = te.reduce_axis((0, depth), "k")

        def product(*place: Any) -> Any:
            *row, c = place
            first = tirx.min(c // width * width, columns - width)
            return te.sum(x[(*row, k)] * w[c // width, k, c - first], axis=[k])

        attributes = {KERNEL: self.name, "columns": columns}
        return te.compute((*self.x[:-1], columns), product, "dense", attrs=attributes)


def read_convolution(x: Any, kernel: Sequence[Any], options: Mapping[str, Any]) -> Convolution:
    """The convolution of a buffer whose `options` came back as a block's attributes."""
    strides, dilation = ((int(y), int(x)) for y, x in (options["strides"], options["dilation"]))
    top, left, bottom, right = (int(pad) for pad in options["padding"])
    return Convolution(
        _four(x.shape),
        _four(kernel),
        strides,
        (top, left, bottom, right),
        dilation,
        int(options["groups"]),
    )


def _four(shape: Sequence[Any]) -> tuple[int, int, int, int]:
    a, b, c, d = (int(extent) for extent in shape)
    return a, b, c, d
