// What kernels of dense rows share: a parallel loop over them, and signals with zeros behind each row.
#pragma once
#include "rows.h"

namespace edgenet {

template <class F> struct Lines {
  F* body;
  int64_t rows;
};

// body(first row, end row) for all rows, in at most CHUNKS pieces, on the threads of `pool` if there is enough work
template <class F> static void for_lines(parallel_for pool, int64_t work, int64_t rows, F body) {
  Lines<F> lines{&body, rows};
  loop_body run = [](int64_t first, int64_t end, void* context) {
    auto* lines = (Lines<F>*)context;
    const int64_t low = lines->rows * first / CHUNKS, high = lines->rows * end / CHUNKS;
    if (low < high) (*lines->body)(low, high);
  };
  if (pool && work >= SERIAL_WORK) pool(0, CHUNKS, 1, run, &lines);
  else body(0, rows);
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
