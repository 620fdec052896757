"""3x3 convolutions in fewer multiplications: Winograd's F(m x m, 3 x 3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). An image is
cut into tiles of m x m outputs, each made from e x e inputs (e = m + 2). Inputs and weights are
transformed into e * e planes; in each plane the convolution is one matrix product over channels;
the transform back gives the outputs. Tiles are taken in chunks whose planes stay in a near cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import te, tirx

from jointdnn_tvm.passes.kernels import emit
from jointdnn_tvm.passes.kernels.choice import Choice, chosen
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.packing import Array, Panels
from jointdnn_tvm.passes.kernels.register_tile import Tile, best_tile, tile_of
from jointdnn_tvm.passes.kernels.site import KERNEL
from jointdnn_tvm.passes.kernels.winograd_transforms import TRANSFORMS, Matrix
from jointdnn_tvm.targets import TargetProfile


@dataclass(frozen=True)
class WinogradPanels:
    """(3, 3, C, O) as transformed panels: [e * e, panels, C, width]."""

    outputs: int
    width: int

    @property
    def tag(self) -> str:
        """Short name, part of the packed weight's."""
        return f"winograd{self.outputs}panels{self.width}"

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the packed weight."""
        _, _, depth, columns = shape
        panels, _, width = Panels(self.width).shape((depth, columns))
        return ((self.outputs + 2) ** 2, panels, depth, width)

    def compute(self, weight: te.Tensor) -> te.Tensor:
        """The packed weight, made at run time."""
        matrix = TRANSFORMS[self.outputs].weights
        edge, columns = self.outputs + 2, int(weight.shape[-1])
        ky, kx = te.reduce_axis((0, 3), "ky"), te.reduce_axis((0, 3), "kx")

        def packed(plane: Any, panel: Any, k: Any, lane: Any) -> Any:
            first = tirx.min(panel * self.width, columns - self.width)
            factor = _entry(matrix, plane // edge, ky) * _entry(matrix, plane % edge, kx)
            return te.sum(factor * weight[ky, kx, k, first + lane], axis=[ky, kx])

        shape = self.shape([int(extent) for extent in weight.shape])
        return te.compute(shape, packed, "pack")

    def apply(self, weight: Array) -> Array:
        """The packed weight; transformed in float64."""
        matrix = np.array(TRANSFORMS[self.outputs].weights)
        packed = np.empty(self.shape(weight.shape), weight.dtype)
        for index, plane in enumerate(packed):
            row, column = divmod(index, len(matrix))
            factors = np.outer(matrix[row], matrix[column])
            transformed = np.tensordot(factors, weight.astype(np.float64), axes=2)
            plane[...] = Panels(self.width).apply(transformed)
        return packed


@dataclass(frozen=True)
class Winograd:
    """A 3x3 convolution without strides, dilation or groups, by F(m x m, 3 x 3)."""

    convolution: Convolution
    outputs: int

    name = "winograd"

    @property
    def edge(self) -> int:
        """Inputs of a tile along one axis."""
        return self.outputs + 2

    @property
    def grid(self) -> tuple[int, int, int]:
        """Images, and tiles down and across each."""
        n, h, w, _ = self.convolution.output
        return n, -(-h // self.outputs), -(-w // self.outputs)

    @property
    def tiles(self) -> int:
        """Tiles of all images."""
        return math.prod(self.grid)

    def _choice(self, profile: TargetProfile) -> Choice:
        choice = chosen(self.convolution, profile)
        return choice if choice.get("outputs") == self.outputs else {}

    def chunk(self, profile: TargetProfile) -> int:
        """Tiles that are transformed, multiplied and transformed back together."""
        given = self._choice(profile).get("chunk", 0)
        return min(given, self.tiles) if given > 0 else self._even_chunk(profile)

    def _even_chunk(self, profile: TargetProfile) -> int:
        _, _, depth, columns = self.convolution.kernel
        bytes_a_tile = 4 * self.edge**2 * (depth + columns)
        rows = best_tile(self.tiles, columns, profile).rows
        near = max((profile.l2_bytes or _UNKNOWN_CACHE_BYTES) * 3 // 4, 1)
        chunk = max(near // bytes_a_tile // rows, _ROWS_A_CHUNK) * rows
        chunks = -(-self.tiles // chunk)
        if profile.cores > 1 and chunks < 2 * profile.cores:
            chunks = 1 if chunks == 1 else 2 * profile.cores
        even = -(-self.tiles // chunks)
        return min(self.tiles, -(-even // rows) * rows)

    def tile(self, profile: TargetProfile) -> Tile:
        """The register tile of the products."""
        columns = self.convolution.kernel[3]
        return tile_of(self._choice(profile), self.chunk(profile), columns, profile)

    def seconds(self, profile: TargetProfile) -> float:
        """Modelled time on one core: the products, the transforms, and fetching the weights."""
        _, _, depth, columns = self.convolution.kernel
        tile, chunk, planes = self.tile(profile), self.chunk(profile), self.edge**2
        chunks = -(-self.tiles // chunk)
        panels = -(-columns // tile.columns)
        steps = chunks * -(-chunk // tile.rows) * panels * planes * depth
        transforms = _INTO_CYCLES * depth + _BACK_CYCLES * columns
        cycles = steps * tile.cycles(profile)
        cycles += self.tiles * planes * transforms / profile.lanes
        weight_bytes = 4 * planes * panels * depth * tile.columns
        return cycles / profile.clock_hz + weight_bytes / profile.bandwidth_bytes_per_s

    def packing(self, profile: TargetProfile) -> WinogradPanels:
        """How the weights are packed for a target."""
        return WinogradPanels(self.outputs, self.tile(profile).columns)

    def compute(self, x: te.Tensor, w: te.Tensor) -> te.Tensor:
        """What is meant, over packed weights: all sums in one."""
        _, height, width_, depth = self.convolution.image
        top, left, _, _ = self.convolution.padding
        columns, width, m = self.convolution.kernel[3], int(w.shape[-1]), self.outputs
        matrices = TRANSFORMS[m]
        axes = [te.reduce_axis((0, self.edge), name) for name in ("ey", "ex", "ky", "kx")]
        ey, ex, ky, kx = axes
        kc = te.reduce_axis((0, depth), "kc")

        def product(n: Any, y: Any, z: Any, c: Any) -> Any:
            row, col = y // m * m + ky - top, z // m * m + kx - left
            inside = tirx.all(row >= 0, row < height, col >= 0, col < width_)
            value = tirx.if_then_else(inside, x[n, row, col, kc], emit.zero())
            first = tirx.min(c // width * width, columns - width)
            weight = w[ey * self.edge + ex, c // width, kc, c - first]
            factor = _entry(matrices.inputs, ey, ky) * _entry(matrices.inputs, ex, kx)
            back = _entry(matrices.outputs, y % m, ey) * _entry(matrices.outputs, z % m, ex)
            return te.sum(value * factor * weight * back, axis=[*axes, kc])

        attributes = {
            KERNEL: self.name,
            "outputs": m,
            "padding": list(self.convolution.padding),
            "columns": columns,
        }
        return te.compute(self.convolution.output, product, "winograd", attrs=attributes)


_UNKNOWN_CACHE_BYTES = 256 << 10
_INTO_CYCLES, _BACK_CYCLES = 10, 6  # for each vector of a plane, measured with AVX2 on a Zen 3
_ROWS_A_CHUNK = 4  # register tiles, so that panels are not fetched anew for little work


def _entry(matrix: Matrix, row: Any, column: Any) -> Any:
    """An entry chosen at run time."""
    value = emit.zero()
    for r, entries in enumerate(matrix):
        for c, entry in enumerate(entries):
            if entry:
                here = tirx.all(tirx.EQ(row, r), tirx.EQ(column, c))
                value = tirx.Select(here, emit.zero(entry), value)
    return value


def fast_algorithms(convolution: Convolution) -> list[Winograd]:
    """The Winograd forms that a convolution has."""
    plain = convolution.kernel[:2] == (3, 3) and convolution.groups == 1
    if not plain or (convolution.strides, convolution.dilation) != ((1, 1), (1, 1)):
        return []
    return [Winograd(convolution, m) for m in TRANSFORMS]
