// GATv2's attention: scores from both signals of an edge, softmax and sum. Kept are the largest score and the sum.
#include "../../native/softmax.h"
#include "../../native/walk.h"

using namespace edgenet;

namespace {

// rows of a block: their numbers, and the signals they gather, stay in the second cache
template <class S> static int64_t block_edges(int64_t heads, int64_t lanes) {
  return std::max<int64_t>(1, std::min<int64_t>(BLOCK / heads, (512 << 10) / (lanes * (int64_t)sizeof(S))));
}

template <class S, class I>
Walk<S, I> walk_of(const Order<I>& order, int64_t nodes, const S* gathered, const S* own, const acc_t<S>* att,
                   double slope, int64_t heads, int64_t channels) {
  Walk<S, I> walk{};
  walk.order = order, walk.nodes = nodes, walk.x = gathered, walk.own = own, walk.att = att;
  walk.slope = (acc_t<S>)slope, walk.heads = heads, walk.lanes = heads * channels;
  return walk;
}

template <class S, class I>
void forward(parallel_for pool, const Order<I>& order, int64_t nodes, const S* x, const S* target, const acc_t<S>* att,
             const S* factor, S* out, acc_t<S>* top, acc_t<S>* total, double slope, const Dropout& dropout, int64_t heads,
             int64_t channels) {
  using A = acc_t<S>;
  const int64_t lanes = heads * channels;
  const std::vector<Tile> plan = tiles_of<S, I>(heads, channels), scored = tiles_of<S, I>(heads, channels, false, 8);
  for_rows(pool, order.ptr[order.rows] * lanes, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    Buffer<A> buffer, kept;
    Walk<S, I> walk = walk_of<S, I>(order, nodes, x, target, att, slope, heads, channels);
    walk.out = out;
    for_blocks(order, low, high, block_edges<S>(heads, lanes), [&](int64_t first, int64_t last, int64_t base, int64_t edges) {
      A* score = buffer.get(edges * heads);
      walk.alpha = walk.inner = score, walk.base = base;
      walk_rows<S, I, 0, SCORE, true>(walk, scored, first, last);
      softmax_block<A, I>(order, first, last, heads, score, top + first * heads, total + first * heads);
      if (!dropout.off) drop<A, I>(dropout, order, base, edges, heads, score, kept.get(edges * heads));
      if (factor) times_edges(factor, order, base, edges, heads, score);
      walk_rows<S, I, 1, SUM, true>(walk, plan, first, last);
    });
  });
}

// A pass over the source order computes the weights anew and gathers the gradient; one over the target order sums what
// belongs to the targets.
template <class S, class I>
void backward(parallel_for pool, const Order<I>& by_target, const Order<I>& by_source, const I* at, const S* x,
              const S* target, const acc_t<S>* att, const S* factor, const S* y, const acc_t<S>* top,
              const acc_t<S>* total, const S* grad, S* grad_x, S* grad_target, acc_t<S>* grad_att, S* grad_factor,
              double slope, const Dropout& dropout, int64_t heads, int64_t channels) {
  using A = acc_t<S>;
  const int64_t lanes = heads * channels, edges_all = by_target.ptr[by_target.rows];
  // what an edge reads of its target, side by side: its largest score, log of the sum, <y, grad>
  const Scratch<A> record(by_target.rows * 3 * heads);
  const Scratch<A> score_grad(edges_all * heads);  // in the source order
  std::vector<A> att_parts(CHUNKS * lanes, A(0));
  const std::vector<Tile> plan = tiles_of<S, I>(heads, channels), scored = tiles_of<S, I>(heads, channels, false, 8);
  const RowProducts<S, I> products(by_target.rows, grad, y, heads, channels, plan);
  for_rows(pool, by_target.rows * lanes, by_target.ptr, by_target.rows, [&](int64_t, int64_t low, int64_t high) {
    for (int64_t i = low; i < high; i++) {
      A* r = record.get() + i * 3 * heads;
      softmax_record(top + i * heads, total + i * heads, heads, r);
    }
    products(low, high, 3 * heads, record.get() + low * 3 * heads + 2 * heads);
  });
  const Order<I>& order = by_source;
  for_rows(pool, edges_all * lanes, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    Buffer<A> weights, deltas, inners, factors, dropped;
    const bool few = heads < MANY_HEADS;
    Walk<S, I> bends = walk_of<S, I>(order, by_target.rows, target, x, att, slope, heads, channels);
    Walk<S, I> walk = walk_of<S, I>(order, by_target.rows, grad, x, att, slope, heads, channels);
    walk.out = bends.out = grad_x, bends.adds = true;
    for_blocks(order, low, high, block_edges<S>(heads, lanes), [&](int64_t first, int64_t last, int64_t base, int64_t edges) {
      const int64_t n = edges * heads;
      A *p = weights.get(n), *delta = deltas.get(n), *inner = inners.get(n);
      bends.inner = p, bends.base = walk.base = base;
      walk_rows<S, I, 0, SCORE, true>(bends, scored, first, last);
      for_heads(heads, [&](auto group, int64_t h) {
        constexpr int G = group;
        for (int64_t k = 0; k < edges; k++) {
          if (base + k + 64 < edges_all)
            prefetch<2>(record.get() + (int64_t)order.other[base + k + 64] * 3 * heads + h, 2 * heads * sizeof(A) + 1);
          const A* r = record.get() + (int64_t)order.other[base + k] * 3 * heads + h;
          const vec<A, G> weight = (load<A, G>(p + k * heads + h) - load<A, G>(r)) - load<A, G>(r + heads);
          store<A, G>(p + k * heads + h, few ? weight : exp_of<A, G>(weight));
          store<A, G>(delta + k * heads + h, load<A, G>(r + 2 * heads));
        }
      });
      if (few) exp_all(p, n);
      A *kept = nullptr, *alpha = p;
      if (!dropout.off || factor) {
        alpha = dropped.get(n);
        memcpy(alpha, p, n * sizeof(A));
      }
      if (!dropout.off) drop<A, I>(dropout, order, base, edges, heads, alpha, kept = factors.get(n));
      if (factor) times_edges(factor, order, base, edges, heads, alpha);
      walk.alpha = alpha, walk.inner = inner;
      walk_rows<S, I, 1, SUM | DOT, true>(walk, plan, first, last);
      if (kept)
        for (int64_t t = 0; t < n; t++) inner[t] *= kept[t];
      if (factor) of_factors(factor, order, base, edges, heads, p, inner, grad_factor);
      A* d = score_grad.get() + base * heads;
      for (int64_t t = 0; t < n; t++) d[t] = (p[t] == A(1) ? A(0) : p[t]) * (inner[t] - delta[t]);  // see unless_all
      bends.alpha = d;
      walk_rows<S, I, 1, BEND, true>(bends, scored, first, last);
    });
  });
  for_rows(pool, edges_all * lanes, by_target.ptr, by_target.rows, [&](int64_t chunk, int64_t low, int64_t high) {
    Buffer<A> gathered;
    Walk<S, I> bends = walk_of<S, I>(by_target, by_source.rows, x, target, att, slope, heads, channels);
    bends.out = grad_target, bends.of_att = att_parts.data() + chunk * lanes;
    for_blocks(by_target, low, high, block_edges<S>(heads, lanes), [&](int64_t first, int64_t last, int64_t base, int64_t edges) {
      A* d = gathered.get(edges * heads);
      gather_rows(score_grad.get(), at + base, edges, edges_all - base, heads, d);
      bends.alpha = d, bends.base = base;
      walk_rows<S, I, 1, BEND | OF_ATT, true>(bends, scored, first, last);
    });
  });
  for (int64_t lane = 0; lane < lanes; lane++) {
    A sum = 0;
    for (int64_t chunk = 0; chunk < CHUNKS; chunk++) sum += att_parts[chunk * lanes + lane];
    grad_att[lane] = sum;
  }
}

}  // namespace

// att and grad_att have the accumulation type: float32 for bfloat16 signals. The last argument says what GAT's says:
// whether all heads have the same x, which is never so here.
extern "C" int edgenet_attention_v2(parallel_for pool, int dtype, int wide, const void* ptr, const void* other,
                                     const void* edge, int64_t rows, int64_t nodes, const void* x, const void* target,
                                     const void* att, const void*, const void* factor, void* out, void* top,
                                     void* total, double slope, double dropout, uint64_t seed, int64_t heads,
                                     int64_t channels, int) {
  const Dropout drop(dropout, seed);
#define EDGENET_RUN(S, I)                                                                                    \
  forward<S, I>(pool, {(const I*)ptr, (const I*)other, (const I*)edge, rows}, nodes, (const S*)x,            \
                (const S*)target, (const acc_t<S>*)att, (const S*)factor, (S*)out, (acc_t<S>*)top,           \
                (acc_t<S>*)total, slope, drop, heads, channels)
  return EDGENET_DISPATCH(EDGENET_RUN);
#undef EDGENET_RUN
}

// `at`: for every edge in target order, its place in source order.
extern "C" int edgenet_attention_v2_backward(
    parallel_for pool, int dtype, int wide, const void* target_ptr, const void* target_other, int64_t target_rows,
    const void* source_ptr, const void* source_other, const void* source_edge, int64_t source_rows, const void* at,
    const void* x, const void* target, const void* att, const void*, const void* factor, const void* y,
    const void* top, const void* total, const void* grad, void* grad_x, void* grad_target, void* grad_att, void*,
    void* grad_factor, double slope, double dropout, uint64_t seed, int64_t heads, int64_t channels, int) {
  const Dropout drop(dropout, seed);
#define EDGENET_RUN(S, I)                                                                                    \
  backward<S, I>(pool, {(const I*)target_ptr, (const I*)target_other, nullptr, target_rows},                 \
                 {(const I*)source_ptr, (const I*)source_other, (const I*)source_edge, source_rows},         \
                 (const I*)at, (const S*)x, (const S*)target, (const acc_t<S>*)att, (const S*)factor,        \
                 (const S*)y, (const acc_t<S>*)top, (const acc_t<S>*)total, (const S*)grad, (S*)grad_x,      \
                 (S*)grad_target, (acc_t<S>*)grad_att, (S*)grad_factor, slope, drop, heads, channels)
  return EDGENET_DISPATCH(EDGENET_RUN);
#undef EDGENET_RUN
}
