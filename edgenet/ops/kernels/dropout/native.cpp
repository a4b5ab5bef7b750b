// Dropout of numbers that stand side by side. Backward is the same function of the gradient: no mask is kept.
#include "../../native/lines.h"

using namespace edgenet;

namespace {

// count numbers, whose positions are low, low + 1, ... below 2^32
template <class S> void drop(const S* x, S* y, int64_t count, uint32_t low, const Dropout& dropout, Keys keys) {
  using A = acc_t<S>;
  constexpr int VL = widest<float>();
  vec<uint32_t, VL> position;
  for (int i = 0; i < VL; i++) position[i] = low + (uint32_t)i;
  int64_t t = 0;
  for (; t + VL <= count; t += VL, position += VL)
    store<A, VL>(y + t, load<A, VL>(x + t) * dropout.factors<A, VL>(position, keys));
  if (t == count) return;
  S rest[VL] = {};
  memcpy(rest, x + t, (count - t) * sizeof(S));
  store<A, VL>(rest, load<A, VL>(rest) * dropout.factors<A, VL>(position, keys));
  memcpy(y + t, rest, (count - t) * sizeof(S));
}

template <class S> void run(parallel_for pool, const S* x, S* y, int64_t n, const Dropout& dropout) {
  for_lines(pool, n, n, [&](int64_t low, int64_t high) {
    while (low < high) {
      const int64_t upper = low >> 32, end = std::min(high, (upper + 1) << 32);
      drop(x + low, y + low, end - low, (uint32_t)low, dropout, dropout.keys(upper));
      low = end;
    }
  });
}

}  // namespace

// y = x * factors, n numbers each; y may be x. dtype: 0 float32, 1 float64, 2 bfloat16
extern "C" int edgenet_dropout(parallel_for pool, int dtype, const void* x, void* y, int64_t n, double p,
                                uint64_t seed) {
  const Dropout dropout(p, seed);
  return status_of([&] {
    if (dtype == 0) run(pool, (const float*)x, (float*)y, n, dropout);
    else if (dtype == 1) run(pool, (const double*)x, (double*)y, n, dropout);
    else if (dtype == 2) run(pool, (const bfloat16*)x, (bfloat16*)y, n, dropout);
    else throw std::invalid_argument("dtype");
  });
}
