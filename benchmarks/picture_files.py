"""What a user without this project would send: the picture's own file, as two codecs more.

    python benchmarks/picture_files.py phone               # `testbed_phone.py` that has them
    python benchmarks/picture_files.py device …            # `jointdnn device …` that has them

`png` and `jpeg-95` are for inputs that were made of a picture of 8 bits a colour. A user has these
bytes, so that they are found once for each array, outside of the times.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import testbed_phone

from jointdnn_tvm.cli import main as jointdnn
from jointdnn_tvm.codec.picture_file import PictureFile
from jointdnn_tvm.codec.quantise import Grid, quantise
from jointdnn_tvm.codec.registry import CODECS, Codec

Array = np.ndarray[Any, Any]
NAMES = ("png", "jpeg-95")
_known: dict[tuple[int, tuple[int, ...]], tuple[Grid, Array]] = {}


class _UsersFile(PictureFile):
    def to_bytes(self, array: Array, axis: int) -> tuple[Grid, Array] | None:
        """The bytes that the array was made of, on each colour's own steps."""
        key = array.ctypes.data, array.shape
        if key not in _known:
            colours = np.moveaxis(array, axis, 0)
            values = [np.unique(colour) for colour in colours]
            low = np.array([v[0] for v in values])
            grid = Grid(axis, low, np.array([np.diff(v).min() for v in values]))
            octets = np.moveaxis(quantise(array, grid)[0], axis - 1, -1)
            _known[key] = grid, np.ascontiguousarray(octets)
        return _known[key]


def register() -> None:
    """Give this process both."""
    kinds = (_UsersFile("PNG"), _UsersFile("JPEG", {"quality": 95}))
    for name, file in zip(NAMES, kinds, strict=True):
        floats = frozenset({"float32"})
        CODECS[name] = Codec(name, False, floats, file.encode, file.decode, otherwise="pixels")


if __name__ == "__main__":
    register()
    sys.exit(testbed_phone.main() if sys.argv[1:] == ["phone"] else jointdnn(sys.argv[1:]))
