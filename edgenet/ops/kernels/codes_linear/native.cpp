// codes_linear: codes become numbers in registers, and are multiplied there.
#include "../../native/lines.h"
#include "unpack.h"

using namespace edgenet;

namespace {

struct Job {
  const uint8_t* codes;  // (rows * columns) codes, bit after bit
  int64_t bytes;
  const float* level;  // of a table: 64. Of steps: the code of zero, and the step
  const float* scale;  // one, or one a row
  bool by_row;
  int64_t columns;
  const float* x;  // (batch, padded)
  int64_t padded;
  bool words;  // whether x is arranged for `add_words`
  float* out;  // (batch, rows)
  int64_t rows, batch;
};

// The numbers of equal steps: (code - zero) * step. Codes of more than 6 bits have no others.
template <int BITS> struct Steps {
  float zero, step;
  Steps(const float* level, float scale) : zero(level[0]), step(level[1] * scale) {}
  floats operator()(ints code) const {
    if constexpr (BITS < 8) code &= (1 << BITS) - 1;
    return (__builtin_convertvector(code, floats) - zero) * step;
  }
};

// Of 4 bits, in rows that begin at whole bytes, words of 8 codes are taken apart by shifts alone: code 8i + j of a block
// is in word i. Its signals stand at j * LANES + i.
constexpr int BLOCK = 8 * LANES;

// Sums of R signals, of each several that are added up apart: a sum waits four cycles for the one before.
template <int R> struct Sums {
  static constexpr int APART = R == 1 ? 8 : R == 2 ? 4 : 2;
  floats part[R][APART] = {};
  void add(int u, floats w, const float* x, int64_t padded) {
    EDGENET_UNROLL
    for (int r = 0; r < R; r++) part[r][u % APART] += w * load<float, LANES>(x + r * padded);
  }
  void into(floats* all) const {
    EDGENET_UNROLL
    for (int r = 0; r < R; r++) {
      EDGENET_UNROLL
      for (int u = 0; u < APART; u++) all[r] += part[r][u];
    }
  }
};

template <int R>
int64_t add_words(const Job& job, const Table<4>& value, int64_t row, const float* x, floats* all) {
  const uint8_t* p = job.codes + row * (job.columns / 2);
  const int64_t blocks = job.columns / BLOCK;
  Sums<R> sums;
  for (int64_t k = 0; k < blocks; k++) {
    ints words;
    memcpy(&words, p + k * 4 * LANES, sizeof words);
    EDGENET_UNROLL
    for (int j = 0; j < 8; j++) sums.add(j, value(words >> (4 * j)), x + k * BLOCK + j * LANES, job.padded);
  }
  sums.into(all);
  return blocks * 8;
}

void arrange_words(float* x, int64_t columns) {
  float block[BLOCK];
  for (int64_t at = 0; at + BLOCK <= columns; at += BLOCK) {
    memcpy(block, x + at, sizeof block);
    for (int i = 0; i < LANES; i++)
      for (int j = 0; j < 8; j++) x[at + j * LANES + i] = block[8 * i + j];
  }
}

// sums of R signals over one row
template <int BITS, int R, class Value>
void row_sums(const Job& job, const Layout<BITS>& layout, const Value& value, int64_t row, const float* x, float* sum) {
  constexpr int STEP = LANES * BITS / 8, UNROLL = Sums<R>::APART;
  const int64_t bit = row * job.columns * BITS, left = job.bytes - (bit >> 3);
  const uint8_t* p = job.codes + (bit >> 3);
  const int offset = bit & 7;
  const int64_t whole = job.columns / LANES, readable = left < 16 ? 0 : (left - 16) / STEP + 1;
  floats all[R] = {};
  int64_t k = 0;
  if constexpr (BITS == 4)
    if (job.words) k = add_words<R>(job, value, row, x, all);
  Sums<R> sums;
  for (; k + UNROLL <= std::min(whole, readable); k += UNROLL) {
    EDGENET_UNROLL
    for (int u = 0; u < UNROLL; u++)
      sums.add(u, value(codes<BITS>(p + (k + u) * STEP, layout, offset)), x + (k + u) * LANES, job.padded);
  }
  sums.into(all);
  for (; k * LANES < job.columns; k++) {  // the last ones, of bytes that may end, and of columns that may
    uint8_t few[16] = {};
    memcpy(few, p + k * STEP, std::min<int64_t>(16, left - k * STEP));
    floats w = value(codes<BITS>(few, layout, offset));
    for (int64_t i = job.columns - k * LANES; i < LANES; i++) w[i] = 0;
    EDGENET_UNROLL
    for (int r = 0; r < R; r++) all[r] += w * load<float, LANES>(x + r * job.padded + k * LANES);
  }
  EDGENET_UNROLL
  for (int r = 0; r < R; r++) sum[r] = total<float, LANES>(all[r]);
}

template <int BITS, class Value> void run(parallel_for pool, Job job) {
  const Layout<BITS> layout;
  Padded signals(job.x, job.batch, job.columns, LANES);
  job.x = signals.x, job.padded = signals.padded, job.words = BITS == 4 && job.columns % 2 == 0;
  for (int64_t b = 0; job.words && b < job.batch; b++) arrange_words(signals.x + b * job.padded, job.columns);
  for_groups(pool, job.rows, job.batch, job.padded, [&](int64_t row, int64_t b, auto number) {
    constexpr int R = decltype(number)::value;
    const Value value(job.level, job.scale[job.by_row ? row : 0]);
    float sum[R];
    row_sums<BITS, R>(job, layout, value, row, job.x + b * job.padded, sum);
    for (int r = 0; r < R; r++) job.out[(b + r) * job.rows + row] = sum[r];
  });
}

}  // namespace

// codes: (rows * columns) of `bits`, one after the other; steps: level is the code of zero and the step, else 64
// levels, of codes of up to 6 bits. scale: one, or one a row. x (batch, columns), out (batch, rows).
extern "C" int edgenet_codes_linear(parallel_for pool, const uint8_t* codes, int64_t bytes, int bits, int steps,
                                     const float* level, const float* scale, int by_row, const float* x, int64_t batch,
                                     int64_t rows, int64_t columns, float* out) {
  const Job job{codes, bytes, level, scale, by_row != 0, columns, x, 0, false, out, rows, batch};
  return status_of([&] {
    if (steps && bits == 6) run<6, Steps<6>>(pool, job);
    else if (steps && bits == 7) run<7, Steps<7>>(pool, job);
    else if (steps && bits == 8) run<8, Steps<8>>(pool, job);
    else if (!steps && bits == 1) run<1, Table<1>>(pool, job);
    else if (!steps && bits == 2) run<2, Table<2>>(pool, job);
    else if (!steps && bits == 3) run<3, Table<3>>(pool, job);
    else if (!steps && bits == 4) run<4, Table<4>>(pool, job);
    else if (!steps && bits == 5) run<5, Table<5>>(pool, job);
    else if (!steps && bits == 6) run<6, Table<6>>(pool, job);
    else throw std::invalid_argument("bits");
  });
}
