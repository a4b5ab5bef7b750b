// Products of packed signs.
#include "forms.h"

using namespace edgenet;

namespace {

// rows of `words` words each; out[m, n] = k - 2 popcount(a[m] ^ w[n])
struct Product {
  const uint64_t *a, *w;
  int32_t* out;
  int64_t m, n, words;
  int32_t k;
};
// R rows of a by C rows of w, of which the first are m and n
typedef void (*Tile)(const Product& p, int64_t m, int64_t n);
// the tiles of a form: the one at r - 1 has r rows of a
struct Tiles {
  int64_t rows, columns;
  Tile whole[4], one[4];  // `columns` rows of w, and a single one
};

// ---------------------------------------------------------------- plain words
template <int R, int C> void plain_tile(const Product& p, int64_t m, int64_t n) {
  const uint64_t *a = p.a + m * p.words, *w = p.w + n * p.words;
  int64_t sum[R][C] = {};
  for (int64_t i = 0; i < p.words; i++)
    EDGENET_UNROLL
    for (int r = 0; r < R; r++)
      EDGENET_UNROLL
      for (int c = 0; c < C; c++) sum[r][c] += __builtin_popcountll(a[r * p.words + i] ^ w[c * p.words + i]);
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) p.out[(m + r) * p.n + n + c] = p.k - 2 * (int32_t)sum[r][c];
}
const Tiles PLAIN_TILES = {2, 2, {plain_tile<1, 2>, plain_tile<2, 2>}, {plain_tile<1, 1>, plain_tile<2, 1>}};

#if EDGENET_X86
// ---------------------------------------------------------------- AVX2
// Bits are counted by a table of nibbles; bytes hold the counts of 31 steps at most, 8 each
template <int R, int C> EDGENET_AVX2 void avx2_tile(const Product& p, int64_t m, int64_t n) {
  constexpr int64_t STEPS = 31;
  const uint64_t *a = p.a + m * p.words, *w = p.w + n * p.words;
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2,
                                         3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  const int64_t whole = p.words & ~(int64_t)3;
  int64_t sum[R][C] = {};
  for (int64_t first = 0; first < whole; first += 4 * STEPS) {
    const int64_t last = std::min(whole, first + 4 * STEPS);
    __m256i bytes[R][C];
    EDGENET_UNROLL
    for (int r = 0; r < R; r++)
      EDGENET_UNROLL
      for (int c = 0; c < C; c++) bytes[r][c] = _mm256_setzero_si256();
    for (int64_t i = first; i < last; i += 4)
      EDGENET_UNROLL
      for (int r = 0; r < R; r++) {
        const __m256i x = _mm256_loadu_si256((const __m256i*)(a + r * p.words + i));
        EDGENET_UNROLL
        for (int c = 0; c < C; c++) {
          const __m256i v = _mm256_xor_si256(x, _mm256_loadu_si256((const __m256i*)(w + c * p.words + i)));
          const __m256i counts = _mm256_add_epi8(
              _mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
              _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
          bytes[r][c] = _mm256_add_epi8(bytes[r][c], counts);
        }
      }
    EDGENET_UNROLL
    for (int r = 0; r < R; r++)
      EDGENET_UNROLL
      for (int c = 0; c < C; c++) {
        const __m256i four = _mm256_sad_epu8(bytes[r][c], _mm256_setzero_si256());
        const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
        sum[r][c] += _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
      }
  }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) {
      for (int64_t i = whole; i < p.words; i++)
        sum[r][c] += __builtin_popcountll(a[r * p.words + i] ^ w[c * p.words + i]);
      p.out[(m + r) * p.n + n + c] = p.k - 2 * (int32_t)sum[r][c];
    }
}
const Tiles AVX2_TILES = {2, 4, {avx2_tile<1, 4>, avx2_tile<2, 4>}, {avx2_tile<1, 1>, avx2_tile<2, 1>}};

// ---------------------------------------------------------------- AVX-512

// sums of the 128-bit lanes of a and b by pairs: those of a come first
EDGENET_AVX512 __attribute__((always_inline)) static inline __m512i halves(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
}
template <int R, int C> EDGENET_AVX512 void avx512_tile(const Product& p, int64_t m, int64_t n) {
  const uint64_t *a = p.a + m * p.words, *w = p.w + n * p.words;
  __m512i sum[R][C];
  EDGENET_UNROLL
  for (int r = 0; r < R; r++)
    EDGENET_UNROLL
    for (int c = 0; c < C; c++) sum[r][c] = _mm512_setzero_si512();
  const int64_t whole = p.words & ~(int64_t)7;
  for (int64_t i = 0; i < whole; i += 8) {
    __m512i x[R];
    EDGENET_UNROLL
    for (int r = 0; r < R; r++) x[r] = _mm512_loadu_si512(a + r * p.words + i);
    EDGENET_UNROLL
    for (int c = 0; c < C; c++) {
      const __m512i y = _mm512_loadu_si512(w + c * p.words + i);
      EDGENET_UNROLL
      for (int r = 0; r < R; r++)
        sum[r][c] = _mm512_add_epi64(sum[r][c], _mm512_popcnt_epi64(_mm512_xor_si512(x[r], y)));
    }
  }
  if (whole < p.words) {
    const __mmask8 mask = (__mmask8)((1u << (p.words - whole)) - 1);
    EDGENET_UNROLL
    for (int c = 0; c < C; c++) {
      const __m512i y = _mm512_maskz_loadu_epi64(mask, w + c * p.words + whole);
      EDGENET_UNROLL
      for (int r = 0; r < R; r++) {
        const __m512i x = _mm512_maskz_loadu_epi64(mask, a + r * p.words + whole);
        sum[r][c] = _mm512_add_epi64(sum[r][c], _mm512_popcnt_epi64(_mm512_xor_si512(x, y)));
      }
    }
  }
  if constexpr (C == 4) {
    // two rows of w share the halves of each lane, and lanes are added up by transposing, those of four rows of a at once
    __m512i four[4] = {};
    EDGENET_UNROLL
    for (int r = 0; r < R; r++) {
      const __m512i first = _mm512_or_si512(sum[r][0], _mm512_slli_epi64(sum[r][1], 32));
      const __m512i second = _mm512_or_si512(sum[r][2], _mm512_slli_epi64(sum[r][3], 32));
      four[r] = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
    }
    const __m512i all = halves(halves(four[0], four[1]), halves(four[2], four[3]));
    const __m512i dots = _mm512_sub_epi32(_mm512_set1_epi32(p.k), _mm512_slli_epi32(all, 1));
    int32_t* out = p.out + m * p.n + n;
    _mm_storeu_si128((__m128i*)out, _mm512_castsi512_si128(dots));
    if constexpr (R > 1) _mm_storeu_si128((__m128i*)(out + p.n), _mm512_extracti32x4_epi32(dots, 1));
    if constexpr (R > 2) _mm_storeu_si128((__m128i*)(out + 2 * p.n), _mm512_extracti32x4_epi32(dots, 2));
    if constexpr (R > 3) _mm_storeu_si128((__m128i*)(out + 3 * p.n), _mm512_extracti32x4_epi32(dots, 3));
  } else {
    for (int r = 0; r < R; r++)
      for (int c = 0; c < C; c++) p.out[(m + r) * p.n + n + c] = p.k - 2 * (int32_t)_mm512_reduce_add_epi64(sum[r][c]);
  }
}
const Tiles AVX512_TILES = {
    4,
    4,
    {avx512_tile<1, 4>, avx512_tile<2, 4>, avx512_tile<3, 4>, avx512_tile<4, 4>},
    {avx512_tile<1, 1>, avx512_tile<2, 1>, avx512_tile<3, 1>, avx512_tile<4, 1>}};

// Many rows of a: 16 rows of w are turned so that a lane is a row of w. No lanes have to be added up then, and words that
// do not fill a vector waste none; turning costs as much as some rows of a.
constexpr int64_t TURNED = 16, TURNED_BYTES = 32 << 10;
bool turns(const Product& p) { return p.m >= (p.words < 16 ? 8 : 32); }

// to[i * TURNED + c] = w[c * words + i]; rows that are not there are 0
EDGENET_AVX512 void turn(const uint64_t* w, int64_t rows, int64_t words, uint64_t* to) {
  const int64_t whole = rows == TURNED ? words & ~(int64_t)7 : 0;
  for (int64_t i = 0; i < whole; i += 8)
    for (int c = 0; c < TURNED; c += 8) {
      __m512i v[8], u[8];
      EDGENET_UNROLL
      for (int r = 0; r < 8; r++) v[r] = _mm512_loadu_si512(w + (c + r) * words + i);
      EDGENET_UNROLL
      for (int r = 0; r < 8; r += 2) {
        u[r] = _mm512_unpacklo_epi64(v[r], v[r + 1]);
        u[r + 1] = _mm512_unpackhi_epi64(v[r], v[r + 1]);
      }
      EDGENET_UNROLL
      for (int r = 0; r < 2; r++)  // u[r + 2 j] has rows 2 j and 2 j + 1 of columns r, r + 2, r + 4, r + 6
        EDGENET_UNROLL
        for (int j = 0; j < 4; j += 2) {
          v[r + 2 * j] = _mm512_shuffle_i64x2(u[r + 2 * j], u[r + 2 * j + 2], 0x88);
          v[r + 2 * j + 2] = _mm512_shuffle_i64x2(u[r + 2 * j], u[r + 2 * j + 2], 0xdd);
        }
      EDGENET_UNROLL
      for (int r = 0; r < 4; r++) {  // v[r] has columns r and r + 4 of the first four rows
        _mm512_storeu_si512(to + (i + r) * TURNED + c, _mm512_shuffle_i64x2(v[r], v[r + 4], 0x88));
        _mm512_storeu_si512(to + (i + r + 4) * TURNED + c, _mm512_shuffle_i64x2(v[r], v[r + 4], 0xdd));
      }
    }
  for (int64_t i = whole; i < words; i++)
    for (int c = 0; c < TURNED; c++) to[i * TURNED + c] = c < rows ? w[c * words + i] : 0;
}
template <int R>
EDGENET_AVX512 void turned_tile(const Product& p, const uint64_t* w, int64_t m, int64_t n, uint32_t columns) {
  const uint64_t* a = p.a + m * p.words;
  __m512i sum[R][2];
  EDGENET_UNROLL
  for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
  for (int64_t i = 0; i < p.words; i++) {
    const __m512i y = _mm512_loadu_si512(w + i * TURNED), z = _mm512_loadu_si512(w + i * TURNED + 8);
    EDGENET_UNROLL
    for (int r = 0; r < R; r++) {
      const __m512i x = _mm512_set1_epi64((long long)a[r * p.words + i]);
      sum[r][0] = _mm512_add_epi64(sum[r][0], _mm512_popcnt_epi64(_mm512_xor_si512(x, y)));
      sum[r][1] = _mm512_add_epi64(sum[r][1], _mm512_popcnt_epi64(_mm512_xor_si512(x, z)));
    }
  }
  EDGENET_UNROLL
  for (int r = 0; r < R; r++) {
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(sum[r][0])),
                                            _mm512_cvtepi64_epi32(sum[r][1]), 1);
    _mm512_mask_storeu_epi32(p.out + (m + r) * p.n + n, (__mmask16)columns,
                             _mm512_sub_epi32(_mm512_set1_epi32(p.k), _mm512_slli_epi32(both, 1)));
  }
}
// rows of w first..end by rows of a low..high
void turned_block(const Product& p, int64_t first, int64_t end, int64_t low, int64_t high) {
  const int64_t each = p.words * TURNED;
  Scratch<uint64_t> turned((end - first + TURNED - 1) / TURNED * each);
  for (int64_t n = first; n < end; n += TURNED)
    turn(p.w + n * p.words, std::min(TURNED, end - n), p.words, turned.get() + (n - first) / TURNED * each);
  // all of them by some rows of a, so that rows of the result are written in runs
  for (int64_t m = low; m < high;) {
    const int rows = high - m >= 8 ? 8 : high - m >= 2 ? 2 : 1;
    for (int64_t n = first; n < end; n += TURNED) {
      const uint64_t* w = turned.get() + (n - first) / TURNED * each;
      const uint32_t columns = (1u << std::min(TURNED, end - n)) - 1;
      if (rows == 8) turned_tile<8>(p, w, m, n, columns);
      else if (rows == 2) turned_tile<2>(p, w, m, n, columns);
      else turned_tile<1>(p, w, m, n, columns);
    }
    m += rows;
  }
}
#endif

const Tiles& tiles_of(int form) {
#if EDGENET_X86
  if (form == AVX512) return AVX512_TILES;
  if (form == AVX2) return AVX2_TILES;
#endif
  return PLAIN_TILES;
}

// ---------------------------------------------------------------- loops
constexpr int64_t BLOCK_BYTES = 16 << 10;  // of rows of w that stay in the first cache while the rows of a come by

// rows of w first..end by rows of a low..high
void block(const Tiles& tiles, const Product& p, int64_t first, int64_t end, int64_t low, int64_t high) {
  for (int64_t m = low; m < high; m += tiles.rows) {
    const int64_t kind = std::min(tiles.rows, high - m) - 1;
    int64_t n = first;
    for (; n + tiles.columns <= end; n += tiles.columns) tiles.whole[kind](p, m, n);
    for (; n < end; n++) tiles.one[kind](p, m, n);
  }
}

constexpr int64_t FEW = 1024;  // rows of a in a piece: with so many, pieces of w alone would be too few

// body(first row of w, end, first row of a, end) for pieces of `wide` rows of w
template <class F> void for_blocks(parallel_for pool, const Product& p, int64_t wide, F body) {
  const int64_t across = (p.n + wide - 1) / wide, down = (p.m + FEW - 1) / FEW;
  for_pieces(pool, p.m * p.n * p.words, across * down, 1, [&](int64_t q, int64_t) {
    const int64_t first = q % across * wide, low = q / across * FEW;
    body(first, std::min(p.n, first + wide), low, std::min(p.m, low + FEW));
  });
}

void product(parallel_for pool, int form, const Product& p) {
  const int64_t bytes = 8 * std::max<int64_t>(1, p.words);
#if EDGENET_X86
  if (form == AVX512 && turns(p)) {
    const int64_t groups = std::min<int64_t>(8, std::max<int64_t>(1, TURNED_BYTES / (TURNED * bytes)));
    return for_blocks(pool, p, groups * TURNED, [&](int64_t first, int64_t end, int64_t low, int64_t high) {
      turned_block(p, first, end, low, high);
    });
  }
#endif
  const Tiles& tiles = tiles_of(form);
  const int64_t wide = std::max(BLOCK_BYTES / bytes / tiles.columns * tiles.columns, tiles.columns);
  for_blocks(pool, p, wide, [&](int64_t first, int64_t end, int64_t low, int64_t high) {
    block(tiles, p, first, end, low, high);
  });
}

}  // namespace

// The best form that the processor has: 1 plain words, 2 AVX2, 3 AVX-512 with VPOPCNTDQ. The functions below take 0 for
// it, or a lower one.
extern "C" int edgenet_xnor_form() { return best(); }

// out (m, n) = k - 2 popcount(a ^ w) of a (m, words) and w (n, words)
extern "C" int edgenet_xnor(parallel_for pool, int form, const uint64_t* a, const uint64_t* w, int32_t* out, int64_t m,
                             int64_t n, int64_t words, int64_t k) {
  return status_of([&] { product(pool, chosen(form), Product{a, w, out, m, n, words, (int32_t)k}); });
}

// The unoptimised product of float32 that binary networks are compared with (Courbariaux et al. 2016): three loops, one
// number at a time, whatever the object is built for
#if defined(__clang__)
extern "C" int edgenet_naive_product(const float* a, const float* w, float* out, int64_t m, int64_t n, int64_t k) {
#else
extern "C" __attribute__((optimize("no-tree-vectorize,no-tree-slp-vectorize"))) int edgenet_naive_product(
    const float* a, const float* w, float* out, int64_t m, int64_t n, int64_t k) {
#endif
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      float sum = 0;
#if defined(__clang__)
#pragma clang loop vectorize(disable) interleave(disable)
#endif
      for (int64_t l = 0; l < k; l++) sum += a[i * k + l] * w[j * k + l];
      out[i * n + j] = sum;
    }
  return DONE;
}
