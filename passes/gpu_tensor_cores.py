"""Products of 32-bit floats on tensor cores, as an intrinsic for TVM's `tensorize`.

Tensor cores take factors of 10 bits of mantissa (TF32). A factor is split into a large part of
those and a small part of the next, and the products of large by large, large by small and small by
large are summed: what is left out is below 2^-20 of each term. Within tensor cores sums are rounded
toward zero, which adds up over a long sum, so each starts at zero and joins the others outside
them. (Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores", 2022.)

A warp multiplies 16 x 8 by 8 x 8 numbers at once, each lane holding four of the 16 x 8 results. For
the schedule, a lane computes those four alone: rows 8 apart, columns that are neighbours. So the
intrinsic stands for loops of one thread, and only its code knows that lanes help each other.
"""

from __future__ import annotations

from functools import cache

from tvm import s_tir
from tvm.script import tirx as T

WARP_ROWS, WARP_COLUMNS = 8, 4
"""Lanes of a warp: one below the other, and side by side."""
PRODUCTS = 3
"""Of TF32, for one of 32-bit floats."""

SOURCE = """
#ifndef JOINTDNN_MULTIPLY
#define JOINTDNN_MULTIPLY
__device__ __forceinline__ void jointdnn_split(float x, unsigned &large, unsigned &small) {
  large = __float_as_uint(x) & 0xffffe000u;
  small = __float_as_uint(x - __uint_as_float(large)) & 0xffffe000u;
}

__device__ __forceinline__ void jointdnn_mma(float (&d)[4], const unsigned (&a)[4],
                                             const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// C += A B for DOWN x ACROSS tiles of 16 x 8. A, B and C are where the numbers begin that this
// lane would need if it were alone: its first row, its first column, and its own results.
template <int DOWN, int ACROSS, int DEPTH>
__device__ __forceinline__ void jointdnn_multiply(float *c, const float *a, const float *b,
                                                  int a_stride, int b_stride) {
  const int group = (threadIdx.x & 31) >> 2, place = threadIdx.x & 3;
  a += place;
  b += place * b_stride + group - 2 * place;
#pragma unroll
  for (int k = 0; k < DEPTH; k += 8) {
    unsigned a_large[DOWN][4], a_small[DOWN][4];
#pragma unroll
    for (int m = 0; m < DOWN; ++m)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        jointdnn_split(a[(m * 16 + i % 2 * 8) * a_stride + k + i / 2 * 4], a_large[m][i],
                       a_small[m][i]);
#pragma unroll
    for (int n = 0; n < ACROSS; ++n) {
      unsigned b_large[2], b_small[2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        jointdnn_split(b[(k + i * 4) * b_stride + n * 8], b_large[i], b_small[i]);
#pragma unroll
      for (int m = 0; m < DOWN; ++m) {
        float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        jointdnn_mma(d, a_small[m], b_large);
        jointdnn_mma(d, a_large[m], b_small);
        jointdnn_mma(d, a_large[m], b_large);
#pragma unroll
        for (int i = 0; i < 4; ++i) c[((m * 2 + i / 2) * ACROSS + n) * 2 + i % 2] += d[i];
      }
    }
  }
}
#endif
"""


@cache
def multiply_intrinsic(down: int, across: int, depth: int) -> str:
    """The name of the intrinsic for a warp of `down` x `across` tiles and a sum of `depth` steps.

    In the schedule's loops a lane sums C[m, n, p] += A[8 m, k] * B[k, 8 n + p] for 2 `down` rows m,
    `across` pairs n of columns, both columns p of a pair, and `depth` steps k. A and B lie in
    shared memory, C in the lane's own registers.
    """
    name = f"jointdnn_multiply_{down}_{across}_{depth}"
    rows, columns = 2 * down, across
    a_rows, b_columns = 8 * rows - 7, 8 * columns - 6
    call = f"jointdnn_multiply<{down}, {across}, {depth}>"

    @T.prim_func(s_tir=True)
    def loops(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (a_rows, depth), "float32", offset_factor=1, scope="shared")
        B = T.match_buffer(b, (depth, b_columns), "float32", offset_factor=1, scope="shared")
        C = T.match_buffer(c, (rows, columns, 2), "float32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:rows, 0:columns, 0:2], A[0:a_rows, 0:depth], B[0:depth, 0:b_columns])
            T.writes(C[0:rows, 0:columns, 0:2])
            for m, n, p, k in T.grid(rows, columns, 2, depth):
                with T.sblock("update"):
                    vm, vn, vp, vk = T.axis.remap("SSSR", [m, n, p, k])
                    C[vm, vn, vp] = C[vm, vn, vp] + A[vm * 8, vk] * B[vk, vn * 8 + vp]

    @T.prim_func(s_tir=True)
    def tensor_cores(a: T.handle, b: T.handle, c: T.handle) -> None:
        sa, sb = T.int32(), T.int32()
        A = T.match_buffer(
            a, (a_rows, depth), "float32", strides=[sa, 1], offset_factor=1, scope="shared"
        )
        B = T.match_buffer(
            b, (depth, b_columns), "float32", strides=[sb, 1], offset_factor=1, scope="shared"
        )
        C = T.match_buffer(c, (rows, columns, 2), "float32", offset_factor=1, scope="local")
        with T.sblock("root"):
            T.reads(C[0:rows, 0:columns, 0:2], A[0:a_rows, 0:depth], B[0:depth, 0:b_columns])
            T.writes(C[0:rows, 0:columns, 0:2])
            T.evaluate(
                T.cuda.func_call(
                    call,
                    C.access_ptr("rw"),
                    A.access_ptr("r"),
                    B.access_ptr("r"),
                    sa,
                    sb,
                    source_code=SOURCE,
                )
            )

    s_tir.TensorIntrin.register(name, loops, tensor_cores, override=True)
    return name
