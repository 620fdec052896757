"""Relax functions to a shared library: kernels compiled once and kept, then linked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir.instrument import DumpIR

from jointdnn_tvm.cuda.compilers import CudaCompiler, compile_cubin, find_cuda_compiler
from jointdnn_tvm.cuda.packing import pack_imports
from jointdnn_tvm.errors import BuildError, LinkError
from jointdnn_tvm.kernel_store import KernelStore, open_kernel_store
from jointdnn_tvm.linking import find_linker
from jointdnn_tvm.llvm_target import check_llvm_target
from jointdnn_tvm.passes.blocks_to_gpu_code import BLOCKS_TO_GPU_CODE
from jointdnn_tvm.passes.choose_kernels import Weights
from jointdnn_tvm.passes.loops_to_code import LOOPS_TO_CODE
from jointdnn_tvm.passes.pipeline import lower
from jointdnn_tvm.targets import TargetProfile


def compile_library(
    module: tvm.IRModule, profile: TargetProfile, path: Path, *, dump_ir: Path | None = None
) -> Weights:
    """Lower the module's public functions for a target and link them into a shared library.

    Returns the weights that each function takes after its inputs, some of them packed.
    BuildError says why the module cannot be built; LinkError, that nothing can be linked.
    """
    target = tvm_target(profile)
    link = find_linker(profile)
    try:
        with target, pass_context(dump_ir, cuda_graphs=profile.cuda_graphs):
            lowered, weights = lower(module, target, profile)
        export = _export_for_gpu if profile.kind == "cuda" else _export_for_cpu
        export(lowered, target, path, link)
        return weights
    except LinkError:
        raise
    except Exception as error:  # TVM raises many kinds, none of them documented
        raise BuildError(
            f"building for target {profile.name} failed: {first_line(error)}"
        ) from error


def _export_for_cpu(
    lowered: tvm.IRModule, target: tvm.target.Target, path: Path, link: Callable[..., None]
) -> None:
    calling, kernels = separate_kernels(lowered, target)
    with open_kernel_store() as store:
        objects = _objects(store, kernels, target)
        executable = tvm.compile(calling, target, relax_pipeline=None)
        executable.export_library(str(path), fcompile=link, addons=[str(path) for path in objects])


def _export_for_gpu(
    lowered: tvm.IRModule, target: tvm.target.Target, path: Path, link: Callable[..., None]
) -> None:
    """Link a library that carries all kernels as machine code of the GPU."""
    compiler = find_cuda_compiler()
    arch = str(target.attrs["arch"])
    executable = tvm.compile(lowered, target, relax_pipeline=None, tir_pipeline=BLOCKS_TO_GPU_CODE)
    with open_kernel_store() as store:
        pack = pack_imports(partial(_cubin, store, compiler, arch))
        executable.mod.export_library(str(path), fcompile=link, fpack_imports=pack)


def _cubin(store: KernelStore, compiler: CudaCompiler, arch: str, source: str) -> bytes:
    made_of = f"{compiler.name} {arch} {source}"
    key = f"cuda_{hashlib.sha256(made_of.encode()).hexdigest()[:32]}"

    def write(path: str) -> None:
        Path(path).write_bytes(compile_cubin(compiler, source, arch))

    return (store.get(key) or store.put(key, write)).read_bytes()


def separate_kernels(
    module: tvm.IRModule, target: tvm.target.Target
) -> tuple[tvm.IRModule, dict[str, tirx.PrimFunc]]:
    """Take the kernels out of a lowered module, which then calls them by names that tell what
    they compute and for which target: equal kernels have one name."""
    names: dict[str, str] = {}
    kernels = {}
    for var, function in module.functions.items():
        if isinstance(function, tirx.PrimFunc):
            kernel = function.without_attr("global_symbol")
            name = _kernel_name(kernel, target)
            names[var.name_hint] = name
            kernels[name] = kernel.with_attr("global_symbol", name)

    def by_name(var: tvm.ir.GlobalVar) -> Any:
        name = names.get(var.name_hint)
        return var if name is None else relax.ExternFunc(name)

    calling = {
        var: tvm_ffi.structural_map(function, (tvm.ir.GlobalVar, by_name))
        for var, function in module.functions.items()
        if isinstance(function, relax.Function)
    }
    # TVM takes the target of what it links from a kernel.
    calling[tvm.ir.GlobalVar(_ANCHOR)] = _anchor()
    return tvm.IRModule(calling, attrs=module.attrs), kernels


def _kernel_name(kernel: tirx.PrimFunc, target: tvm.target.Target) -> str:
    made_by = f"{target} {tvm.__version__} {LOOPS_TO_CODE}"
    digest = hashlib.sha256(made_by.encode()).hexdigest()[:16]
    return f"kernel_{tvm_ffi.structural_hash(kernel) % 2**64:016x}_{digest}"


_ANCHOR = "jointdnn_anchor"


def _anchor() -> tirx.PrimFunc:
    buffer = tirx.decl_buffer((1,), "int32", "x")
    store = tirx.BufferStore(buffer, tirx.const(0, "int32"), [0])
    return tirx.PrimFunc([buffer], store).with_attr({"global_symbol": _ANCHOR, "s_tir": True})


def _objects(
    store: KernelStore, kernels: Mapping[str, tirx.PrimFunc], target: tvm.target.Target
) -> list[Path]:
    """Object files of the kernels, built on all cores: TVM and LLVM run without Python's lock."""
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="kernels")
    try:
        return list(pool.map(partial(_object, store, target), kernels.items()))
    finally:
        pool.shutdown(cancel_futures=True)  # an error or Ctrl-C leaves only what is begun


def _object(
    store: KernelStore, target: tvm.target.Target, named: tuple[str, tirx.PrimFunc]
) -> Path:
    name, kernel = named

    def write(path: str) -> None:
        with pass_context(None):
            module = tvm.IRModule({name: kernel})
            tvm.tirx.build(module, target, pipeline=LOOPS_TO_CODE).write_to_file(path)

    return store.get(name) or store.put(name, write)


def tvm_target(profile: TargetProfile) -> tvm.target.Target:
    """Make the TVM target of a profile; `native` becomes this machine's own CPU."""
    description = dict(profile.tvm_target)
    if "host" in description:
        description["host"] = _native(description["host"])
    description = _native(description)
    for part in (description, description.get("host", {})):
        if part.get("kind") == "llvm":
            check_llvm_target(profile.name, part)
    try:
        return tvm.target.Target(description)
    except Exception as error:  # of many kinds
        raise BuildError(
            f"TVM does not know target {profile.name}: {first_line(error)}; "
            "correct [tvm_target] in its TOML file"
        ) from error


def _native(description: Mapping[str, Any]) -> dict[str, Any]:
    if description.get("mcpu") != "native":
        return dict(description)
    return {**description, "mcpu": tvm.get_global_func("target.llvm_get_system_cpu")()}


def first_line(error: BaseException) -> str:
    """What an exception of TVM says, on one line, without the stack that it prints first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("File ", "Traceback", "^", "0:"))]
    return f"{type(error).__name__}: {(told or lines or ['no reason given'])[-1]}"[:500]


def pass_context(dump_to: Path | None, *, cuda_graphs: bool = False) -> tvm.transform.PassContext:
    """Give a context for passes, which writes the module after each of them to a folder.

    With `cuda_graphs`, runs of kernels that depend on nothing but weights and what other kernels
    made become CUDA graphs.
    """
    config = {"relax.backend.use_cuda_graph": cuda_graphs}
    if dump_to is None:
        return tvm.transform.PassContext(opt_level=3, config=config)
    try:
        dump_to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"the folder {dump_to} cannot be written ({error.strerror}); choose another --dump-ir"
        ) from error
    dump = DumpIR(str(dump_to))
    return tvm.transform.PassContext(opt_level=3, config=config, instruments=[dump])
