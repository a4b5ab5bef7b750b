// Packing of signs, 64 to a word.
#include "forms.h"

using namespace edgenet;

namespace {

// 64 numbers or fewer to a word; `odd` becomes true where one is NaN
template <class S> uint64_t plain_word(const S* x, int count, bool& odd) {
  uint64_t word = 0;
  for (int i = 0; i < count; i++) {
    const auto v = widen(x[i]);
    odd |= v != v;
    word |= (uint64_t)(v >= 0) << i;
  }
  return word;
}
template <class S> void pack_row(const S* x, uint64_t* out, int64_t k, bool& odd) {
  for (int64_t i = 0; i < k; i += 64) *out++ = plain_word(x + i, (int)std::min<int64_t>(64, k - i), odd);
}
#if EDGENET_X86
EDGENET_AVX2 void pack_row_avx2(const float* x, uint64_t* out, int64_t k, bool& odd) {
  __m256 strange = _mm256_setzero_ps();
  const __m256 zero = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 64 <= k; i += 64) {
    uint64_t word = 0;
    EDGENET_UNROLL
    for (int j = 0; j < 8; j++) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
      strange = _mm256_or_ps(strange, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
      word |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(v, zero, _CMP_GE_OQ)) << (8 * j);
    }
    *out++ = word;
  }
  odd |= _mm256_movemask_ps(strange) != 0;
  if (i < k) *out = plain_word(x + i, (int)(k - i), odd);
}
EDGENET_AVX512 void pack_row_avx512(const float* x, uint64_t* out, int64_t k, bool& odd) {
  __mmask16 strange = 0;
  const __m512 zero = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 64 <= k; i += 64) {
    uint64_t word = 0;
    EDGENET_UNROLL
    for (int j = 0; j < 4; j++) {
      const __m512 v = _mm512_loadu_ps(x + i + 16 * j);
      strange = _kor_mask16(strange, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q));
      word |= (uint64_t)_mm512_cmp_ps_mask(v, zero, _CMP_GE_OQ) << (16 * j);
    }
    *out++ = word;
  }
  odd |= strange != 0;
  if (i < k) *out = plain_word(x + i, (int)(k - i), odd);
}
#endif

template <class S> int pack(parallel_for pool, int form, const S* x, uint64_t* out, int64_t rows, int64_t k) {
  const int64_t words = (k + 63) / 64, step = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, k));
  int found = 0;
  for_pieces(pool, rows * k, rows, step, [&](int64_t first, int64_t end) {
    bool odd = false;
    for (int64_t i = first; i < end; i++) {
#if EDGENET_X86
      if constexpr (std::is_same<S, float>::value) {
        if (form == AVX512) {
          pack_row_avx512(x + i * k, out + i * words, k, odd);
          continue;
        }
        if (form == AVX2) {
          pack_row_avx2(x + i * k, out + i * words, k, odd);
          continue;
        }
      }
#endif
      pack_row(x + i * k, out + i * words, k, odd);
    }
    if (odd) __atomic_store_n(&found, 1, __ATOMIC_RELAXED);
  });
  return found;
}

void above_row(const int32_t* dots, const int32_t* least, const uint64_t* flip, uint64_t* out, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) {
    uint64_t word = 0;
    const int count = (int)std::min<int64_t>(64, n - i);
    for (int j = 0; j < count; j++) word |= (uint64_t)(dots[i + j] >= least[i + j]) << j;
    *out++ = word ^ *flip++;
  }
}
#if EDGENET_X86
EDGENET_AVX512 void above_row_avx512(const int32_t* dots, const int32_t* least, const uint64_t* flip, uint64_t* out,
                                     int64_t n) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    uint64_t word = 0;
    EDGENET_UNROLL
    for (int j = 0; j < 64; j += 16)
      word |= (uint64_t)_mm512_cmpge_epi32_mask(_mm512_loadu_si512(dots + i + j), _mm512_loadu_si512(least + i + j)) << j;
    *out++ = word ^ *flip++;
  }
  if (i < n) above_row(dots + i, least + i, flip, out, n - i);
}
#endif

}  // namespace

// out (rows, ceil(k / 64)): bit i of a row is x[i] >= 0; returns 1 if a number is NaN. `dtype` as of the other kernels.
extern "C" int edgenet_pack_signs(parallel_for pool, int form, int dtype, const void* x, uint64_t* out, int64_t rows,
                                  int64_t k) {
  return status_of([&]() -> int {
    if (dtype == 0) return pack(pool, chosen(form), (const float*)x, out, rows, k);
    if (dtype == 1) return pack(pool, chosen(form), (const double*)x, out, rows, k);
    if (dtype == 2) return pack(pool, chosen(form), (const edgenet::bfloat16*)x, out, rows, k);
    throw std::invalid_argument("dtype");
  });
}

// out (rows, ceil(n / 64)): bit i of a row is (dots[i] >= least[i]) ^ bit i of flip
extern "C" int edgenet_pack_above(parallel_for pool, int form, const int32_t* dots, const int32_t* least,
                                   const uint64_t* flip, uint64_t* out, int64_t rows, int64_t n) {
  const int64_t words = (n + 63) / 64, step = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n));
  const int kind = chosen(form);
  auto piece = [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
#if EDGENET_X86
      if (kind == AVX512) {
        above_row_avx512(dots + i * n, least, flip, out + i * words, n);
        continue;
      }
#endif
      above_row(dots + i * n, least, flip, out + i * words, n);
    }
  };
  return status_of([&] { for_pieces(pool, rows * n, rows, step, piece); });
}
