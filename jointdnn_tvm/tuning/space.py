"""What there is to choose of a kernel: where a search starts, and where it can go from there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jointdnn_tvm.passes.kernels.choice import Choice
from jointdnn_tvm.passes.kernels.convolution import Convolution
from jointdnn_tvm.passes.kernels.depthwise import Depthwise
from jointdnn_tvm.passes.kernels.matmul import Matmul
from jointdnn_tvm.passes.kernels.pooling import Pooling
from jointdnn_tvm.passes.kernels.register_tile import Tile
from jointdnn_tvm.passes.kernels.winograd import Winograd, fast_algorithms
from jointdnn_tvm.passes.kernels.write_convolution import share_out
from jointdnn_tvm.targets import TargetProfile

_STARTS = 5  # tiles of each form and width of vectors, the best by the model
_FAR = 2.5  # times as long by the model as the best form: not tried
_MOST_VECTORS = 8
_UNROLLED = (1, 2, 4, 8)
_PIXELS = range(1, 17)


def with_choice(profile: TargetProfile, kernel: Any, choice: Choice) -> TargetProfile:
    """The target with something else decided for that kernel."""
    return replace(profile, tuned={**profile.tuned, repr(kernel): choice})


@dataclass(frozen=True)
class Space:
    """The choices of one kernel on one target, each with all that it decides.

    `joined`: other operators stand behind it that may join it, or not.
    """

    kernel: Any
    profile: TargetProfile
    joined: bool = False

    @property
    def rule(self) -> Choice:
        """What the rules decide."""
        return self._complete({})

    def starts(self) -> list[Choice]:
        """Where to begin, the rule first."""
        return _distinct([self.rule, *map(self._complete, self._starts())])

    def neighbours(self, choice: Choice) -> list[Choice]:
        """What is one step away: that differs in one number, or in the tile's shape."""
        found = _distinct(self._complete({**choice, **step}) for step in self._steps(choice))
        return [other for other in found if other != choice]

    def _starts(self) -> Iterator[Choice]:
        if not isinstance(self.kernel, Convolution):
            return
        rule_s = self._modelled_s({})
        for outputs in self._forms():
            for lanes in self._widths():
                best: dict[int, tuple[float, Choice]] = {}  # of each number of vectors
                for tile in self._tiles():
                    if tile["lanes"] == lanes:
                        choice = {"outputs": outputs, **tile}
                        timed = self._modelled_s(choice), choice
                        best[tile["vectors"]] = min(
                            timed, best.get(tile["vectors"], timed), key=lambda item: item[0]
                        )
                ranked = sorted(best.values(), key=lambda item: item[0])
                yield from (c for s, c in ranked[:_STARTS] if s <= _FAR * rule_s)

    def _modelled_s(self, choice: Choice) -> float:
        profile = with_choice(self.profile, self.kernel, choice)
        return self._form(choice).seconds(profile)

    def _form(self, choice: Choice) -> Convolution | Winograd:
        """The form that is decided, or that the rule takes."""
        forms = self._forms()
        by_rule = min(forms.values(), key=lambda form: form.seconds(self.profile))
        return forms.get(choice.get("outputs", -1), by_rule)

    def _forms(self) -> dict[int, Convolution | Winograd]:
        forms: dict[int, Convolution | Winograd] = {0: self.kernel}
        return forms | {form.outputs: form for form in fast_algorithms(self.kernel)}

    def _widths(self) -> list[int]:
        """Whole vectors and half ones, which some processors handle as well."""
        widest = min(self.profile.lanes, self._columns)
        return [widest, self.profile.lanes // 2] if widest > self.profile.lanes // 2 else [widest]

    @property
    def _columns(self) -> int:
        product = self.kernel
        return int(product.b.columns if isinstance(product, Matmul) else product.columns)

    def _tiles(self) -> Iterator[dict[str, int]]:
        registers = self.profile.vector_registers
        for lanes in self._widths():
            for vectors in range(1, min(_MOST_VECTORS, self._columns // lanes) + 1):
                for rows in range(1, registers // 2 + 1):
                    if Tile(rows, vectors, lanes).registers <= registers:
                        yield {"rows": rows, "vectors": vectors, "lanes": lanes}

    def _steps(self, choice: Choice) -> Iterator[Choice]:
        if self.joined:
            yield {"apart": 1 - choice["apart"]}
        if isinstance(self.kernel, (Depthwise, Pooling)):
            yield from ({"pixels": pixels} for pixels in _PIXELS)
            return
        for tile in self._tiles():
            if _near(tile, choice):
                yield tile
        yield from ({"unroll": steps} for steps in _UNROLLED)
        if isinstance(self.kernel, Convolution):
            if choice["outputs"]:
                yield from ({"chunk": choice["chunk"] * 2}, {"chunk": -(-choice["chunk"] // 2)})
            else:
                yield from ({"block": choice["block"] * 2}, {"block": -(-choice["block"] // 2)})
                yield {"in_rows": 1 - choice["in_rows"]}
                yield from ({"fetch_ahead": 0}, {"fetch_ahead": 1})

    def _complete(self, choice: Choice) -> Choice:
        """With all that it decides, as the kernel takes it; so equal choices are the same."""
        profile = with_choice(self.profile, self.kernel, choice)
        kept = {"apart": int(choice.get("apart", 0) != 0)} if self.joined else {}
        if isinstance(self.kernel, (Depthwise, Pooling)):
            return {"pixels": self.kernel.pixels(profile), **kept}
        kept["unroll"] = choice.get("unroll", 0)
        if isinstance(self.kernel, Matmul):
            return {**_shape(self.kernel.tile(profile)), **kept}
        form = self._form(choice)
        if isinstance(form, Winograd):
            kept |= {"outputs": form.outputs, "chunk": form.chunk(profile)}
            return {**_shape(form.tile(profile)), **kept}
        blocks = share_out(self.kernel, profile)
        kept |= {"outputs": 0, "block": blocks.block, "in_rows": int(blocks.in_rows)}
        if "fetch_ahead" in choice and blocks.block == blocks.tiles:
            kept["fetch_ahead"] = choice["fetch_ahead"]
        return {**_shape(blocks.tile), **kept}


def _shape(tile: Tile) -> dict[str, int]:
    return {"rows": tile.rows, "vectors": tile.vectors, "lanes": tile.lanes}


def _near(tile: Choice, choice: Choice) -> bool:
    """One row, one vector or the other width away, or with as many accumulators about."""
    rows, vectors = tile["rows"] - choice["rows"], tile["vectors"] - choice["vectors"]
    if tile["lanes"] != choice["lanes"]:
        return rows == 0 and vectors in (0, choice["vectors"])
    return (vectors == 0 and abs(rows) == 1) or (abs(vectors) == 1 and abs(rows) <= 1)


def _distinct(choices: Any) -> list[Choice]:
    return list({tuple(sorted(choice.items())): choice for choice in choices}.values())
