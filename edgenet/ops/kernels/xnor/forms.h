// What packed signs share: which form of a loop the processor runs, and loops over pieces.
//
// Three forms, chosen at run time, since no level of x86-64 that objects are built for has VPOPCNTDQ: AVX-512 with it, AVX2,
// and plain 64-bit words.
#pragma once
#include "../../native/intrinsics.h"
#include "../../native/rows.h"
#if EDGENET_X86
#define EDGENET_AVX2 __attribute__((target("avx2")))
#define EDGENET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq")))
#endif

namespace edgenet {

enum Form { PLAIN = 1, AVX2 = 2, AVX512 = 3 };

static inline Form best() {
#if EDGENET_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vpopcntdq"))
    return AVX512;
  if (__builtin_cpu_supports("avx2")) return AVX2;
#endif
  return PLAIN;
}
// the best form, or a lower one that is asked for; 0 asks for none
static inline int chosen(int form) { return form && form < best() ? form : best(); }

template <class F> struct Pieces {
  F* body;
  int64_t size, step;
  Outcome outcome{};
};
// body(first, end) over 0..size in pieces of `step`, on the threads of `pool` if there is enough work
template <class F> static void for_pieces(parallel_for pool, int64_t work, int64_t size, int64_t step, F body) {
  Pieces<F> pieces{&body, size, step};
  loop_body run = [](int64_t first, int64_t end, void* context) {
    auto* pieces = (Pieces<F>*)context;
    pieces->outcome.run([&] {
      for (int64_t q = first; q < end; q++)
        (*pieces->body)(q * pieces->step, std::min(pieces->size, (q + 1) * pieces->step));
    });
  };
  const int64_t count = (size + step - 1) / step;
  int started = 0;
  if (pool && work >= SERIAL_WORK) started = pool(0, count, 1, run, &pieces);
  else run(0, count, &pieces);
  pieces.outcome.check(started);
}

}  // namespace edgenet
