// What kernels of dense rows share: a parallel loop over them, and signals with zeros behind each row.
#pragma once
#include "rows.h"

namespace edgenet {

template <class F> struct Lines {
  F* body;
  int64_t rows;
  Outcome outcome{};
};

// body(first row, end row) for all rows, in at most CHUNKS pieces, on the threads of `pool` if there is enough work
template <class F> static void for_lines(parallel_for pool, int64_t work, int64_t rows, F body) {
  Lines<F> lines{&body, rows};
  loop_body run = [](int64_t first, int64_t end, void* context) {
    auto* lines = (Lines<F>*)context;
    const int64_t low = lines->rows * first / CHUNKS, high = lines->rows * end / CHUNKS;
    if (low < high) lines->outcome.run([&] { (*lines->body)(low, high); });
  };
  if (!pool || work < SERIAL_WORK) return body(0, rows);
  const int started = pool(0, CHUNKS, 1, run, &lines);
  lines.outcome.check(started);
}

constexpr int64_t TILE = 64;                // rows of a matrix that stay in the second cache while signals come by
constexpr int64_t FIRST_CACHE = 32 << 10;  // bytes

// body(row, first signal, number of signals, a constant from 1 to 4) for all rows and signals: as many at once as stay in
// the first cache while rows come by, 2 at least
template <class F> static void for_groups(parallel_for pool, int64_t rows, int64_t batch, int64_t padded, F body) {
  const int64_t most = 4 * padded * (int64_t)sizeof(float) <= FIRST_CACHE ? 4 : 2;
  for_lines(pool, rows * padded * batch, rows, [&](int64_t low, int64_t high) {
    for (int64_t first = low; first < high; first += TILE)
      for (int64_t b = 0; b < batch; b += most) {
        const int64_t end = std::min(high, first + TILE), count = std::min(most, batch - b);
        auto each = [&](auto number) {
          for (int64_t row = first; row < end; row++) body(row, b, number);
        };
        if (count == 4) each(std::integral_constant<int, 4>());
        else if (count == 3) each(std::integral_constant<int, 3>());
        else if (count == 2) each(std::integral_constant<int, 2>());
        else each(std::integral_constant<int, 1>());
      }
  });
}

// (batch, n) as (batch, padded), zeros behind each row. It begins where a cache line does: reads across two cost twice.
struct Padded {
  int64_t padded;
  Scratch<float> memory;
  float* x;
  Padded(const float* given, int64_t batch, int64_t n, int64_t multiple)
      : padded((n + multiple - 1) / multiple * multiple), memory(batch * padded),
        x((float*)(((uintptr_t)memory.get() + 63) & ~(uintptr_t)63)) {
    for (int64_t b = 0; b < batch; b++) {
      memcpy(x + b * padded, given + b * n, n * sizeof(float));
      std::fill(x + b * padded + n, x + (b + 1) * padded, 0.0f);
    }
  }
};

}  // namespace edgenet
