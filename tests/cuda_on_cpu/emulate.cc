// What is declared in emulate.h: fibres, barriers, and what a warp does together.
#include "emulate.h"
#undef alignas

#include <ucontext.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <random>
#include <vector>

Index threadIdx, blockIdx;

namespace emulation {
namespace {

enum class Wait { none, block, warp, done };
enum Operation { kMma, kShuffle };
struct Lane {  // what a thread gives to its warp
  Operation operation;
  unsigned mask;
  void *given;
};
struct Copy {
  unsigned to;
  const void *from;
  int bytes;
};
struct Fibre {
  ucontext_t context;
  Index thread;
  Wait wait;
  Lane lane;
  std::vector<Copy> copies;  // of no group yet
  std::deque<std::vector<Copy>> groups;
};
constexpr int kWarp = 32, kStack = 1 << 16;

std::vector<Fibre> fibres;
Memory memory;
std::mt19937 random_numbers;
std::vector<char> stacks;
ucontext_t scheduler;
int current;
void (*body)(void *);
void *body_argument;

void wait_for(Wait what) {
  fibres[current].wait = what;
  swapcontext(&fibres[current].context, &scheduler);
}

void run_fibre() {
  body(body_argument);
  wait_for(Wait::done);
}

void join(Operation operation, void *given, unsigned mask) {
  fibres[current].lane = {operation, mask, given};
  wait_for(Wait::warp);
}

int first_of_warp() { return current / kWarp * kWarp; }
int lanes_from(int first) { return std::min<int>(kWarp, fibres.size() - first); }

struct Mma {
  float *d;
  const unsigned *a, *b;
};
struct Shuffle {
  float value;
  int offset;
};

float toward_zero(double x) {
  const float f = static_cast<float>(x);
  return fabs(static_cast<double>(f)) > fabs(x) ? nextafterf(f, 0.0f) : f;
}

// m16n8k8 with fragments as in the PTX manual. Factors have 10 bits of mantissa: others given are
// an error here. Sums are rounded toward zero, as was measured (Fasi et al., "Numerical behavior
// of NVIDIA tensor cores", 2021).
bool multiply(Mma *const *lanes) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    const Mma &given = *lanes[lane];
    for (int i = 0; i < 4; ++i) {
      if (given.a[i] & 0x1fff) return false;
      a[lane / 4 + i % 2 * 8][lane % 4 + i / 2 * 4] = __uint_as_float(given.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      if (given.b[i] & 0x1fff) return false;
      b[lane % 4 + i * 4][lane / 4] = __uint_as_float(given.b[i]);
    }
  }
  for (int lane = 0; lane < kWarp; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = lanes[lane]->d[i];
      for (int k = 0; k < 8; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      lanes[lane]->d[i] = toward_zero(sum);
    }
  return true;
}

void shuffle_down(Shuffle *const *lanes, unsigned mask) {
  float values[kWarp];
  for (int lane = 0; lane < kWarp; ++lane) values[lane] = lanes[lane] ? lanes[lane]->value : 0;
  for (int lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1) {
      const int source = lane + lanes[lane]->offset;
      if (source < kWarp && mask >> source & 1) lanes[lane]->value = values[source];
    }
}

// Do what the lanes of a warp wait for together; false if they do not all wait for the same.
bool meet(int first) {
  const Lane *leader = nullptr;
  void *given[kWarp] = {};
  for (int i = 0; i < lanes_from(first); ++i) {
    const Fibre &fibre = fibres[first + i];
    if (fibre.wait != Wait::warp) continue;
    if (leader == nullptr) leader = &fibre.lane;
    if (fibre.lane.operation != leader->operation || fibre.lane.mask != leader->mask) return false;
    given[i] = fibre.lane.given;
  }
  if (leader == nullptr) return true;
  for (int i = 0; i < kWarp; ++i)
    if ((leader->mask >> i & 1) != (given[i] != nullptr)) return false;
  if (leader->operation == kMma && !multiply(reinterpret_cast<Mma *const *>(given))) return false;
  if (leader->operation == kShuffle)
    shuffle_down(reinterpret_cast<Shuffle *const *>(given), leader->mask);
  for (int i = 0; i < lanes_from(first); ++i)
    if (given[i] != nullptr) fibres[first + i].wait = Wait::none;
  return true;
}

bool all_wait_for(Wait what) {
  return std::all_of(fibres.begin(), fibres.end(), [&](auto &f) { return f.wait == what; });
}

void copy(const Copy &what) { memcpy(memory.begin + what.to, what.from, what.bytes); }

void start_block() {
  if (memory.begin != nullptr) memset(memory.begin, 0xff, memory.end - memory.begin);
  for (size_t i = 0; i < fibres.size(); ++i) {
    Fibre &fibre = fibres[i];
    fibre.wait = Wait::none;
    fibre.copies.clear();
    fibre.groups.clear();
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = stacks.data() + i * kStack;
    fibre.context.uc_stack.ss_size = kStack;
    makecontext(&fibre.context, run_fibre, 0);
  }
}

bool run_block(std::vector<int> &order) {
  start_block();
  while (!all_wait_for(Wait::done)) {
    if (all_wait_for(Wait::block))
      for (Fibre &fibre : fibres) fibre.wait = Wait::none;
    std::shuffle(order.begin(), order.end(), random_numbers);
    bool moved = false;
    for (int i : order)
      if (fibres[i].wait == Wait::none) {
        moved = true;
        current = i;
        threadIdx = fibres[i].thread;
        swapcontext(&scheduler, &fibres[i].context);
      }
    if (!moved) return false;
    for (size_t first = 0; first < fibres.size(); first += kWarp)
      if (!meet(first)) return false;
  }
  return true;
}

}  // namespace

bool run(void (*function)(void *), void *argument, Memory shared, Index grid, Index block) {
  body = function;
  body_argument = argument;
  memory = shared;
  random_numbers.seed(0);
  fibres.resize(block.x * block.y * block.z);
  stacks.resize(fibres.size() * kStack);
  for (int i = 0; i < static_cast<int>(fibres.size()); ++i)
    fibres[i].thread = {i % block.x, i / block.x % block.y, i / block.x / block.y};
  std::vector<int> order(fibres.size());
  std::iota(order.begin(), order.end(), 0);
  for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
        if (!run_block(order)) return false;
  return true;
}

}  // namespace emulation

using namespace emulation;

void __syncthreads() { wait_for(Wait::block); }

unsigned __activemask() {
  const int lanes = lanes_from(first_of_warp());
  return lanes == kWarp ? ~0u : (1u << lanes) - 1;
}

float __shfl_down_sync(unsigned mask, float value, int offset, int) {
  Shuffle shuffle{value, offset};
  join(kShuffle, &shuffle, mask);
  return shuffle.value;
}

void emulated_mma(float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2,
                  unsigned a3, unsigned b0, unsigned b1) {
  float d[] = {d0, d1, d2, d3};
  const unsigned a[] = {a0, a1, a2, a3}, b[] = {b0, b1};
  Mma mma{d, a, b};
  join(kMma, &mma, ~0u);
  d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
}

void emulated_copy(unsigned shared, const void *source, int bytes, int predicate, int) {
  const Copy what{shared, source, bytes};
  if (!predicate)
    memset(memory.begin + shared, 0, bytes);
  else if (random_numbers() % 2)
    copy(what);  // nothing says that it is not there before it is asked for
  else
    fibres[current].copies.push_back(what);
}

void emulated_commit() {
  fibres[current].groups.push_back(std::move(fibres[current].copies));
  fibres[current].copies.clear();
}

void emulated_wait_for_all_but(int groups) {
  auto &waiting = fibres[current].groups;
  for (; static_cast<int>(waiting.size()) > groups; waiting.pop_front())
    for (const Copy &what : waiting.front()) copy(what);
}

unsigned __cvta_generic_to_shared(const void *pointer) {
  return static_cast<unsigned>(static_cast<const char *>(pointer) - memory.begin);
}
