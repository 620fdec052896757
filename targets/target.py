"""Target profiles: a kind of device as data.

A profile is a TOML file in this folder (or any path)::

    description = "…"
    kind = "cpu"                  # or "cuda"
    detect = false                # true: facts left out are read from this very machine
    cuda_graphs = false           # true, for a GPU: kernels of a stage are launched as CUDA graphs
    note = "…"                    # what is nominal, what was not measured

    [tvm_target]                  # what tvm.target.Target takes; reading it needs no TVM
    kind = "llvm"
    mcpu = "cortex-a72"           # "native": this machine's, which the build looks up
                                  # num-cores is filled in from cores

    [compute]
    cores = 4                     # CPU cores, or the streaming multiprocessors of a GPU
    clock_hz = 1.5e9
    vector_bits = 128             # of one register; a GPU: one warp of 32-bit lanes
    vector_registers = 32         # architectural; a GPU: the most a thread may have
    fma_ports = 2                 # vector multiply-adds that start each cycle; may be left out
    fma_latency = 4               # cycles until the sum of one can enter the next; likewise
    peak_flops = 48e9             # 32-bit, all cores, a multiply-add counts as two
    tensor_flops = 156e12         # a GPU: TF32, that `mma` reaches on tensor cores; may be left out

    [memory]
    size_bytes = 4e9
    bandwidth_bytes_per_s = 12.8e9
    l1d_bytes = 32768             # a core's (a GPU: a multiprocessor's); 0: none or unknown
    l2_bytes = 1048576            # what one core can reach, as are l3_bytes
    l3_bytes = 0

    [power]                       # of the whole device, W
    busy_w = 6.4
    idle_w = 2.7
    source = "…"                  # where the figures are from
    sensor = "…"                  # how the device measures itself, if it does

    [roofline]                    # may be left out: the best case; see `roofline.py`
    call_s = 2e-6                 # what a kernel costs before it begins
    source = "…"                  # how they were got

    [roofline.efficiency]         # shares of the peak (the first three) or of the bandwidth, as
    convolution = 0.6             # far as known: convolution, depthwise, dense, pooling,
                                  # reduction, moving, elementwise

    [linker]
    commands = ["…"]              # tried in order; $NAMES are read from the environment
    package = "…"                 # the Debian package to install when none is there
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from jointdnn_tvm.errors import ProfileError
from jointdnn_tvm.targets.host import detect_host
from jointdnn_tvm.targets.roofline import RooflineFigures, read_roofline
from jointdnn_tvm.targets.schema import HERE, Fields, find_profile, profile_names, read_toml

_FMA_PORTS, _FMA_LATENCY = 2, 4  # of most cores of the last ten years


@dataclass(frozen=True)
class TargetProfile:
    """A kind of device. Sizes in bytes, rates in 1/s, power in W; see the module for each field."""

    name: str
    description: str
    kind: Literal["cpu", "cuda"]
    cuda_graphs: bool
    tvm_target: dict[str, Any]
    cores: int
    clock_hz: float
    vector_bits: int
    vector_registers: int
    fma_ports: int
    fma_latency: int
    peak_flops: float
    tensor_flops: float
    memory_bytes: int
    bandwidth_bytes_per_s: float
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    busy_w: float
    idle_w: float
    power_source: str
    sensor: str
    roofline: RooflineFigures
    linker: tuple[str, ...]
    linker_package: str
    note: str
    tuned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What tuning decided in place of the rules, by kernel; no file of a target holds it."""

    @property
    def lanes(self) -> int:
        """32-bit numbers in one vector register."""
        return self.vector_bits // 32

    def to_json(self) -> dict[str, Any]:
        """The profile as a document of plain JSON types."""
        document = {**asdict(self), "linker": list(self.linker)}
        del document["tuned"]
        return document


def target_names() -> tuple[str, ...]:
    """The targets that come with the package."""
    return profile_names(HERE)


def load_target(name_or_path: str) -> TargetProfile:
    """A target by name, or by the path of a TOML file; raises `ProfileError`."""
    path = find_profile("target", name_or_path, HERE)
    return read_target(path.stem, f"target {name_or_path!r}", read_toml(path))


def read_target(name: str, where: str, document: dict[str, Any]) -> TargetProfile:
    """A checked target from the tables of its file; ``where`` begins each error."""
    fields = Fields(where, document)
    kind = fields.text("kind")
    if kind not in ("cpu", "cuda"):
        raise ProfileError(f"{where}: kind is {kind!r}; use cpu or cuda")
    found = detect_host() if fields.flag("detect") else {}
    tvm_target = fields.mapping("tvm_target")
    if not isinstance(tvm_target.get("kind"), str):
        raise ProfileError(f"{where}: [tvm_target] has no kind; use llvm or cuda")
    tables = {
        key: Fields(
            f"{where}: [{key}]", {**found.get(key, {}), **fields.mapping(key, optional=True)}
        )
        for key in ("compute", "memory", "power", "linker")
    }
    compute, memory, power, linker = tables.values()
    cores = compute.whole("cores")
    if kind == "cpu":
        tvm_target = {"num-cores": cores, **tvm_target}
    profile = TargetProfile(
        name=name,
        description=fields.text("description"),
        kind="cpu" if kind == "cpu" else "cuda",
        cuda_graphs=fields.flag("cuda_graphs"),
        tvm_target=tvm_target,
        cores=cores,
        clock_hz=compute.number("clock_hz", positive=True),
        vector_bits=compute.whole("vector_bits"),
        vector_registers=compute.whole("vector_registers"),
        fma_ports=compute.whole("fma_ports", _FMA_PORTS),
        fma_latency=compute.whole("fma_latency", _FMA_LATENCY),
        peak_flops=compute.number("peak_flops", positive=True),
        tensor_flops=compute.number("tensor_flops", 0.0),
        memory_bytes=int(memory.number("size_bytes", positive=True)),
        bandwidth_bytes_per_s=memory.number("bandwidth_bytes_per_s", positive=True),
        l1d_bytes=memory.whole("l1d_bytes", 0),
        l2_bytes=memory.whole("l2_bytes", 0),
        l3_bytes=memory.whole("l3_bytes", 0),
        busy_w=power.number("busy_w"),
        idle_w=power.number("idle_w"),
        power_source=f"model:{name} ({power.text('source')})",
        sensor=power.text("sensor", ""),
        roofline=read_roofline(fields.table("roofline", optional=True)),
        linker=linker.texts("commands"),
        linker_package=linker.text("package", ""),
        note=fields.text("note", ""),
    )
    for table in (fields, *tables.values()):
        table.done()
    if profile.busy_w < profile.idle_w:
        raise ProfileError(f"{where}: [power] busy_w is below idle_w; swap or correct them")
    return profile
