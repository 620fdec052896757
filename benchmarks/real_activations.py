"""Trained networks on photographs that a package ships: inputs, activations, places to cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from known_networks import network_file_of_shape
from PIL import Image

from jointdnn_tvm.codec.channels import is_image
from jointdnn_tvm.demo.text_line import find_page
from jointdnn_tvm.graph import Graph
from jointdnn_tvm.host_network import HostNetwork
from jointdnn_tvm.network import Network, load_network

Array = np.ndarray[Any, Any]
SHAPES = {
    "opennsfw": (1, 224, 224, 3),
    "ppocr_det": (1, 3, 320, 320),
    "ppocr_rec": (1, 3, 48, 320),
    "ddddocr_det": (1, 3, 416, 416),
}
_SMALLEST_BYTES = 1 << 14
_FILES = (
    *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg"),
    *("motorcycle_left.png", "retina.jpg", "ihc.png"),
)
_LINES = tuple((0, top, 384, top + 26) for top in (10, 34, 58, 82, 106, 130, 150, 164))


def pictures(name: str, shape: tuple[int, ...]) -> list[Array]:
    """Eight pictures for a network, uint8 of its input's shape but for the order of its axes.

    They are (height, width, 3): lines of text for the recogniser, pages for what finds text.
    """
    height, width = shape[1:3] if shape[3] == 3 else shape[2:]
    if name == "ppocr_rec":
        with Image.open(find_page()) as page:
            page = page.convert("RGB")
            return [np.asarray(page.crop(box).resize((width, height))) for box in _LINES]
    files = [find_page().parent / file for file in _FILES]
    if name == "ppocr_det":
        files[:2] = [find_page(), find_page().parent / "text.png"]
    return [_picture(file, width, height) for file in files]


def network_input(name: str, picture: Array, shape: tuple[int, ...]) -> Array:
    """The picture as the network was trained to see it: float32 of the input's shape."""
    if name == "opennsfw":  # Caffe's: blue first, the data set's mean taken off
        scaled = picture[..., ::-1] - np.array([104, 117, 123], np.float32)
    elif name == "ppocr_rec":
        scaled = picture[..., ::-1] / np.float32(127.5) - 1
    elif name == "ppocr_det":
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        scaled = (picture / 255 - mean) / deviation
    else:
        scaled = picture.astype(np.float32)
    array = scaled.astype(np.float32)[None]
    return np.ascontiguousarray(array if shape[3] == 3 else array.transpose(0, 3, 1, 2))


def single_cuts(graph: Graph, count: int) -> list[str]:
    """Tensors that are all that crosses where the groups are cut once, from early to late."""
    order = {group.name: i for i, group in enumerate(graph.groups)}
    found = []
    for position in range(1, len(graph.groups)):
        across = [
            t
            for t in graph.tensors
            if (order[t.producer] if t.producer else -1) < position
            and any(order[c] >= position for c in t.consumers)
        ]
        fits = [t for t in across if len(t.shape) == 4 and not is_image(t.shape)]
        fits = [t for t in fits if t.size_bytes >= _SMALLEST_BYTES]
        if len(across) == len(fits) == 1 and fits[0].producer and fits[0].name not in found:
            found.append(fits[0].name)
    step = (len(found) - 1) / max(1, count - 1)
    return [found[round(i * step)] for i in range(min(count, len(found)))]


@dataclass(frozen=True)
class Observed:
    """A trained network, and all its tensors for each of its pictures."""

    network: Network
    host: HostNetwork
    runs: list[dict[str, Array]]

    @classmethod
    def on_photographs(cls, name: str, models: Path) -> Observed:
        """Run it; the ONNX file is kept in the folder `models`."""
        shape = SHAPES[name]
        network = load_network(network_file_of_shape(name, models, shape))
        host = HostNetwork(network)
        (tensor,) = network.graph.inputs
        inputs = [network_input(name, picture, shape) for picture in pictures(name, shape)]
        return cls(network, host, [host.tensors({tensor: array}) for array in inputs])


def _picture(file: Path, width: int, height: int) -> Array:
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB").resize((width, height)))
