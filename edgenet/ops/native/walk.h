// The walk over the edges of every row. It gathers the signal of the other end, `there`, and meets it with the row's
// own, `own`; z = there + own:
//
//   SUM:   out[i, h, :]   = sum over edges k of row i of weight[k, h] * there
//   DOT:   inner[k, h]    = <there, own>                       (alone, or together with SUM)
//   SCORE: inner[k, h]    = <att[h, :], leaky(z)>
//   BEND:  out[i, h, :] (+)= att[h, :] * sum of weight[k, h] * leaky'(z);
//          with OF_ATT also of_att[h, :] += sum over all edges of weight[k, h] * leaky(z)
//
// The H * C numbers of a row are cut into tiles of up to 16 vectors, whose sums stay in registers while the edges of
// the row go by. Heads whose channels do not fill their last vector get one that overlaps the vector before.
#pragma once
#include <utility>

#include "rows.h"

namespace edgenet {

enum { SUM = 1, DOT = 2, SCORE = 4, BEND = 8, OF_ATT = 16 };

struct Tile {
  int64_t lane;   // where it begins among the H * C numbers of a row
  int64_t head;   // its first head
  int width;      // numbers in a vector; 0: one number at a time
  int vectors;    // 1, 2, 4, 8 or 16
  int heads;      // heads in it, twice as many as vectors where a vector holds two; 0: every lane is a head (C = 1)
  int overlap;    // leading lanes that the tile before has already: they do not count in what is added up
  bool first;     // first tile of its heads: inner products are written, later ones added
};

// `few`: of the kinds of tiles that combinations built for reach rather than for speed have (see `has_all_tiles`).
// most: vectors of a tile, 8 or 16.
static std::vector<Tile> tiles(int64_t heads, int64_t channels, int widest, int narrowest, bool few, int most) {
  std::vector<Tile> plan;
  const int step = few ? widest / narrowest : 2;
  if (channels == 1 && heads >= narrowest) {
    int width = widest;
    while (width > narrowest && heads < width) width /= step;
    int64_t full = heads / width, v = 0;
    while (v < full) {
      int n = few ? 1 : 8;
      while (n > full - v) n /= 2;
      plan.push_back({v * width, v * width, width, n, 0, 0, true});
      v += n;
    }
    if (heads % width) plan.push_back({heads - width, heads - width, width, 1, 0, int(width - heads % width), true});
    return plan;
  }
  if (channels < narrowest) {
    for (int64_t h = 0; h < heads; h++) plan.push_back({h * channels, h, 0, (int)channels, 1, 0, true});
    return plan;
  }
  int64_t head = 0;
  if (!few && 2 * channels == widest)  // two heads fill a vector
    while (heads - head >= 2) {
      int n = 8;
      while (2 * n > heads - head) n /= 2;
      plan.push_back({head * channels, head, widest, n, 2 * n, 0, true});
      head += 2 * n;
    }
  int width = widest;
  while (width > narrowest && (channels < width || (channels % width && channels < 4 * width))) width /= step;
  int64_t each = channels / width, tail = channels % width;
  if (!few && !tail && each <= 8 && (each & (each - 1)) == 0) {  // several whole heads fit into a tile
    int64_t v = head * each, count = heads * each;
    while (v < count) {
      int n = most;
      while (n > count - v) n /= 2;
      bool whole = n > each;
      plan.push_back({v * width, v / each, width, n, whole ? int(n / each) : 1, 0, v % each == 0});
      v += n;
    }
    return plan;
  }
  for (; head < heads; head++) {
    int64_t v = 0;
    while (v < each) {
      int n = few ? 4 : most;
      while (n > each - v) n /= few ? 4 : 2;
      plan.push_back({head * channels + v * width, head, width, n, 1, 0, v == 0});
      v += n;
    }
    if (tail) plan.push_back({(head + 1) * channels - width, head, width, 1, 1, int(width - tail), false});
  }
  return plan;
}

template <class S, class I> struct Walk {
  using A = acc_t<S>;
  Order<I> order;
  const S* x;        // (nodes at the other end, lanes), or (nodes, channels) where all heads share them
  int64_t nodes;     // at the other end
  int64_t heads, lanes;
  const S* own;      // (rows, lanes), for all but SUM; shared likewise
  S* out;            // (rows, lanes), for SUM and BEND; where `own` is shared, SUM adds its heads up
  bool x_shared, own_shared;
  const S* weight;   // (edges, heads), in the order of edge_index; or null: ones
  S* dot;            // (edges, heads), likewise, for DOT
  const A* alpha;    // with BUFFER instead of weight: (edges from `base` on, heads), in this order
  A* inner;          // with BUFFER instead of dot: likewise
  int64_t base;      // position in this order of the first row of alpha and inner
  const A* att;      // (lanes)
  A slope;           // of leaky
  bool adds;         // BEND adds to out
  A* of_att;         // (lanes), for OF_ATT
};

// twice two heads' weights side by side: heads 2 Q and 2 Q + 1 of `w`, each VL / 2 times
template <class A, int VL, int NH, int Q, int... L>
static inline vec<A, VL> spread_pair(vec<A, NH> w, std::integer_sequence<int, L...>) {
  return __builtin_shufflevector(w, w, (L < VL / 2 ? 2 * Q : 2 * Q + 1)...);
}

// body(0), body(1), ... body(N - 1), the numbers as constants
template <class F, int... Q> static inline void unrolled(F body, std::integer_sequence<int, Q...>) {
  (body(std::integral_constant<int, Q>()), ...);
}

// Two kinds of prefetch: far ahead into the second cache, which can wait for many lines at a time, and near into the
// first. Together they are 1.6 times as fast as one (measured on rows of 256 bytes, 43 MB of them).
constexpr int64_t far_ahead(int64_t row_bytes) {
  return std::max<int64_t>(12, std::min<int64_t>(96, (24 << 10) / row_bytes));
}
constexpr int64_t near_ahead(int64_t row_bytes) {
  return std::max<int64_t>(3, std::min<int64_t>(16, (4 << 10) / row_bytes));
}

template <class S, class I, int W, int VL, int NV, int NH, int DO, bool BUFFER>
static void walk_tile(const Walk<S, I>& walk, const Tile& tile, int64_t low, int64_t high) {
  using A = acc_t<S>;
  using V = vec<A, VL>;
  constexpr bool PAIR = NH > NV;                                  // two heads in a vector
  constexpr int EACH = NH == 0 || PAIR ? 1 : NV / NH;             // vectors of a head
  constexpr int GROUPS = NV / EACH, HEADS = NH ? NH : NV * VL;
  constexpr bool SUMS = (DO & (SUM | BEND)) != 0, INNER = (DO & (DOT | SCORE)) != 0;
  constexpr bool MEETS = DO != SUM, SCALED = SUMS && W != 0;
  constexpr bool MASKED = NV == 1 && NH <= 1;                     // may overlap the tile before
  const Order<I> order = walk.order;
  const int64_t heads = walk.heads, head = tile.head, channels = walk.lanes / heads;
  const int64_t x_lanes = walk.x_shared ? channels : walk.lanes, own_lanes = walk.own_shared ? channels : walk.lanes;
  const S* x = walk.x + tile.lane - (walk.x_shared ? head * channels : 0);
  const int64_t own_lane = tile.lane - (walk.own_shared ? head * channels : 0);
  const bool adds = (DO & SUM) != 0 ? walk.own_shared && head > 0 : walk.adds;
  constexpr int BYTES = NV * VL * sizeof(S);
  constexpr int64_t FAR = far_ahead(BYTES), NEAR = near_ahead(BYTES);
  const bool cached = walk.nodes * x_lanes * (int64_t)sizeof(S) <= (256 << 10);  // the nearer caches hold x
  const int64_t prefetched = cached ? 0 : order.ptr[order.rows] - FAR;
  const A slope = walk.slope;
  vec<acc_int<A>, VL> counted = {};  // all bits set in the lanes that the tile before has not
  for (int l = tile.overlap; l < VL; l++) counted[l] = -1;
  V att[NV], of_att[NV];
  if constexpr ((DO & (SCORE | BEND)) != 0) {
    EDGENET_UNROLL
    for (int v = 0; v < NV; v++) att[v] = load<A, VL>(walk.att + tile.lane + v * VL), of_att[v] = V{};
  }
  for (int64_t i = low; i < high; i++) {
    V sum[NV], mine[NV];
    if constexpr (SUMS) {
      EDGENET_UNROLL
      for (int v = 0; v < NV; v++) sum[v] = V{};
    }
    if constexpr (MEETS) {
      EDGENET_UNROLL
      for (int v = 0; v < NV; v++) mine[v] = load<A, VL>(walk.own + i * own_lanes + own_lane + v * VL);
    }
    for (int64_t k = order.ptr[i]; k < (int64_t)order.ptr[i + 1]; k++) {
      if (k < prefetched) {
        prefetch<2, BYTES>(x + (int64_t)order.other[k + FAR] * x_lanes);
        if constexpr (!BUFFER) {
          if (order.edge) {
            const int64_t there = order.edge[k + FAR] * heads + head;
            if constexpr (SCALED) __builtin_prefetch(walk.weight + there, 0, 2);
            if constexpr (INNER) __builtin_prefetch(walk.dot + there, 1, 2);
          }
        }
        prefetch<3, BYTES>(x + (int64_t)order.other[k + NEAR] * x_lanes);
      }
      const S* xs = x + (int64_t)order.other[k] * x_lanes;
      const int64_t place = (BUFFER ? k - walk.base : order.id(k)) * heads + head;
      vec<A, PAIR ? NH : 1> weights;  // of all heads, where vectors hold two
      if constexpr (PAIR && SCALED) {
        if constexpr (BUFFER) weights = load<A, NH>(walk.alpha + place);
        else weights = load<A, NH>(walk.weight + place);
      }
      V product[GROUPS];
      unrolled([&](auto group) __attribute__((always_inline)) {
        constexpr int g = group;
        V factor = {};
        if constexpr (SCALED) {
          if constexpr (PAIR) factor = spread_pair<A, VL, NH, g>(weights, std::make_integer_sequence<int, VL>());
          else if constexpr (NH == 0) {
            if constexpr (BUFFER) factor = load<A, VL>(walk.alpha + place + g * VL);
            else factor = load<A, VL>(walk.weight + place + g * VL);
          } else {
            A one;
            if constexpr (BUFFER) one = walk.alpha[place + g];
            else one = widen(walk.weight[place + g]);
            factor = V{} + one;
          }
        }
        V inner = {};
        EDGENET_UNROLL
        for (int c = 0; c < EACH; c++) {
          const int v = g * EACH + c;
          V there = load<A, VL>(xs + v * VL);
          if constexpr ((DO & SUM) != 0) {
            if constexpr (SCALED) sum[v] += factor * there;
            else sum[v] += there;
          }
          if constexpr ((DO & DOT) != 0) inner += there * mine[v];
          if constexpr ((DO & SCORE) != 0) {
            V z = there + mine[v];
            inner += att[v] * (z > V{} ? z : z * slope);
          }
          if constexpr ((DO & BEND) != 0) {
            V z = there + mine[v];
            V bent = z > V{} ? factor : factor * slope;
            sum[v] += bent;
            if constexpr ((DO & OF_ATT) != 0) of_att[v] += bent * z;
          }
        }
        if constexpr (INNER && MASKED && NH == 1) inner = counted ? inner : V{};
        product[g] = inner;
      }, std::make_integer_sequence<int, GROUPS>());
      if constexpr (INNER) {
        A sums[HEADS];
        if constexpr (NH == 0) {
          EDGENET_UNROLL
          for (int v = 0; v < NV; v++) store<A, VL>(sums + v * VL, product[v]);
        } else if constexpr (PAIR) {
          vec<A, VL / 2> halves[NH];
          memcpy(halves, product, sizeof halves);
          totals<A, VL / 2, NH>(halves, sums);
        } else {
          totals<A, VL, NH>(product, sums);
        }
        if constexpr (BUFFER) {
          A* to = walk.inner + place;
          if constexpr (NH == 1) *to = tile.first ? sums[0] : *to + sums[0];
          else memcpy(to, sums, sizeof sums);
        } else {
          S* to = walk.dot + place;
          if constexpr (NH == 1) narrow(tile.first ? sums[0] : widen(*to) + sums[0], to);
          else {
            EDGENET_UNROLL
            for (int h = 0; h < HEADS; h++) narrow(sums[h], to + h);
          }
        }
      }
    }
    if constexpr (SUMS) {
      S* out = walk.out + i * own_lanes + own_lane;
      EDGENET_UNROLL
      for (int v = 0; v < NV; v++) {
        V gained = sum[v];
        if constexpr ((DO & BEND) != 0) gained *= att[v];
        if (adds) {
          if (MASKED) gained = counted ? gained : V{};
          gained += load<A, VL>(out + v * VL);
        }
        store<A, VL>(out + v * VL, gained);
      }
    }
  }
  if constexpr ((DO & OF_ATT) != 0) {
    EDGENET_UNROLL
    for (int v = 0; v < NV; v++) {
      A* to = walk.of_att + tile.lane + v * VL;
      V gained = MASKED ? (counted ? of_att[v] : V{}) : of_att[v];
      store<A, VL>(to, load<A, VL>(to) + gained);
    }
  }
}

// A head of one, two or three channels: numbers one at a time.
template <class S, class I, int W, int DO, bool BUFFER>
static void walk_narrow(const Walk<S, I>& walk, const Tile& tile, int64_t low, int64_t high) {
  using A = acc_t<S>;
  const int channels = tile.vectors;
  const int64_t x_lanes = walk.x_shared ? channels : walk.lanes, own_lanes = walk.own_shared ? channels : walk.lanes;
  const int64_t x_lane = walk.x_shared ? 0 : tile.lane, own_lane = walk.own_shared ? 0 : tile.lane;
  const bool adds = (DO & SUM) != 0 ? walk.own_shared && tile.head > 0 : walk.adds;
  A of_att[4] = {};
  for (int64_t i = low; i < high; i++) {
    A sum[4] = {};
    for (int64_t k = walk.order.ptr[i]; k < (int64_t)walk.order.ptr[i + 1]; k++) {
      const S* xs = walk.x + (int64_t)walk.order.other[k] * x_lanes + x_lane;
      const int64_t place = (BUFFER ? k - walk.base : walk.order.id(k)) * walk.heads + tile.head;
      A product = 0, factor = 1;
      if constexpr ((DO & (SUM | BEND)) != 0 && W != 0) factor = BUFFER ? walk.alpha[place] : widen(walk.weight[place]);
      for (int c = 0; c < channels; c++) {
        const A there = widen(xs[c]);
        if constexpr ((DO & SUM) != 0) sum[c] += factor * there;
        if constexpr (DO != SUM) {
          const A mine = widen(walk.own[i * own_lanes + own_lane + c]), z = there + mine;
          if constexpr ((DO & DOT) != 0) product += there * mine;
          if constexpr ((DO & SCORE) != 0) product += walk.att[tile.lane + c] * (z > 0 ? z : z * walk.slope);
          if constexpr ((DO & BEND) != 0) {
            const A bent = z > 0 ? factor : factor * walk.slope;
            sum[c] += bent;
            of_att[c] += bent * z;
          }
        }
      }
      if constexpr ((DO & (DOT | SCORE)) != 0) {
        if constexpr (BUFFER) walk.inner[place] = product;
        else narrow(product, walk.dot + place);
      }
    }
    if constexpr ((DO & (SUM | BEND)) != 0) {
      S* out = walk.out + i * own_lanes + own_lane;
      for (int c = 0; c < channels; c++) {
        const A gained = (DO & BEND) != 0 ? walk.att[tile.lane + c] * sum[c] : sum[c];
        narrow(gained + (adds ? widen(out[c]) : A(0)), out + c);
      }
    }
  }
  if constexpr ((DO & OF_ATT) != 0)
    for (int c = 0; c < channels; c++) walk.of_att[tile.lane + c] += of_att[c];
}

// Every kind of tile multiplies the time that compiling takes: float32 and bfloat16 with int32 indices have them all, on
// processors of the last ten years.
#if defined(__x86_64__) && !defined(__AVX__)
constexpr bool IS_OLD = true;
#else
constexpr bool IS_OLD = false;
#endif
template <class S, class I> constexpr bool has_all_tiles() {
  return std::is_same<acc_t<S>, float>::value && sizeof(I) == 4 && !IS_OLD;
}
template <class S> constexpr int narrowest() { return std::is_same<acc_t<S>, double>::value ? 2 : 4; }

template <class S, class I, int W, int VL, int DO, bool BUFFER>
static void walk_width(const Walk<S, I>& walk, const Tile& t, int64_t low, int64_t high) {
#define EDGENET_TILE(NV, NH) \
  if (t.vectors == NV && t.heads == NH) return walk_tile<S, I, W, VL, NV, NH, DO, BUFFER>(walk, t, low, high);
  EDGENET_TILE(4, 1) EDGENET_TILE(1, 1) EDGENET_TILE(1, 0)
  if constexpr (has_all_tiles<S, I>()) {
  if constexpr ((DO & (SCORE | BEND)) == 0) {  // those keep more in registers, and have plans of at most 8 vectors
    EDGENET_TILE(16, 1) EDGENET_TILE(16, 2) EDGENET_TILE(16, 4) EDGENET_TILE(16, 8) EDGENET_TILE(16, 16)
  }
  EDGENET_TILE(8, 1) EDGENET_TILE(8, 2) EDGENET_TILE(8, 4) EDGENET_TILE(8, 8) EDGENET_TILE(8, 0)
  EDGENET_TILE(4, 2) EDGENET_TILE(4, 4) EDGENET_TILE(4, 0)
  EDGENET_TILE(2, 1) EDGENET_TILE(2, 2) EDGENET_TILE(2, 0)
  if constexpr (VL == widest<acc_t<S>>() && VL > narrowest<S>()) {
    EDGENET_TILE(8, 16) EDGENET_TILE(4, 8) EDGENET_TILE(2, 4) EDGENET_TILE(1, 2)
  }
  }
#undef EDGENET_TILE
}

// all tiles of rows low..high
template <class S, class I, int W, int DO, bool BUFFER>
static void walk_rows(const Walk<S, I>& walk, const std::vector<Tile>& plan, int64_t low, int64_t high) {
  constexpr int WIDE = widest<acc_t<S>>(), LEAST = narrowest<S>();
  for (const Tile& tile : plan) {
    if (tile.width == 0) walk_narrow<S, I, W, DO, BUFFER>(walk, tile, low, high);
    else if (tile.width == WIDE) walk_width<S, I, W, WIDE, DO, BUFFER>(walk, tile, low, high);
    else if constexpr (WIDE > LEAST && !has_all_tiles<S, I>()) {
      walk_width<S, I, W, LEAST, DO, BUFFER>(walk, tile, low, high);
    } else if constexpr (WIDE > LEAST) {
      if (tile.width == WIDE / 2) walk_width<S, I, W, WIDE / 2, DO, BUFFER>(walk, tile, low, high);
      else if constexpr (WIDE / 2 > LEAST) walk_width<S, I, W, WIDE / 4, DO, BUFFER>(walk, tile, low, high);
    }
  }
}

// shared: all heads have one signal, and tiles stay inside a head. most: see `tiles`.
template <class S, class I>
static std::vector<Tile> tiles_of(int64_t heads, int64_t channels, bool shared = false, int most = 16) {
  const bool few = !has_all_tiles<S, I>();
  constexpr int WIDE = widest<acc_t<S>>(), LEAST = narrowest<S>();
  if (!shared) return tiles(heads, channels, WIDE, LEAST, few, most);
  std::vector<Tile> plan;
  for (int64_t h = 0; h < heads; h++)
    for (Tile tile : tiles(1, channels, WIDE, LEAST, few, most)) {
      tile.lane += h * channels, tile.head = h;
      plan.push_back(tile);
    }
  return plan;
}

// Inner products of the rows of two signals, added up as a walk with the same plan adds up those of its edges. Where all
// the weight of a row is on equal senders, <grad, y> is then the very number that each edge has, and cancels.
template <class S, class I> struct RowProducts {
  using A = acc_t<S>;
  std::vector<I> numbers;  // 0, 1, 2, ...: an order in which every row has one edge, to the row of its number
  const std::vector<Tile>& plan;
  Walk<S, I> walk{};
  RowProducts(int64_t rows, const S* a, const S* b, int64_t heads, int64_t channels, const std::vector<Tile>& plan)
      : numbers(rows + 1), plan(plan) {
    for (int64_t i = 0; i <= rows; i++) numbers[i] = (I)i;
    walk.order = {numbers.data(), numbers.data(), nullptr, rows};
    walk.x = a, walk.own = b, walk.nodes = rows, walk.heads = heads, walk.lanes = heads * channels;
  }
  // to[(i - low) * stride + h] = <a[i, h, :], b[i, h, :]> for rows low..high
  void operator()(int64_t low, int64_t high, int64_t stride, A* to) const {
    constexpr int64_t ROWS = 256;
    std::vector<A> block(ROWS * walk.heads + 64);
    for (int64_t first = low; first < high; first += ROWS) {
      const int64_t last = std::min(high, first + ROWS);
      Walk<S, I> part = walk;
      part.inner = block.data(), part.base = first;
      walk_rows<S, I, 0, DOT, true>(part, plan, first, last);
      for (int64_t i = first; i < last; i++)
        memcpy(to + (i - low) * stride, block.data() + (i - first) * walk.heads, walk.heads * sizeof(A));
    }
  }
};

}  // namespace edgenet
