// Codes of BITS bits, one after the other, the lowest bit first, as vectors of what they stand for: with AVX-512, AVX2,
// or neither. Each form has
//   LANES    numbers of a vector, whose codes are LANES * BITS / 8 bytes;
//   Layout   where in 16 bytes the codes lie that begin at bit 0 to 7 of the first;
//   codes    those of 16 bytes, with others' bits above theirs;
//   Table    level * scale for every code, what a decoded matrix holds, to the last bit: up to 6 bits, of 64 levels,
//            which repeat if fewer are codes, so that bits above a code choose nothing.
#pragma once
#include "../../native/intrinsics.h"
#include "../../native/rows.h"

namespace edgenet {

#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
using floats = vec<float, LANES>;
using ints = vec<int32_t, LANES>;

// byte 4i and 4i + 1 of `take` are those in which code i begins and may end, counted from the first byte; its bits are
// `shift` places up. 128 makes a shuffle write zero.
template <int BITS> struct Layout {
  alignas(64) uint8_t take[8][4 * LANES];
  alignas(64) int32_t shift[8][LANES];
  Layout() {
    for (int offset = 0; offset < 8; offset++)
      for (int i = 0; i < LANES; i++) {
        const int place = offset + i * BITS;
        take[offset][4 * i] = place >> 3;
        take[offset][4 * i + 1] = (place & 7) + BITS > 8 ? (place >> 3) + 1 : 128;
        take[offset][4 * i + 2] = take[offset][4 * i + 3] = 128;
        shift[offset][i] = place & 7;
      }
  }
};

#if defined(__AVX512F__) && defined(__AVX512BW__)

template <int BITS> static inline ints codes(const uint8_t* p, const Layout<BITS>& layout, int offset) {
  const __m128i bytes = _mm_loadu_si128((const __m128i*)p);
  if constexpr (BITS == 8) {
    return (ints)_mm512_cvtepu8_epi32(bytes);
  } else {
    const __m512i pairs = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), _mm512_load_si512(layout.take[offset]));
    return (ints)_mm512_srlv_epi32(pairs, _mm512_load_si512(layout.shift[offset]));
  }
}
template <int BITS> struct Table {
  __m512 part[BITS <= 4 ? 1 : 1 << (BITS - 4)];
  Table(const float* level, float scale) {
    for (int i = 0; i < (BITS <= 4 ? 1 : 1 << (BITS - 4)); i++)
      part[i] = _mm512_mul_ps(_mm512_loadu_ps(level + 16 * i), _mm512_set1_ps(scale));
  }
  floats operator()(ints code) const {
    const __m512i index = (__m512i)code;
    if constexpr (BITS <= 4) {
      return (floats)_mm512_permutexvar_ps(index, part[0]);
    } else if constexpr (BITS == 5) {
      return (floats)_mm512_permutex2var_ps(part[0], index, part[1]);
    } else {
      const __mmask16 upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
      const __m512 low = _mm512_permutex2var_ps(part[0], index, part[1]);
      return (floats)_mm512_mask_blend_ps(upper, low, _mm512_permutex2var_ps(part[2], index, part[3]));
    }
  }
};

#elif defined(__AVX2__)

template <int BITS> static inline ints codes(const uint8_t* p, const Layout<BITS>& layout, int offset) {
  if constexpr (BITS == 8) {
    return (ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
  } else {
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)p));
    const __m256i pairs = _mm256_shuffle_epi8(bytes, _mm256_load_si256((const __m256i*)layout.take[offset]));
    return (ints)_mm256_srlv_epi32(pairs, _mm256_load_si256((const __m256i*)layout.shift[offset]));
  }
}
template <int BITS> struct Table {
  static constexpr int PARTS = BITS <= 3 ? 1 : 1 << (BITS - 3);
  __m256 part[PARTS];
  Table(const float* level, float scale) {
    for (int i = 0; i < PARTS; i++) part[i] = _mm256_mul_ps(_mm256_loadu_ps(level + 8 * i), _mm256_set1_ps(scale));
  }
  // the levels from `first` on of which bits below BIT choose; bit BIT, moved to the sign, chooses between two such
  template <int BIT> __m256 chosen(__m256i index, int first) const {
    if constexpr (BIT <= 3) {
      return _mm256_permutevar8x32_ps(part[first], index);
    } else {
      const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 32 - BIT));
      return _mm256_blendv_ps(chosen<BIT - 1>(index, first), chosen<BIT - 1>(index, first + (1 << (BIT - 4))), upper);
    }
  }
  floats operator()(ints code) const { return (floats)chosen<BITS>((__m256i)code, 0); }
};

#else

template <int BITS> static inline ints codes(const uint8_t* p, const Layout<BITS>& layout, int offset) {
  ints found;
  for (int i = 0; i < LANES; i++) {
    const uint8_t* take = layout.take[offset] + 4 * i;
    found[i] = (p[take[0]] | (take[1] == 128 ? 0 : p[take[1]] << 8)) >> layout.shift[offset][i];
  }
  return found;
}
template <int BITS> struct Table {
  float level[1 << BITS];
  Table(const float* given, float scale) {
    for (int i = 0; i < (1 << BITS); i++) level[i] = given[i] * scale;
  }
  floats operator()(ints code) const {
    floats found;
    for (int i = 0; i < LANES; i++) found[i] = level[code[i] & ((1 << BITS) - 1)];
    return found;
  }
};

#endif

}  // namespace edgenet
