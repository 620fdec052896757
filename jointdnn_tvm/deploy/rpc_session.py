"""What runs in the process of one RPC session on a device.

Everything a client can name in a session's files is a plain file name: it stays in the session's
own working folder, or names a cached file by its content (`<sha256>.so`).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from tvm.rpc import _ffi_api

from jointdnn_tvm.codec.clock import time_codec
from jointdnn_tvm.codec.registry import CODECS
from jointdnn_tvm.deploy import energy_meter
from jointdnn_tvm.deploy.device_info import DeviceInfo
from jointdnn_tvm.deploy.file_cache import FileCache
from jointdnn_tvm.runtime import training_server
from jointdnn_tvm.runtime.backends import load_backends
from jointdnn_tvm.runtime.file_transfer import file_digest

REGISTRARS = ("jointdnn_tvm.runtime.stage_server", "jointdnn_tvm.runtime.link_probe")
"""Modules whose `register(find_file)` adds functions to a session, when they exist.

`find_file` gives the path of a file that was sent before, by its SHA-256.
"""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_CACHED = re.compile(r"([0-9a-f]{64})\.so")
_HASH_AGAIN_BYTES = 64 << 20


def preload() -> None:
    """Import in the listening process what every session needs, so that one begins at once."""
    for name in REGISTRARS:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def serve(
    connection_fd: int, workdir: Path, info: DeviceInfo, cache: FileCache, sensors: Path
) -> None:
    """Serve one session on a connected socket, after its handshake, until the client leaves.

    Energy sensors are looked for below the folder `sensors`, which is ``/`` but in tests.
    """
    os.chdir(workdir)
    load_backends()
    _register_files(workdir, cache)
    _register("jointdnn.device_info", lambda: json.dumps(info.as_json()))
    _register("jointdnn.random_fill", _random_fill)
    _register(
        "jointdnn.time_codec",
        lambda name, count, shortest_s: json.dumps(
            time_codec(name, count, shortest_s) if name in CODECS else None
        ),
    )
    energy_meter.register(_register, sensors)

    def find(sha256: str) -> Path:
        return find_file(workdir, cache, sha256)

    training_server.register(find, cache.directory / "training")
    for name in REGISTRARS:
        _run_registrar(name, find)
    _ffi_api.ServerLoop(connection_fd)


def file_in(workdir: Path, name: str) -> str:
    """The path of a session's file; ValueError for a name that could lie anywhere else."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain file name; use letters, digits and ._+-")
    return str(workdir / name)


def _register(name: str, function: Callable[..., Any]) -> None:
    tvm_ffi.register_global_func(name, function, override=True)


def _register_files(workdir: Path, cache: FileCache) -> None:
    def path_of(name: str) -> str:
        return file_in(workdir, name)

    def load(name: str) -> Any:
        path = Path(path_of(name))
        cached = _CACHED.fullmatch(name)
        if cached and not path.exists():
            path = find_file(workdir, cache, cached[1])
        return tvm_ffi.load_module(path)  # unlike TVM's, it does not follow the link

    def listdir(name: str) -> str:
        return ",".join(os.listdir(workdir if name in ("", ".") else path_of(name)))

    _register("tvm.rpc.server.workpath", path_of)
    _register("tvm.rpc.server.load_module", load)
    _register("tvm.rpc.server.listdir", listdir)
    _register("jointdnn.has_file", cache.has)


def find_file(workdir: Path, cache: FileCache, sha256: str) -> Path:
    """A cached file under a name in the session's folder by which TVM loads libraries.

    A damaged library kills the process that loads it, so small files are hashed once more;
    large ones, which are weights, were checked when they arrived.
    """
    path, link = cache.path(sha256), workdir / f"{sha256}.so"
    if not path.exists():
        raise FileNotFoundError(f"no file {sha256} in the cache; send it first")
    if path.stat().st_size <= _HASH_AGAIN_BYTES and file_digest(path) != sha256:
        path.unlink()
        raise ValueError(f"the cached file {sha256} was damaged and is removed; send it again")
    if not link.is_symlink():
        link.symlink_to(path)
    return link


def _random_fill(tensor: Any) -> None:
    """Fill a tensor on this device with numbers from 0 to 1."""
    tensor.copyfrom(np.random.default_rng(0).random(tensor.shape).astype(str(tensor.dtype)))


def _run_registrar(name: str, find: Callable[[str], Path]) -> None:
    if importlib.util.find_spec(name) is not None:
        importlib.import_module(name).register(find)
