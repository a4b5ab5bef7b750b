// GAT's attention in one pass: scores, softmax and sum. Kept are the largest score and the sum, per node and head.
#include "../../native/softmax.h"
#include "../../native/walk.h"

using namespace edgenet;

namespace {

template <class S, class I>
void forward(parallel_for pool, const Order<I>& order, int64_t nodes, const S* source, const S* target, const S* x,
             const S* added, const S* factor, S* out, acc_t<S>* top, acc_t<S>* total, double slope_,
             const Dropout& dropout, int64_t heads, int64_t channels, bool shared) {
  using A = acc_t<S>;
  const A slope = (A)slope_;
  const int64_t lanes = heads * channels;
  const std::vector<Tile> plan = tiles_of<S, I>(heads, channels, shared);
  for_rows(pool, order.ptr[order.rows] * lanes, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    Buffer<A> scores, kept;
    Walk<S, I> walk{};
    walk.order = order, walk.x = x, walk.out = out, walk.heads = heads, walk.lanes = lanes, walk.nodes = nodes;
    walk.x_shared = shared;
    const int64_t all = order.ptr[order.rows];
    for_blocks(order, low, high, BLOCK / heads, [&](int64_t first, int64_t last, int64_t base, int64_t edges) {
      A* score = scores.get(edges * heads);
      for_heads(heads, [&](auto group, int64_t h) {
        constexpr int G = group;
        using V = vec<A, G>;
        for (int64_t i = first; i < last; i++) {
          V there = target ? load<A, G>(target + i * heads + h) : V{};
          for (int64_t k = order.ptr[i]; k < (int64_t)order.ptr[i + 1]; k++) {
            if (k + 64 < all) __builtin_prefetch(source + (int64_t)order.other[k + 64] * heads + h, 0, 2);
            V v = load<A, G>(source + (int64_t)order.other[k] * heads + h) + there;
            if (added) v += load<A, G>(added + order.id(k) * heads + h);
            store<A, G>(score + (k - base) * heads + h, v > V{} ? v : v * slope);
          }
        }
      });
      softmax_block<A, I>(order, first, last, heads, score, top + first * heads, total + first * heads);
      if (!dropout.off) drop<A, I>(dropout, order, base, edges, heads, score, kept.get(edges * heads));
      if (factor) times_edges(factor, order, base, edges, heads, score);
      walk.alpha = score, walk.base = base;
      walk_rows<S, I, 1, SUM, true>(walk, plan, first, last);
    });
  });
}

// One pass over the source order, which gathers the gradient once, and a short one that sums the scores' by target.
template <class S, class I>
void backward(parallel_for pool, const Order<I>& by_target, const Order<I>& by_source, const I* at, const S* source,
              const S* target, const S* x, const S* added, const S* factor, const S* y, const acc_t<S>* top,
              const acc_t<S>* total, const S* grad, S* grad_source, S* grad_target, S* grad_x, S* grad_added,
              S* grad_factor, double slope_, const Dropout& dropout, int64_t heads, int64_t channels, bool shared) {
  using A = acc_t<S>;
  const A slope = (A)slope_;
  const int64_t lanes = heads * channels, edges_all = by_target.ptr[by_target.rows];
  // what an edge reads of its target, side by side: score, largest score of all, log of the sum, <y, grad>
  const Scratch<A> record(by_target.rows * 4 * heads);
  const std::vector<Tile> plan = tiles_of<S, I>(heads, channels, shared);
  const RowProducts<S, I> products(by_target.rows, grad, y, heads, channels, plan);
  const Scratch<A> score_grad(grad_target ? edges_all * heads : -1);  // in the source order
  for_rows(pool, by_target.rows * lanes, by_target.ptr, by_target.rows, [&](int64_t, int64_t low, int64_t high) {
    for (int64_t i = low; i < high; i++) {
      A* r = record.get() + i * 4 * heads;
      for (int64_t h = 0; h < heads; h++) r[h] = target ? widen(target[i * heads + h]) : A(0);
      softmax_record(top + i * heads, total + i * heads, heads, r + heads);
    }
    products(low, high, 4 * heads, record.get() + low * 4 * heads + 3 * heads);
  });
  const Order<I>& order = by_source;
  for_rows(pool, edges_all * lanes, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    Buffer<A> weights, slopes, deltas, inners, factors, dropped;
    const bool few = heads < MANY_HEADS;
    Walk<S, I> walk{};
    walk.order = order, walk.x = grad, walk.own = x, walk.out = grad_x, walk.heads = heads, walk.lanes = lanes;
    walk.nodes = by_target.rows, walk.own_shared = shared;
    for_blocks(order, low, high, BLOCK / heads, [&](int64_t first, int64_t last, int64_t base, int64_t edges) {
      const int64_t n = edges * heads;
      A *p = weights.get(n), *bend = slopes.get(n), *delta = deltas.get(n), *inner = inners.get(n);
      for_heads(heads, [&](auto group, int64_t h) {
        constexpr int G = group;
        using V = vec<A, G>;
        for (int64_t j = first; j < last; j++) {
          const V mine = load<A, G>(source + j * heads + h);
          for (int64_t k = order.ptr[j]; k < (int64_t)order.ptr[j + 1]; k++) {
            if (k + 64 < edges_all)
              prefetch<2>(record.get() + (int64_t)order.other[k + 64] * 4 * heads + h, 3 * heads * sizeof(A) + 1);
            const A* r = record.get() + (int64_t)order.other[k] * 4 * heads + h;
            const int64_t place = (k - base) * heads + h;
            V v = load<A, G>(r) + mine;
            if (added) v += load<A, G>(added + order.id(k) * heads + h);
            store<A, G>(bend + place, v > V{} ? V{} + A(1) : V{} + slope);
            // rounded before anything is subtracted, as forward's was: a fused multiply-subtract would not cancel
            const V grown = v > V{} ? v : v * slope;
            const V weight = (grown - load<A, G>(r + heads)) - load<A, G>(r + 2 * heads);
            store<A, G>(p + place, few ? weight : exp_of<A, G>(weight));
            store<A, G>(delta + place, load<A, G>(r + 3 * heads));
          }
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
      walk.alpha = alpha, walk.inner = inner, walk.base = base;
      walk_rows<S, I, 1, SUM | DOT, true>(walk, plan, first, last);
      if (kept)
        for (int64_t t = 0; t < n; t++) inner[t] *= kept[t];
      if (factor) of_factors(factor, order, base, edges, heads, p, inner, grad_factor);
      for_heads(heads, [&](auto group, int64_t h) {
        constexpr int G = group;
        using V = vec<A, G>;
        for (int64_t j = first; j < last; j++) {
          V sum = {};
          for (int64_t k = order.ptr[j]; k < (int64_t)order.ptr[j + 1]; k++) {
            const int64_t place = (k - base) * heads + h;
            V d = unless_all<A, G>(load<A, G>(p + place)) * (load<A, G>(inner + place) - load<A, G>(delta + place));
            d *= load<A, G>(bend + place);
            sum += d;
            if (grad_added) store<A, G>(grad_added + order.id(k) * heads + h, d);
            if (grad_target) store<A, G>(score_grad.get() + k * heads + h, d);
          }
          store<A, G>(grad_source + j * heads + h, sum);
        }
      });
    });
  });
  if (grad_target) sum_rows<A, S, I>(pool, by_target, at, heads, score_grad.get(), grad_target);
}

}  // namespace

// added, factor: (E, H) what edges add to their scores, and multiply their weights by; each may be null. shared: all
// heads have the same x.
extern "C" int edgenet_attention(parallel_for pool, int dtype, int wide, const void* ptr, const void* other,
                                  const void* edge, int64_t rows, int64_t nodes, const void* source, const void* target,
                                  const void* x, const void* added, const void* factor, void* out, void* top,
                                  void* total, double slope, double dropout, uint64_t seed, int64_t heads,
                                  int64_t channels, int shared) {
  const Dropout drop(dropout, seed);
#define EDGENET_RUN(S, I)                                                                                    \
  forward<S, I>(pool, {(const I*)ptr, (const I*)other, (const I*)edge, rows}, nodes, (const S*)source,       \
                (const S*)target, (const S*)x, (const S*)added, (const S*)factor, (S*)out, (acc_t<S>*)top,    \
                (acc_t<S>*)total, slope, drop, heads, channels, shared)
  return EDGENET_DISPATCH(EDGENET_RUN);
#undef EDGENET_RUN
}

// `at`: for every edge in target order, its place in source order. GATv2's functions take the same arguments.
extern "C" int edgenet_attention_backward(
    parallel_for pool, int dtype, int wide, const void* target_ptr, const void* target_other, int64_t target_rows,
    const void* source_ptr, const void* source_other, const void* source_edge, int64_t source_rows, const void* at,
    const void* source, const void* target, const void* x, const void* added, const void* factor, const void* y,
    const void* top, const void* total, const void* grad, void* grad_source, void* grad_target, void* grad_x,
    void* grad_added, void* grad_factor, double slope, double dropout, uint64_t seed, int64_t heads, int64_t channels,
    int shared) {
  const Dropout drop(dropout, seed);
#define EDGENET_RUN(S, I)                                                                                       \
  backward<S, I>(pool, {(const I*)target_ptr, (const I*)target_other, nullptr, target_rows},                    \
                 {(const I*)source_ptr, (const I*)source_other, (const I*)source_edge, source_rows},            \
                 (const I*)at, (const S*)source, (const S*)target, (const S*)x, (const S*)added,                \
                 (const S*)factor, (const S*)y, (const acc_t<S>*)top, (const acc_t<S>*)total, (const S*)grad,   \
                 (S*)grad_source, (S*)grad_target, (S*)grad_x, (S*)grad_added, (S*)grad_factor, slope, drop,    \
                 heads, channels, shared)
  return EDGENET_DISPATCH(EDGENET_RUN);
#undef EDGENET_RUN
}
