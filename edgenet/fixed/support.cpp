// What all generated networks share: rounding, transforms, products of spectra and straight lines, in 16 bits.
//
// A vector of n numbers lies in blocks of K: number i K + k is at k * stride + i, so that loops over blocks run over
// neighbours. With K = 1 it lies as usual.

#include <cstdint>
#include <cstring>
#if !defined(EDGENET_PORTABLE) && (defined(__AVX512BW__) || defined(__AVX2__))
#include <immintrin.h>
#endif

namespace {

constexpr int kMost = 32767;
constexpr int kTwiddleBits = 14;
constexpr int kLanes = 16;  // rows of blocks whose weights lie side by side
constexpr int kTile = 64;   // rows of blocks that are summed together

template <int BITS>
inline int32_t shifted(int32_t x) {  // x 2^-BITS, half to even
  if constexpr (BITS == 0) {
    return x;
  } else {
    return (x + ((1 << (BITS - 1)) - 1) + ((x >> BITS) & 1)) >> BITS;
  }
}

inline int32_t saturate(int32_t x, int32_t least, int32_t most) {
  x = x < least ? least : x;
  return x > most ? most : x;
}

inline int32_t saturate(int32_t x) { return saturate(x, -kMost - 1, kMost); }

constexpr int levels(int block) { return block == 1 ? 0 : 1 + levels(block / 2); }

// From one order of numbers into another; what lies beyond SIZE is 0.
template <int SIZE, int FROM, int FROM_STRIDE, int TO, int TO_STRIDE>
inline void reorder(const int16_t* from, int16_t* to) {
  for (int k = 0; k < TO; ++k) {
    for (int i = 0; i < TO_STRIDE; ++i) {
      const int n = i * TO + k;
      to[k * TO_STRIDE + i] = n < SIZE ? from[n % FROM * FROM_STRIDE + n / FROM] : int16_t(0);
    }
  }
}

// Half spectra of Q blocks over 2^SHIFTS: rows of x are places in the block, rows of re and im are frequencies.
template <int K, int SHIFTS, int Q>
struct Forward {
  static void run(const int16_t* x, long row, int16_t* re, int16_t* im, long out) {
    constexpr int H = K / 2, LEVELS = levels(K), COUNT = H / 2 + 1;
    constexpr int INNER = SHIFTS < LEVELS - 1 ? SHIFTS : LEVELS - 1, ONE = SHIFTS >= LEVELS ? 1 : 0;
    int16_t even_re[COUNT * Q], even_im[COUNT * Q], odd_re[COUNT * Q], odd_im[COUNT * Q];
    Forward<H, INNER, Q>::run(x, 2 * row, even_re, even_im, Q);
    Forward<H, INNER, Q>::run(x + row, 2 * row, odd_re, odd_im, Q);
    for (int i = 0; i < Q; ++i) {
      const int32_t e = even_re[i], o = odd_re[i];
      re[i] = int16_t(saturate(shifted<ONE>(e + o), -kMost, kMost));
      re[H * out + i] = int16_t(saturate(shifted<ONE>(e - o), -kMost, kMost));
      im[i] = im[H * out + i] = 0;
    }
    for (int f = 1; 2 * f < H; ++f) {
      const int32_t c = kTwiddles[f * (kTwiddleHalf / H)][0], s = kTwiddles[f * (kTwiddleHalf / H)][1];
      for (int i = 0; i < Q; ++i) {
        const int32_t a = odd_re[f * Q + i], b = odd_im[f * Q + i];
        const int32_t e_re = even_re[f * Q + i] * (1 << kTwiddleBits), e_im = even_im[f * Q + i] * (1 << kTwiddleBits);
        const int32_t o_re = a * c + b * s, o_im = b * c - a * s;
        re[f * out + i] = int16_t(saturate(shifted<kTwiddleBits + ONE>(e_re + o_re), -kMost, kMost));
        im[f * out + i] = int16_t(saturate(shifted<kTwiddleBits + ONE>(e_im + o_im), -kMost, kMost));
        re[(H - f) * out + i] = int16_t(saturate(shifted<kTwiddleBits + ONE>(e_re - o_re), -kMost, kMost));
        im[(H - f) * out + i] = int16_t(saturate(shifted<kTwiddleBits + ONE>(o_im - e_im), -kMost, kMost));
      }
    }
    if constexpr (H > 1) {
      for (int i = 0; i < Q; ++i) {
        re[H / 2 * out + i] = int16_t(saturate(shifted<ONE>(even_re[H / 2 * Q + i]), -kMost, kMost));
        im[H / 2 * out + i] = int16_t(saturate(shifted<ONE>(-odd_re[H / 2 * Q + i]), -kMost, kMost));
      }
    }
  }
};

template <int SHIFTS, int Q>
struct Forward<1, SHIFTS, Q> {
  static void run(const int16_t* x, long, int16_t* re, int16_t* im, long) {
    for (int i = 0; i < Q; ++i) {
      re[i] = int16_t(saturate(x[i], -kMost, kMost));
      im[i] = 0;
    }
  }
};

// Blocks of half spectra over K, LANES side by side; row k of y is place k.
template <int K, int LANES>
struct Inverse {
  static void run(const int16_t* re, const int16_t* im, int16_t* y, long row) {
    constexpr int H = K / 2, COUNT = H / 2 + 1;
    int16_t even_re[COUNT * LANES], even_im[COUNT * LANES], odd_re[COUNT * LANES], odd_im[COUNT * LANES];
    for (int f = 0; f < COUNT; ++f) {
      const int32_t c = kTwiddles[f * (kTwiddleHalf / H)][0], s = kTwiddles[f * (kTwiddleHalf / H)][1];
      const int16_t *low_re = re + f * LANES, *low_im = im + f * LANES;
      const int16_t *high_re = re + (H - f) * LANES, *high_im = im + (H - f) * LANES;
      for (int i = 0; i < LANES; ++i) {
        const int32_t d_re = low_re[i] - high_re[i], d_im = low_im[i] + high_im[i];
        even_re[f * LANES + i] = int16_t(saturate(low_re[i] + high_re[i]));
        even_im[f * LANES + i] = int16_t(saturate(low_im[i] - high_im[i]));
        odd_re[f * LANES + i] = int16_t(saturate(shifted<kTwiddleBits>(d_re * c - d_im * s)));
        odd_im[f * LANES + i] = int16_t(saturate(shifted<kTwiddleBits>(d_re * s + d_im * c)));
      }
    }
    Inverse<H, LANES>::run(even_re, even_im, y, 2 * row);
    Inverse<H, LANES>::run(odd_re, odd_im, y + row, 2 * row);
  }
};

template <int LANES>
struct Inverse<1, LANES> {
  static void run(const int16_t* re, const int16_t*, int16_t* y, long) { std::memcpy(y, re, LANES * sizeof(int16_t)); }
};

inline int32_t pair(const int16_t* x) {
  int32_t both;
  std::memcpy(&both, x, sizeof both);
  return both;
}

// sums[l] = sum over COUNT pairs j of w[j][l][0] x[j][0] + w[j][l][1] x[j][1], for TILES times 16 lanes l. Nothing
// overflows: the weights are small enough for any signal.
#if !defined(EDGENET_PORTABLE) && (defined(__AVX512BW__) || defined(__AVX2__))

#if defined(__AVX512BW__)
using Vector = __m512i;
constexpr int kWide = 16;
inline Vector load(const int16_t* w) { return _mm512_loadu_si512(w); }
inline Vector both(int32_t x) { return _mm512_set1_epi32(x); }
inline Vector zero() { return _mm512_setzero_si512(); }
inline Vector plus(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
inline void store(int32_t* out, Vector sum) { _mm512_storeu_si512(out, sum); }
inline Vector add_products(Vector sum, Vector w, Vector x) {
#if defined(__AVX512VNNI__)
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));  // with the intrinsic, g++ 12 makes two moves beside it
  return sum;
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(w, x));
#endif
}
#else
using Vector = __m256i;
constexpr int kWide = 8;
inline Vector load(const int16_t* w) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)); }
inline Vector both(int32_t x) { return _mm256_set1_epi32(x); }
inline Vector zero() { return _mm256_setzero_si256(); }
inline Vector plus(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
inline void store(int32_t* out, Vector sum) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sum); }
inline Vector add_products(Vector sum, Vector w, Vector x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x)); }
#endif

template <int COUNT, int TILES>
inline void real_sums(const int16_t* w, const int16_t* x, int32_t* sums) {
  constexpr int PARTS = TILES * kLanes / kWide;
  Vector even[PARTS], odd[PARTS];  // two sums each, so that products need not wait for the one before
  for (int p = 0; p < PARTS; ++p) even[p] = odd[p] = zero();
  int j = 0;
  for (; j + 1 < COUNT; j += 2) {
    const Vector first = both(pair(x + 2 * j)), second = both(pair(x + 2 * j + 2));
    for (int p = 0; p < PARTS; ++p) even[p] = add_products(even[p], load(w + 2 * (j * PARTS + p) * kWide), first);
    for (int p = 0; p < PARTS; ++p) {
      odd[p] = add_products(odd[p], load(w + 2 * ((j + 1) * PARTS + p) * kWide), second);
    }
  }
  if (j < COUNT) {
    const Vector last = both(pair(x + 2 * j));
    for (int p = 0; p < PARTS; ++p) even[p] = add_products(even[p], load(w + 2 * (j * PARTS + p) * kWide), last);
  }
  for (int p = 0; p < PARTS; ++p) store(sums + p * kWide, plus(even[p], odd[p]));
}

template <int COUNT, int TILES>
inline void complex_sums(const int16_t* w, const int16_t* x, const int16_t* turned, int32_t* re, int32_t* im) {
  constexpr int PARTS = TILES * kLanes / kWide;
  Vector sum_re[PARTS], sum_im[PARTS];
  for (int p = 0; p < PARTS; ++p) sum_re[p] = sum_im[p] = zero();
  for (int j = 0; j < COUNT; ++j) {
    const Vector signal = both(pair(x + 2 * j)), other = both(pair(turned + 2 * j));
    for (int p = 0; p < PARTS; ++p) {
      const Vector weight = load(w + 2 * (j * PARTS + p) * kWide);
      sum_re[p] = add_products(sum_re[p], weight, signal);
      sum_im[p] = add_products(sum_im[p], weight, other);
    }
  }
  for (int p = 0; p < PARTS; ++p) {
    store(re + p * kWide, sum_re[p]);
    store(im + p * kWide, sum_im[p]);
  }
}

#else

template <int COUNT, int TILES>
inline void real_sums(const int16_t* w, const int16_t* x, int32_t* sums) {
  constexpr int LANES = TILES * kLanes;
  int32_t sum[LANES] = {};
  for (int j = 0; j < COUNT; ++j) {
    const int32_t first = x[2 * j], second = x[2 * j + 1];
    const int16_t* weight = w + 2 * j * LANES;
    for (int l = 0; l < LANES; ++l) sum[l] += weight[2 * l] * first + weight[2 * l + 1] * second;
  }
  std::memcpy(sums, sum, sizeof sum);
}

template <int COUNT, int TILES>
inline void complex_sums(const int16_t* w, const int16_t* x, const int16_t* turned, int32_t* re, int32_t* im) {
  real_sums<COUNT, TILES>(w, x, re);
  real_sums<COUNT, TILES>(w, turned, im);
}

#endif

// y = W x for P rows of blocks of spectra with Q columns, of signals x whose half spectra stand in re and im.
//
// Weights lie by tiles of 64 rows, those that are left by 16, and in a tile by frequency, column and row. A frequency that
// is real has pairs of columns, any other has a column's real and imaginary part.
template <int K, int P, int Q, int SHIFT>
struct Product {
  static constexpr int kFrequencies = K / 2 + 1, kReal = K == 1 ? 1 : 2, kPairs = (Q + 1) / 2;
  static constexpr int kRows = (P + kLanes - 1) / kLanes * kLanes;  // the stride of y
  static constexpr long kSize = 2L * kLanes * (kReal * kPairs + (kFrequencies - kReal) * Q);  // of 16 rows

  template <int TILES>
  static void tiles(const int16_t* w, const int16_t* signal, int16_t* y) {
    constexpr int LANES = TILES * kLanes;
    int16_t re[kFrequencies * LANES], im[kFrequencies * LANES];
    int32_t sum_re[LANES], sum_im[LANES];
    for (int f = 0; f < kFrequencies; ++f) {
      if (f == 0 || (K > 1 && f == kFrequencies - 1)) {
        real_sums<kPairs, TILES>(w, signal, sum_re);
        for (int l = 0; l < LANES; ++l) {
          re[f * LANES + l] = int16_t(saturate(shifted<SHIFT>(sum_re[l])));
          im[f * LANES + l] = 0;
        }
        w += 2L * LANES * kPairs;
        signal += 2 * kPairs;
      } else {
        complex_sums<Q, TILES>(w, signal, signal + 2 * Q, sum_re, sum_im);
        for (int l = 0; l < LANES; ++l) {
          re[f * LANES + l] = int16_t(saturate(shifted<SHIFT>(sum_re[l])));
          im[f * LANES + l] = int16_t(saturate(shifted<SHIFT>(sum_im[l])));
        }
        w += 2L * LANES * Q;
        signal += 4 * Q;
      }
    }
    Inverse<K, LANES>::run(re, im, y, kRows);
  }

  static void run(const int16_t* w, const int16_t* re, const int16_t* im, int16_t* y) {
    int16_t signal[2 * kReal * kPairs + 4 * (kFrequencies - kReal) * Q + 1];
    int16_t* next = signal;
    for (int f = 0; f < kFrequencies; ++f, re += Q, im += Q) {
      if (f == 0 || (K > 1 && f == kFrequencies - 1)) {
        next[2 * kPairs - 1] = 0;
        std::memcpy(next, re, Q * sizeof(int16_t));
        next += 2 * kPairs;
      } else {
        for (int j = 0; j < Q; ++j) {
          next[2 * j] = re[j];
          next[2 * j + 1] = int16_t(-im[j]);
          next[2 * (Q + j)] = im[j];
          next[2 * (Q + j) + 1] = re[j];
        }
        next += 4 * Q;
      }
    }
    int row = 0;
    for (; row + kTile <= kRows; row += kTile) tiles<kTile / kLanes>(w + row / kLanes * kSize, signal, y + row);
    for (; row < kRows; row += kLanes) tiles<1>(w + row / kLanes * kSize, signal, y + row);
  }
};

// found[l] = table[index[l]] of 32 numbers.
template <int COUNT>
inline void look_up(const int32_t* table, const int32_t* index, int32_t* found) {
  int l = 0;
#if !defined(EDGENET_PORTABLE) && defined(__AVX512F__)
  const __m512i low = _mm512_loadu_si512(table), high = _mm512_loadu_si512(table + 16);
  for (; l + 16 <= COUNT; l += 16) {
    _mm512_storeu_si512(found + l, _mm512_permutex2var_epi32(low, _mm512_loadu_si512(index + l), high));
  }
#endif
  for (; l < COUNT; ++l) found[l] = table[index[l]];
}

// Straight lines, whose arguments end at +-END, with BITS fraction bits.
template <int END, int BITS, int LEAST, int COUNT>
inline void straight(const int32_t* slopes, const int32_t* intercepts, const int32_t* x, int32_t* y) {
  int32_t held[COUNT], segment[COUNT], slope[COUNT], intercept[COUNT];
  for (int l = 0; l < COUNT; ++l) {
    held[l] = saturate(x[l], -END, END);
    const int32_t found = int32_t(uint32_t(held[l] + END) * (kSegments / 2) / END);
    segment[l] = found < kSegments ? found : kSegments - 1;
  }
  look_up<COUNT>(slopes, segment, slope);
  look_up<COUNT>(intercepts, segment, intercept);
  for (int l = 0; l < COUNT; ++l) y[l] = saturate(shifted<BITS>(slope[l] * held[l] + intercept[l]), LEAST, kMost);
}

}  // namespace
