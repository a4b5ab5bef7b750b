// spmm, its backward pass and sddmm: one walk over the edges of every row.
#include "walk.h"

using namespace edgenet;

namespace {

// Half precision: inner products of wide heads come in several tiles, whose sums are kept in float until they are whole.
template <class S, class I, int W, int DO>
void walk_blocks(Walk<S, I> walk, const std::vector<Tile>& plan, int64_t low, int64_t high) {
  using A = acc_t<S>;
  const Order<I>& order = walk.order;
  const int64_t heads = walk.heads;
  std::vector<A> alpha, inner;
  for (int64_t first = low; first < high;) {
    int64_t last = first + 1;
    while (last < high && order.ptr[last + 1] - order.ptr[first] <= 512) last++;
    const int64_t begin = order.ptr[first], edges = order.ptr[last] - begin;
    inner.resize(edges * heads);
    if constexpr (W != 0) {
      alpha.resize(edges * heads);
      for (int64_t k = 0; k < edges; k++)
        for (int64_t h = 0; h < heads; h++) alpha[k * heads + h] = widen(walk.weight[order.id(begin + k) * heads + h]);
    }
    walk.alpha = alpha.data(), walk.inner = inner.data(), walk.base = begin;
    walk_rows<S, I, W, DO, true>(walk, plan, first, last);
    for (int64_t k = 0; k < edges; k++)
      for (int64_t h = 0; h < heads; h++) narrow(inner[k * heads + h], walk.dot + order.id(begin + k) * heads + h);
    first = last;
  }
}

template <class S, class I, int W, int DO>
void walk_all(parallel_for pool, const Walk<S, I>& walk, const std::vector<Tile>& plan) {
  const int64_t work = walk.order.ptr[walk.order.rows] * walk.lanes;
  for_rows(pool, work, walk.order.ptr, walk.order.rows, [&](int64_t, int64_t low, int64_t high) {
    if constexpr ((DO & DOT) != 0 && !std::is_same<S, acc_t<S>>::value) walk_blocks<S, I, W, DO>(walk, plan, low, high);
    else walk_rows<S, I, W, DO, false>(walk, plan, low, high);
  });
}

template <class S, class I>
void run(parallel_for pool, const void* ptr, const void* other, const void* edge, int64_t rows, int64_t nodes,
         const void* weight, const void* x, const void* own, void* out, void* dot, int64_t heads, int64_t channels,
         int shared) {
  Walk<S, I> walk{};
  walk.order = {(const I*)ptr, (const I*)other, (const I*)edge, rows};
  walk.x = (const S*)x, walk.own = (const S*)own, walk.out = (S*)out, walk.weight = (const S*)weight;
  walk.dot = (S*)dot, walk.heads = heads, walk.lanes = heads * channels, walk.nodes = nodes;
  walk.x_shared = shared & 1, walk.own_shared = shared & 2;
  const std::vector<Tile> plan = tiles_of<S, I>(heads, channels, shared);
  if (out && dot && weight) walk_all<S, I, 1, SUM | DOT>(pool, walk, plan);
  else if (dot) walk_all<S, I, 0, DOT>(pool, walk, plan);
  else if (weight) walk_all<S, I, 1, SUM>(pool, walk, plan);
  else walk_all<S, I, 0, SUM>(pool, walk, plan);
}

}  // namespace

// dtype: 0 float32, 1 float64, 2 bfloat16; wide: indices are int64. `out` null: no sums; `dot` null: no inner products.
// shared: 1: all heads have the same x; 2: the same own signal, and `out` adds them up.
extern "C" int edgenet_walk(parallel_for pool, int dtype, int wide, const void* ptr, const void* other,
                             const void* edge, int64_t rows, int64_t nodes, const void* weight, const void* x,
                             const void* own, void* out, void* dot, int64_t heads, int64_t channels, int shared) {
#define EDGENET_RUN(S, I) \
  run<S, I>(pool, ptr, other, edge, rows, nodes, weight, x, own, out, dot, heads, channels, shared)
  return EDGENET_DISPATCH(EDGENET_RUN);
#undef EDGENET_RUN
}
