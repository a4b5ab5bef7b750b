// What all kernels share: storage types, vectors, a parallel loop over rows, exp, the dropout hash.
// Plain C++17 with GCC/Clang vector extensions; no torch headers, no Python.h, no OpenMP.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "status.h"
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if !defined(__GNUC__)
#error "edgenet's kernels need GCC or Clang (vector extensions); the library runs without them on its portable path"
#endif
#define EDGENET_UNROLL _Pragma("GCC unroll 64")

namespace edgenet {

// ---------------------------------------------------------------- storage and accumulation
struct bfloat16 { uint16_t bits; };
template <class S> struct Accumulator { using type = S; };
template <> struct Accumulator<bfloat16> { using type = float; };
template <class S> using acc_t = typename Accumulator<S>::type;

template <class A> using acc_int = std::conditional_t<sizeof(A) == 8, int64_t, int32_t>;

template <class A, int VL> struct Vector { typedef A type __attribute__((vector_size(VL * sizeof(A)))); };
template <class A, int VL> using vec = typename Vector<A, VL>::type;

static inline float widen(bfloat16 v) {
  uint32_t bits = (uint32_t)v.bits << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
static inline float widen(float v) { return v; }
static inline double widen(double v) { return v; }
static inline void narrow(float v, float* p) { *p = v; }
static inline void narrow(double v, double* p) { *p = v; }
static inline void narrow(float v, bfloat16* p) {  // to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &v, 4);
  p->bits = v != v ? 0x7fc0 : (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <class A, int VL> static inline vec<A, VL> load(const A* p) {
  vec<A, VL> v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class A, int VL> static inline vec<A, VL> load(const bfloat16* p) {
  vec<uint16_t, VL> half;
  memcpy(&half, p, sizeof half);
  vec<uint32_t, VL> bits = __builtin_convertvector(half, vec<uint32_t, VL>) << 16;
  vec<A, VL> v;
  memcpy(&v, &bits, sizeof v);
  return v;
}
template <class A, int VL> static inline void store(A* p, vec<A, VL> v) { memcpy(p, &v, sizeof v); }
template <class A, int VL> static inline void store(bfloat16* p, vec<A, VL> v) {
  for (int i = 0; i < VL; i++) narrow(v[i], p + i);
}

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
template <class A> constexpr int widest() { return VECTOR_BYTES / (int)sizeof(A); }

// the sum of a vector's entries
template <class A, int VL> static inline A total(vec<A, VL> v) {
  if constexpr (VL == 2) {
    return v[0] + v[1];
  } else {
    vec<A, VL / 2> low, high;
    memcpy(&low, &v, sizeof low);
    memcpy(&high, (const char*)&v + sizeof low, sizeof high);
    return total<A, VL / 2>(low + high);
  }
}
template <class A, int VL> static inline vec<A, 4> folded(vec<A, VL> v) {
  if constexpr (VL == 4) {
    return v;
  } else {
    vec<A, VL / 2> low, high;
    memcpy(&low, &v, sizeof low);
    memcpy(&high, (const char*)&v + sizeof low, sizeof high);
    return folded<A, VL / 2>(low + high);
  }
}
// the sums of N vectors: four at a time by transposing
template <class A, int VL, int N> static inline void totals(const vec<A, VL>* v, A* out) {
  int n = 0;
  if constexpr (N >= 4 && VL >= 4) {
    EDGENET_UNROLL
    for (; n + 4 <= N; n += 4) {
      vec<A, 4> a = folded<A, VL>(v[n]), b = folded<A, VL>(v[n + 1]);
      vec<A, 4> c = folded<A, VL>(v[n + 2]), d = folded<A, VL>(v[n + 3]);
      vec<A, 4> ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
      vec<A, 4> cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
      vec<A, 4> sums =
          __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
      store<A, 4>(out + n, sums);
    }
  }
  for (; n < N; n++) out[n] = total<A, VL>(v[n]);
}

// exp to about one unit in the last place; 0 below -87, NaN stays
template <int VL> static inline vec<float, VL> exp_vector(vec<float, VL> x) {
  using V = vec<float, VL>;
  using I = vec<int32_t, VL>;
  I under = x < -87.0f;
  V zero = {};
  x = x < -87.0f ? zero - 87.0f : x;
  x = x > 88.0f ? zero + 88.0f : x;
  const V magic = zero + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  V n = (x * 1.44269504f + magic) - magic;
  V r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = zero + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  I bits = (__builtin_convertvector(n, I) + 127) << 23;
  V scale;
  memcpy(&scale, &bits, sizeof scale);
  return under ? zero : p * scale;
}
// p[i] = exp(p[i]); the buffer has a vector's room behind its n numbers
static inline void exp_all(float* p, int64_t n) {
  constexpr int VL = widest<float>();
  for (int64_t i = 0; i < n; i += VL) store<float, VL>(p + i, exp_vector<VL>(load<float, VL>(p + i)));
}
static inline void exp_all(double* p, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = std::exp(p[i]);
}
template <class A, int VL> static inline vec<A, VL> exp_of(vec<A, VL> x) {
  if constexpr (std::is_same<A, float>::value) {
    return exp_vector<VL>(x);
  } else {
    for (int i = 0; i < VL; i++) x[i] = std::exp(x[i]);
    return x;
  }
}

// log to about one unit in the last place, of normal positive numbers; NaN stays
template <int VL> static inline vec<float, VL> log_vector(vec<float, VL> x) {
  using V = vec<float, VL>;
  using I = vec<int32_t, VL>;
  I bits;
  memcpy(&bits, &x, sizeof bits);
  const I exponent = (bits - 0x3f3504f3) >> 23;  // x = m * 2^exponent with m in [sqrt(1/2), sqrt(2))
  bits -= exponent << 23;
  V m;
  memcpy(&m, &bits, sizeof m);
  const V e = __builtin_convertvector(exponent, V), r = m - 1.0f, square = r * r;
  V p = V{} + 7.0376836292e-2f;
  p = p * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  const V result = r + (p * r * square - e * 2.12194440e-4f - square * 0.5f) + e * 0.693359375f;
  return x == x ? result : x;
}
template <class A, int VL> static inline vec<A, VL> log_of(vec<A, VL> x) {
  if constexpr (std::is_same<A, float>::value) {
    return log_vector<VL>(x);
  } else {
    for (int i = 0; i < VL; i++) x[i] = std::log(x[i]);
    return x;
  }
}

// ---------------------------------------------------------------- dropout
// Which numbers are kept: by a hash of position and seed, the same in forward and backward and on every backend;
// edgenet/ops/mask.py defines it.
static inline uint64_t mixed64(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}
struct Keys { uint32_t first, second; };
// of the low halves of positions; U: uint32_t or a vector of them
template <class U> static inline U hashed(U x, Keys keys) {
  x ^= keys.first;
  x = (x ^ x >> 17) * 0xed5ad4bbU;
  x = (x ^ x >> 11 ^ keys.second) * 0xac4c1b51U;
  x = (x ^ x >> 15) * 0x31848babU;
  return x ^ x >> 14;
}
struct Dropout {
  uint64_t seed;
  uint32_t threshold;
  double keep;  // what a kept number is scaled by: 1 / (1 - p); 0 if p = 1
  bool off;
  Dropout(double p, uint64_t seed)
      : seed(mixed64(seed)), threshold((uint32_t)std::min(p * 4294967296.0, 4294967295.0)),
        keep(p >= 1 ? 0.0 : 1.0 / (1.0 - p)), off(p <= 0) {}
  // for positions whose upper half is `high`
  Keys keys(uint64_t high) const {
    const uint64_t mixed = mixed64(seed + (high + 1) * 0x9e3779b97f4a7c15);
    return {(uint32_t)mixed, (uint32_t)(mixed >> 32)};
  }
  // what numbers are multiplied by
  template <class A, int VL> vec<A, VL> factors(vec<uint32_t, VL> position, Keys keys) const {
    const vec<uint32_t, VL> hash = hashed(position, keys);
    if constexpr (sizeof(A) == 4) {
      return hash >= threshold ? vec<A, VL>{} + (A)keep : vec<A, VL>{};
    } else {
      const vec<int32_t, VL> kept = (hash >= threshold) & 1;
      return __builtin_convertvector(kept, vec<A, VL>) * (A)keep;
    }
  }
  template <class A> A factor(uint64_t position) const {
    return hashed((uint32_t)position, keys(position >> 32)) >= threshold ? (A)keep : A(0);
  }
};

// ---------------------------------------------------------------- parallel loops
typedef void (*loop_body)(int64_t, int64_t, void*);
typedef int (*parallel_for)(int64_t, int64_t, int64_t, loop_body, void*);

constexpr int64_t CHUNKS = 64;           // fixed, so that what is summed over chunks has the same bits on any threads
constexpr int64_t SERIAL_WORK = 1 << 16; // multiply-adds below which threads cost more than they give

// the row at which chunk q of `chunks` begins, so that each has as many edges and rows together
template <class I> static inline int64_t boundary(const I* ptr, int64_t rows, int64_t q, int64_t chunks) {
  int64_t goal = ((int64_t)ptr[rows] + rows) / chunks * q + ((int64_t)ptr[rows] + rows) % chunks * q / chunks;
  int64_t low = 0, high = rows;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if ((int64_t)ptr[middle] + middle < goal) low = middle + 1;
    else high = middle;
  }
  return q == chunks ? rows : low;
}

template <class I, class F> struct Loop {
  F* body;
  const I* ptr;
  int64_t rows;
  Outcome outcome{};
};

// body(chunk, first row, end row) for all rows, in CHUNKS chunks, on the threads of `pool` if there is enough work
template <class I, class F>
static void for_rows(parallel_for pool, int64_t work, const I* ptr, int64_t rows, F body) {
  Loop<I, F> loop{&body, ptr, rows};
  loop_body run = [](int64_t first, int64_t end, void* context) {
    auto* loop = (Loop<I, F>*)context;
    loop->outcome.run([&] {
      for (int64_t q = first; q < end; q++) {
        int64_t low = boundary(loop->ptr, loop->rows, q, CHUNKS), high = boundary(loop->ptr, loop->rows, q + 1, CHUNKS);
        if (low < high) (*loop->body)(q, low, high);
      }
    });
  };
  int started = 0;
  if (work < SERIAL_WORK) body(0, 0, rows);
  else if (pool) started = pool(0, CHUNKS, 1, run, &loop);
  else run(0, CHUNKS, &loop);
  loop.outcome.check(started);
}

// ---------------------------------------------------------------- memory
// n numbers that are not filled, with a vector's room behind the end. Large ones are mapped on huge pages where the system
// has them: rows gathered at random from tens of megabytes would miss the page table's cache at every step, and 4 KiB
// pages cost more to hand out than to read.
template <class A> struct Scratch {
  A* numbers = nullptr;
  size_t mapped = 0;
  explicit Scratch(int64_t n) {
    if (n < 0) return;
    size_t bytes = (size_t)(n + 64) * sizeof(A);
#if defined(__linux__)
    constexpr size_t PAGE = 2 << 20;
    if (bytes >= 2 * PAGE) {
      bytes = (bytes + PAGE - 1) / PAGE * PAGE;
      void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory != MAP_FAILED) {
        madvise(memory, bytes, MADV_HUGEPAGE);
        numbers = (A*)memory, mapped = bytes;
        return;
      }
    }
#endif
    numbers = (A*)std::malloc(bytes);
    if (!numbers) throw std::bad_alloc();
  }
  ~Scratch() {
#if defined(__linux__)
    if (mapped) {
      munmap(numbers, mapped);
      return;
    }
#endif
    std::free(numbers);
  }
  Scratch(const Scratch&) = delete;
  A* get() const { return numbers; }
};

// one of the two sort orders of a graph: the edges of row i are ptr[i] .. ptr[i + 1]
template <class I> struct Order {
  const I* ptr;
  const I* other;  // the node at the other end of each edge
  const I* edge;   // its column in edge_index; null where that is its position
  int64_t rows;
  int64_t id(int64_t k) const { return edge ? (int64_t)edge[k] : k; }
};

// CACHE: 3 the first, 2 the second
template <int CACHE> static inline void prefetch(const void* p, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char*)p + i, 0, CACHE);
}
template <int CACHE, int BYTES> static inline void prefetch(const void* p) {
  EDGENET_UNROLL
  for (int i = 0; i < BYTES; i += 64) __builtin_prefetch((const char*)p + i, 0, CACHE);
}

}  // namespace edgenet

// the status of RUN(S, I) for the storage type `dtype` (0 float32, 1 float64, 2 bfloat16) and int64 (`wide`) or int32 indices
#define EDGENET_DISPATCH(RUN)                                     \
  edgenet::status_of([&] {                                        \
    if (dtype == 0 && wide) RUN(float, int64_t);                  \
    else if (dtype == 0) RUN(float, int32_t);                     \
    else if (dtype == 1 && wide) RUN(double, int64_t);            \
    else if (dtype == 1) RUN(double, int32_t);                    \
    else if (dtype == 2 && wide) RUN(edgenet::bfloat16, int64_t); \
    else if (dtype == 2) RUN(edgenet::bfloat16, int32_t);         \
    else throw std::invalid_argument("dtype");                    \
  })
