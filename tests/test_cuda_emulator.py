"""The emulator itself: it does what CUDA's manuals say, and sees what a GPU would do wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.passes.gpu_tensor_cores import SOURCE
from tests.cuda_emulator import Device, Guarded

THREADS = 64
TURN = """
extern "C" __global__ void kernel(float* x) {
  __shared__ alignas(64) float held[64];
  held[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  x[blockIdx.x * 64 + threadIdx.x] = held[63 - threadIdx.x];
}
"""
MULTIPLY = f"""
{SOURCE}
extern "C" __global__ void kernel(float* d, float* a, float* b) {{
  float c[4];
  for (int i = 0; i < 4; ++i) c[i] = 0;
  const int group = threadIdx.x / 4, place = threadIdx.x % 4;
  unsigned left[4], right[2];
  for (int i = 0; i < 4; ++i)
    left[i] = __float_as_uint(a[(group + i % 2 * 8) * 8 + place + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) right[i] = __float_as_uint(b[(place + i * 4) * 8 + group]);
  jointdnn_mma(c, left, right);
  for (int i = 0; i < 4; ++i) d[(group + i / 2 * 8) * 8 + place * 2 + i % 2] = c[i];
}}
"""


def held(values: np.ndarray) -> Guarded:
    array = Guarded(values.dtype, values.size)
    array.array[...] = values.reshape(-1)
    return array


def launch(source: str, folder: Path, *arrays: Guarded, threads: int = THREADS) -> None:
    sizes = {"blockIdx.x": 2 if threads == THREADS else 1, "threadIdx.x": threads}
    Device(source, ["kernel"], folder).launch("kernel", arrays, sizes)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def test_threads_share_what_a_barrier_parts(tmp_path: Path) -> None:
    x = numbers(2, THREADS)
    array = held(x)
    launch(TURN, tmp_path, array)
    np.testing.assert_array_equal(array.array.reshape(2, THREADS), x[:, ::-1])


def test_missing_barrier_spoils_the_answer(tmp_path: Path) -> None:
    x = numbers(2, THREADS)
    array = held(x)
    launch(TURN.replace("__syncthreads();", ""), tmp_path, array)
    assert np.isnan(array.array).any()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("__syncthreads()", "if (threadIdx.x < 40) __syncthreads()"),
        ("__syncthreads()", "if (threadIdx.x < 40) __shfl_down_sync(~0u, 1.0f, 1, 32)"),
    ],
)
def test_threads_that_wait_in_vain(old: str, new: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="threads of kernel do not do together"):
        launch(TURN.replace(old, new), tmp_path, held(numbers(2, THREADS)))


@pytest.mark.parametrize("place", ["-1", "128"])
def test_writing_beyond_an_array(place: str, tmp_path: Path) -> None:
    source = TURN.replace("__syncthreads();", f"__syncthreads(); x[{place}] = 0;")
    with pytest.raises(RuntimeError, match="beyond its array"):
        launch(source, tmp_path, held(numbers(2, THREADS)))


def test_shuffle(tmp_path: Path) -> None:
    source = TURN.replace("held[63 - threadIdx.x]", "__shfl_down_sync(~0u, threadIdx.x, 8, 32)")
    array = held(numbers(2, THREADS))
    launch(source, tmp_path, array)
    lane = np.arange(128) % 32
    warp = np.arange(128) % 64 - lane
    np.testing.assert_array_equal(array.array, warp + np.where(lane < 24, lane + 8, lane))


def test_tensor_cores(tmp_path: Path) -> None:
    a, b = (np.round(numbers(*shape) * 16) for shape in ((16, 8), (8, 8)))  # few bits each
    d = held(numbers(16, 8))
    launch(MULTIPLY, tmp_path, d, held(a), held(b), threads=32)
    np.testing.assert_array_equal(d.array.reshape(16, 8), a @ b)


def test_tensor_cores_take_ten_bits(tmp_path: Path) -> None:
    arrays = [held(numbers(*shape)) for shape in ((16, 8), (16, 8), (8, 8))]
    with pytest.raises(RuntimeError, match="do not do together"):
        launch(MULTIPLY, tmp_path, *arrays, threads=32)


def test_unknown_instruction(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing here emulates mma\.sync\.other"):
        Device('void f() { asm("mma.sync." "other" : : "r"(1)); }', [], tmp_path)
