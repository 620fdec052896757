// CUDA on a CPU, for tests: each thread of a block is a fibre that runs until it waits for others.
//
// The order in which threads run between two barriers is drawn anew each time, and shared memory
// holds NaN when a block begins: a barrier that is missing changes the answer.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))

#define VECTORS(TYPE, NAME)                                                    \
  struct alignas(2 * sizeof(TYPE)) NAME##2 { TYPE x, y; };                     \
  struct alignas(4 * sizeof(TYPE)) NAME##4 { TYPE x, y, z, w; };               \
  inline NAME##2 make_##NAME##2(TYPE x, TYPE y) { return {x, y}; }             \
  inline NAME##4 make_##NAME##4(TYPE x, TYPE y, TYPE z, TYPE w) { return {x, y, z, w}; }
VECTORS(float, float)
VECTORS(int, int)
VECTORS(unsigned, uint)
VECTORS(short, short)
VECTORS(unsigned short, ushort)
VECTORS(signed char, char)
VECTORS(unsigned char, uchar)

template <class T> T max(T a, T b) { return a > b ? a : b; }
template <class T> T min(T a, T b) { return a < b ? a : b; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline unsigned __float_as_uint(float x) { unsigned u; memcpy(&u, &x, 4); return u; }
inline float __uint_as_float(unsigned u) { float x; memcpy(&x, &u, 4); return x; }

struct Index { int x, y, z; };
extern Index threadIdx, blockIdx;

void __syncthreads();
unsigned __activemask();
float __shfl_down_sync(unsigned mask, float value, int offset, int width);
void emulated_mma(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2,
                  unsigned a3, unsigned b0, unsigned b1);

// cp.async: bytes from `source` to `shared` when a later wait asks for them, or at once; zeros at
// once where the predicate is 0. The unnamed operand is the zero that is stored.
void emulated_copy(unsigned shared, const void *source, int bytes, int predicate = 1, int = 0);
void emulated_commit();
void emulated_wait_for_all_but(int groups);
template <int GROUPS> void emulated_wait() { emulated_wait_for_all_but(GROUPS); }
unsigned __cvta_generic_to_shared(const void *pointer);

namespace emulation {

// Shared memory of the kernels in one library.
struct Memory { char *begin, *end; };

// False when threads waited for others that never came. `grid` and `block` are numbers of blocks,
// and of threads in each.
bool run(void (*body)(void *), void *argument, Memory shared, Index grid, Index block);

extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

template <class... A, size_t... I>
bool launch(void (*kernel)(A...), void **arguments, const int *d, std::index_sequence<I...>) {
  auto call = [=] { kernel(static_cast<A>(arguments[I])...); };
  auto body = [](void *argument) { (*static_cast<decltype(call) *>(argument))(); };
  const Memory shared{__start_cuda_shared, __stop_cuda_shared};
  return run(body, &call, shared, {d[0], d[1], d[2]}, {d[3], d[4], d[5]});
}

template <class... A>
bool launch(void (*kernel)(A...), void **arguments, const int *dimensions) {
  return launch(kernel, arguments, dimensions, std::index_sequence_for<A...>());
}

}  // namespace emulation

#define alignas(bytes) __attribute__((aligned(bytes)))  // C++ wants it before `static`
