// unified_linear: bits and a block's magnitude become numbers in registers, and are multiplied there.
#include "../../native/intrinsics.h"
#include "../../native/lines.h"

using namespace edgenet;

namespace {

constexpr int LANES = widest<float>();
using floats = vec<float, LANES>;
using ints = vec<int32_t, LANES>;

// |size| LANES times, with minus where a bit of the low LANES is not set
static inline floats signed_size(float size, uint64_t bits) {
#if defined(__AVX512F__)
  const __m512i sign = _mm512_set1_epi32(INT32_MIN);
  const __m512i number = _mm512_andnot_epi32(sign, _mm512_castps_si512(_mm512_set1_ps(size)));
  return (floats)_mm512_mask_or_epi32(number, (__mmask16)~bits, number, sign);
#else
  const float minus = -std::fabs(size);
  ints place;
  EDGENET_UNROLL
  for (int i = 0; i < LANES; i++) place[i] = 31 - i;
  return (floats)((ints)(floats{} + minus) ^ (((ints{} + (int32_t)bits) << place) & INT32_MIN));
#endif
}

struct Job {
  const float* magnitude;  // (rows, blocks)
  const uint8_t* sign;     // (rows, blocks, width) bits
  int64_t width;           // columns of a block: a multiple of 16
  const float* x;          // (batch, padded)
  int64_t padded;          // blocks * width
  float* out;              // (batch, rows)
  int64_t batch, rows;
};

template <class Word> static inline uint64_t word_at(const uint8_t* p) {
  Word word;
  memcpy(&word, p, sizeof word);
  return word;
}

// NARROW: blocks of 16 columns, whose number needs no looking
template <int R, bool NARROW> void row_sums(const Job& job, int64_t row, const float* x, float* sum) {
  constexpr int WORDS = R == 1 ? 2 : 1, COLUMNS = 64 * WORDS, APART = R == 1 ? 8 : 2;  // a sum waits for the one before
  const uint8_t* sign = job.sign + row * (job.padded / 8);
  const float* magnitude = job.magnitude + row * (job.padded / job.width);
  floats part[R][APART] = {};
  int64_t block = 0, end = job.width, at = 0;
  auto size_at = [&](int64_t column) {
    if (column >= end) block++, end += job.width;
    return magnitude[block];
  };
  for (; at + COLUMNS <= job.padded; at += COLUMNS) {
    EDGENET_UNROLL
    for (int u = 0; u < COLUMNS / LANES; u++) {
      const int place = u * LANES;
      const uint64_t bits = word_at<uint64_t>(sign + at / 8 + place / 64 * 8);
      const float size = NARROW ? magnitude[at / 16 + place / 16] : size_at(at + place);
      const floats number = signed_size(size, bits >> (place % 64));
      EDGENET_UNROLL
      for (int r = 0; r < R; r++) part[r][u % APART] += number * load<float, LANES>(x + r * job.padded + at + place);
    }
  }
  for (; at < job.padded; at += 16) {
    const uint64_t bits = word_at<uint16_t>(sign + at / 8);
    const float size = NARROW ? magnitude[at / 16] : size_at(at);
    for (int u = 0; u < 16; u += LANES) {
      const floats number = signed_size(size, bits >> u);
      EDGENET_UNROLL
      for (int r = 0; r < R; r++) part[r][0] += number * load<float, LANES>(x + r * job.padded + at + u);
    }
  }
  EDGENET_UNROLL
  for (int r = 0; r < R; r++) {
    floats all = part[r][0];
    EDGENET_UNROLL
    for (int u = 1; u < APART; u++) all += part[r][u];
    sum[r] = total<float, LANES>(all);
  }
}

template <bool NARROW> void run(parallel_for pool, const Job& job) {
  for_groups(pool, job.rows, job.batch, job.padded, [&](int64_t row, int64_t b, auto number) {
    constexpr int R = decltype(number)::value;
    float sum[R];
    row_sums<R, NARROW>(job, row, job.x + b * job.padded, sum);
    for (int r = 0; r < R; r++) job.out[(b + r) * job.rows + row] = sum[r];
  });
}

}  // namespace

// Blocks of (1, width) columns, a multiple of 16; the last of a row may reach over its end. magnitude (rows, blocks),
// sign (rows, blocks, width) bits, the lowest first, 1 for plus; x (batch, columns), out (batch, rows).
extern "C" int edgenet_unified_linear(parallel_for pool, const float* magnitude, const uint8_t* sign, int64_t width,
                                       const float* x, int64_t batch, int64_t rows, int64_t columns, float* out) {
  return status_of([&] {
    const Padded signals(x, batch, columns, width);
    const Job job{magnitude, sign, width, signals.x, signals.padded, out, batch, rows};
    if (width == 16) run<true>(pool, job);
    else run<false>(pool, job);
  });
}
