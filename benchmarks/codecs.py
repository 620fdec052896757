"""Codecs on real activations: ratio, speed and error, beside zstd alone, PNG and JPEG.

    python benchmarks/codecs.py [--network opennsfw] [--cuts 4] [--json FILE]

Trained networks run on photographs. Each is cut where one tensor crosses, at some places from its
beginning to its end; the tensors there go through every codec, in one thread. The first table is
over all of them; `in the module` is what the host has left to do when the compiled stage has
quantised (`docs/codecs.md`). The second is the input edge: bytes of the pictures themselves.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from PIL import Image
from real_activations import SHAPES, Observed, network_input, pictures, single_cuts

from jointdnn_tvm.cli.console import note
from jointdnn_tvm.codec.quantise import dequantise, grid_of, quantise
from jointdnn_tvm.codec.registry import CODECS, decode_tensor, encode_tensor
from jointdnn_tvm.encodings import calibrated, indices_of
from jointdnn_tvm.graph import Tensor

Array = np.ndarray[Any, Any]
_REPEATS = 5


@dataclass(frozen=True)
class Way:
    """One way to send a tensor: what its sender does, and its receiver.

    `prepare` is what is done before, where a compiled module does it.
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Array]
    prepare: Callable[[Array], Any] = lambda array: array


def ways(tensor: Tensor, calibration: list[Array]) -> dict[str, Way]:
    """Every way, for what the tensor is on inputs that have no part in `calibration`."""
    found = {
        name: Way(lambda a, name=name: encode_tensor(name, a), decode_tensor)
        for name, codec in CODECS.items()
        if "float32" in codec.dtypes and name not in ("none", "pixels", "jpeg")
    }
    found["zstd alone"] = _zstd(calibration[0].shape)
    found["u8-tensor, PNG tiles"] = _tiles(calibration[0].shape)
    for name in ("u8", "u8-tensor", "u6", "u4"):
        found[f"{name} in the module"] = _in_module(name, tensor, calibration)
    return found


def _zstd(shape: tuple[int, ...]) -> Way:
    packer, unpacker = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    return Way(
        lambda a: packer.compress(a.data),
        lambda data: np.frombuffer(unpacker.decompress(data), np.float32).reshape(shape),
    )


def _in_module(name: str, tensor: Tensor, calibration: list[Array]) -> Way:
    """What the module does is left out of the time; it is told of by `benchmarks/boundary.py`."""
    how = calibrated(name, tensor, calibration)
    assert how is not None, "activations are finite"
    return Way(
        lambda indices: encode_tensor(how.codec, indices),
        decode_tensor,
        lambda a: indices_of(a, how),
    )


def _tiles(shape: tuple[int, ...]) -> Way:
    """The paper's way: channels side by side in one picture of bytes, as PNG.

    The grid would cross too; it is kept here.
    """
    _, height, width, channels = shape
    across = math.ceil(math.sqrt(channels))
    kept: list[Any] = [None]

    def encode(array: Array) -> bytes:
        kept[0] = grid_of(array, None, 256)
        sheet = np.zeros((across * across, height, width), np.uint8)
        sheet[:channels] = quantise(array, kept[0])[0].transpose(2, 0, 1)
        sheet = sheet.reshape(across, across, height, width).transpose(0, 2, 1, 3)
        file = io.BytesIO()
        Image.fromarray(sheet.reshape(across * height, across * width)).save(file, "PNG")
        return file.getvalue()

    def decode(data: bytes) -> Array:
        sheet = np.asarray(Image.open(io.BytesIO(data)))
        sheet = sheet.reshape(across, height, across, width).transpose(0, 2, 1, 3)
        tiles = sheet.reshape(across * across, height, width)[:channels]
        return dequantise(np.ascontiguousarray(tiles.transpose(1, 2, 0))[None], kept[0])

    return Way(encode, decode)


def try_way(way: Way, arrays: list[Array]) -> dict[str, float]:
    """Ratio, seconds and relative error (L2), of all the arrays together."""
    size = encode_s = decode_s = lost = whole = 0.0
    for array in arrays:
        prepared = way.prepare(array)
        data = way.encode(prepared)
        size += len(data)
        encode_s += _seconds(lambda prepared=prepared: way.encode(prepared))
        decode_s += _seconds(lambda data=data: way.decode(data))
        found = way.decode(data)
        if found.dtype == np.float32:
            lost += float(np.square(found.astype(np.float64) - array).sum())
            whole += float(np.square(array.astype(np.float64)).sum())
    raw = sum(array.nbytes for array in arrays)
    error = math.sqrt(lost / whole) if whole else math.nan
    return {
        "ratio": raw / size,
        "encode_bytes_per_s": raw / encode_s,
        "decode_bytes_per_s": raw / decode_s,
        "relative_error": error,
    }


def _seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)  # the rest is others' work on this machine


def input_edge(name: str) -> dict[str, float]:
    """Mean bytes of a network's pictures, by each way to send them."""
    shape = SHAPES[name]
    sizes: dict[str, list[int]] = {}
    for picture in pictures(name, shape):
        array = network_input(name, picture, shape)
        found = {codec: len(encode_tensor(codec, array)) for codec in ("none", "f32", "pixels")}
        found |= {codec: len(encode_tensor(codec, array)) for codec in ("u8", "u6", "u4", "jpeg")}
        found |= {"PNG": _file(picture, "PNG"), "JPEG-95": _file(picture, "JPEG", quality=95)}
        for way, size in found.items():
            sizes.setdefault(way, []).append(size)
    return {way: statistics.mean(of_all) for way, of_all in sizes.items()}


def _file(picture: Array, kind: str, **options: int) -> int:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.tell()


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each way, over all tensors."""
    lines = [f"{'codec':24}{'ratio':>8}{'encode MB/s':>14}{'decode MB/s':>14}{'error':>10}"]
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        ratio, encode, decode = (
            statistics.geometric_mean(row[key] for row in own)
            for key in ("ratio", "encode_bytes_per_s", "decode_bytes_per_s")
        )
        error = statistics.median(row["relative_error"] for row in own)
        told = "" if math.isnan(error) else f"{error:10.1e}"
        lines.append(f"{way:24}{ratio:8.2f}{encode / 1e6:14.0f}{decode / 1e6:14.0f}{told}")
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--network", action="append", choices=SHAPES, metavar="NAME", help="default: all"
    )
    parser.add_argument("--cuts", type=int, default=4, help="of each network; default 4")
    parser.add_argument("--models", type=Path, default=Path("build/models"), metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here")
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    names = options.network or list(SHAPES)
    rows: list[dict[str, Any]] = []
    for name in names:
        note(name)
        observed = Observed.on_photographs(name, options.models)
        for tensor in single_cuts(observed.network.graph, options.cuts):
            arrays = [run[tensor] for run in observed.runs]
            chosen, others = arrays[::2], arrays[1::2]
            found = ways(observed.network.graph.tensor(tensor), chosen)
            for way, how in found.items():
                rows.append({"network": name, "tensor": tensor, "way": way, **try_way(how, others)})
    cuts = len({(row["network"], row["tensor"]) for row in rows})
    print(f"{cuts} cuts of {len(names)} trained networks, activations of photographs, one thread")
    print("\n".join(summary(rows)))
    edges = {name: input_edge(name) for name in names}
    print(f"\n{'input edge, KB':16}" + "".join(f"{way:>10}" for way in edges[names[0]]))
    for name, sizes in edges.items():
        print(f"{name:16}" + "".join(f"{size / 1e3:10.1f}" for size in sizes.values()))
    if options.json:
        options.json.write_text(json.dumps({"tensors": rows, "inputs": edges}, indent=1))


if __name__ == "__main__":
    main()
