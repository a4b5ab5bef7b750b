// Softmax over the edges of each row, for blocks of rows whose numbers fit into the nearer caches.
//
// Numbers of an edge stand together, (edges, heads). Heads are taken eight, four or one at a time; exp goes over a
// whole block at once, whatever the heads.
#pragma once
#include "rows.h"

namespace edgenet {

constexpr int64_t BLOCK = 4096;  // numbers of a block, unless one row alone has more

template <class A> static inline A negative_infinity() { return -std::numeric_limits<A>::infinity(); }

// body(group, first head) for the heads in groups of 8, 4 and 1
template <class F> static inline void for_heads(int64_t heads, F body) {
  int64_t h = 0;
  for (; h + 8 <= heads; h += 8) body(std::integral_constant<int, 8>(), h);
  for (; h + 4 <= heads; h += 4) body(std::integral_constant<int, 4>(), h);
  for (; h < heads; h++) body(std::integral_constant<int, 1>(), h);
}

// body(first row, end row, position of the first edge, edges) for blocks of rows that have at most `limit` edges
template <class I, class F>
static void for_blocks(const Order<I>& order, int64_t low, int64_t high, int64_t limit, F body) {
  for (int64_t first = low; first < high;) {
    int64_t last = first + 1;
    while (last < high && (int64_t)(order.ptr[last + 1] - order.ptr[first]) <= limit) last++;
    body(first, last, (int64_t)order.ptr[first], (int64_t)(order.ptr[last] - order.ptr[first]));
    first = last;
  }
}

// a buffer that grows and is not filled, with room for a vector behind its end
template <class A> struct Buffer {
  std::unique_ptr<A[]> numbers;
  int64_t room = -1;  // a block without edges gets a buffer too
  A* get(int64_t n) {
    if (n > room) {
      room = std::max<int64_t>(n, BLOCK);
      numbers.reset(new A[room + 64]);
      std::fill(numbers.get() + room, numbers.get() + room + 64, A(0));
    }
    std::fill(numbers.get() + n, numbers.get() + n + 16, A(0));  // exp runs over the end
    return numbers.get();
  }
};

// divide the weights of a row by their sum z, and keep that
template <class A, int G>
static inline void normalise(A* begin, A* end, int64_t heads, vec<A, G> z, A* total) {
  using V = vec<A, G>;
  const V scale = z == V{} ? V{} : A(1) / z;
  for (A* p = begin; p < end; p += heads) store<A, G>(p, load<A, G>(p) * scale);
  if (total) store<A, G>(total, z);
}

// Below this many heads exp goes over all numbers of a block at once; from here on over the heads of an edge.
constexpr int64_t MANY_HEADS = 4;

// Scores -> weights in place, for rows first..last of a block. top (last - first, heads) gets the largest score of each
// row, 0 where all are -inf or none is; total, likewise or null, the sum of exp(score - top).
template <class A, class I>
static void softmax_block(const Order<I>& order, int64_t first, int64_t last, int64_t heads, A* score, A* top,
                          A* total) {
  const int64_t base = order.ptr[first], edges = order.ptr[last] - base;
  const bool few = heads < MANY_HEADS;
  for_heads(heads, [&](auto group, int64_t h) {
    constexpr int G = group;
    using V = vec<A, G>;
    for (int64_t i = first; i < last; i++) {
      A *begin = score + (order.ptr[i] - base) * heads + h, *end = score + (order.ptr[i + 1] - base) * heads + h;
      V most = V{} + negative_infinity<A>();
      for (A* p = begin; p < end; p += heads) {
        V v = load<A, G>(p);
        most = most > v ? most : v;
      }
      most = most == negative_infinity<A>() ? V{} : most;  // all -inf: weights 0, not NaN
      V z = {};
      if (few)
        for (A* p = begin; p < end; p += heads) store<A, G>(p, load<A, G>(p) - most);
      else
        for (A* p = begin; p < end; p += heads) {
          V w = exp_of<A, G>(load<A, G>(p) - most);
          z += w;
          store<A, G>(p, w);
        }
      store<A, G>(top + (i - first) * heads + h, most);
      if (!few) normalise<A, G>(begin, end, heads, z, total ? total + (i - first) * heads + h : nullptr);
    }
  });
  if (!few) return;
  exp_all(score, edges * heads);
  for (int64_t i = first; i < last; i++)
    for (int64_t h = 0; h < heads; h++) {
      A *begin = score + (order.ptr[i] - base) * heads + h, *end = score + (order.ptr[i + 1] - base) * heads + h;
      vec<A, 1> z = {};
      for (A* p = begin; p < end; p += heads) z += *p;
      normalise<A, 1>(begin, end, heads, z, total ? total + (i - first) * heads + h : nullptr);
    }
}

// What backward reads of a row's softmax, to `to` and `to + heads`: its largest score, and the log of the sum beyond it
// (0 where there is none). A weight is exp((score - top) - log): their sum, one number, would lose the digits of the log
// where scores are large.
template <class A> static inline void softmax_record(const A* top, const A* total, int64_t heads, A* to) {
  memcpy(to, top, heads * sizeof(A));
  for_heads(heads, [&](auto group, int64_t h) {
    constexpr int G = group;
    using V = vec<A, G>;
    const V z = load<A, G>(total + h);
    store<A, G>(to + heads + h, z == V{} ? V{} : log_of<A, G>(z));
  });
}

// What p (inner - delta), the gradient of a score, has for p: 0 where the weight is all of its row. There both are the
// same number, and the rounding of two sums would be left of them, as large as the signals are; 0 * NaN stays NaN.
template <class A, int G> static inline vec<A, G> unless_all(vec<A, G> p) {
  const vec<A, G> one = vec<A, G>{} + A(1);
  return p == one ? vec<A, G>{} : p;
}

// numbers[k, h] *= the dropout factor of the block's edges, which go to `factor`. Both have a vector's room behind their
// end, and numbers stand there that may be multiplied.
template <class A, class I>
static void drop(const Dropout& dropout, const Order<I>& order, int64_t base, int64_t edges, int64_t heads, A* numbers,
                 A* factor) {
  constexpr int VL = widest<float>();
  const int64_t n = edges * heads;
  if (((int64_t)order.ptr[order.rows] * heads) >> 32) {  // positions of several pairs of keys
    for (int64_t k = 0; k < edges; k++)
      for (int64_t h = 0; h < heads; h++) {
        factor[k * heads + h] = dropout.factor<A>((uint64_t)order.id(base + k) * heads + h);
        numbers[k * heads + h] *= factor[k * heads + h];
      }
    return;
  }
  uint32_t* position = (uint32_t*)factor;  // which take half of its room or all: from the end on, each gives way
  for_heads(heads, [&](auto group, int64_t h) {
    constexpr int G = group;
    vec<uint32_t, G> head;
    for (int i = 0; i < G; i++) head[i] = (uint32_t)(h + i);
    for (int64_t k = 0; k < edges; k++)
      store<uint32_t, G>(position + k * heads + h, head + (uint32_t)(order.id(base + k) * heads));
  });
  const Keys keys = dropout.keys(0);
  for (int64_t t = (n - 1) / VL * VL; t >= 0; t -= VL) {
    const vec<A, VL> f = dropout.factors<A, VL>(load<uint32_t, VL>(position + t), keys);
    store<A, VL>(factor + t, f);
    store<A, VL>(numbers + t, load<A, VL>(numbers + t) * f);
  }
}

// numbers[k, h] *= factor[id of k, h], for a block's edges
template <class A, class S, class I>
static void times_edges(const S* factor, const Order<I>& order, int64_t base, int64_t edges, int64_t heads, A* numbers) {
  for_heads(heads, [&](auto group, int64_t h) {
    constexpr int G = group;
    for (int64_t k = 0; k < edges; k++) {
      A* number = numbers + k * heads + h;
      store<A, G>(number, load<A, G>(number) * load<A, G>(factor + order.id(base + k) * heads + h));
    }
  });
}

// What a block's edges have for their factors: grad[id of k, h] = weight[k, h] inner[k, h], and inner *= factor
template <class A, class S, class I>
static void of_factors(const S* factor, const Order<I>& order, int64_t base, int64_t edges, int64_t heads,
                       const A* weight, A* inner, S* grad) {
  for_heads(heads, [&](auto group, int64_t h) {
    constexpr int G = group;
    for (int64_t k = 0; k < edges; k++) {
      const int64_t id = order.id(base + k) * heads + h;
      const vec<A, G> own = load<A, G>(inner + k * heads + h);
      if (grad) store<A, G>(grad + id, load<A, G>(weight + k * heads + h) * own);
      store<A, G>(inner + k * heads + h, own * load<A, G>(factor + id));
    }
  });
}

// out[i, h] = sum over the edges k of row i of number[at[k], h]: what the other order wrote, summed in this one
template <class A, class S, class I>
static void sum_rows(parallel_for pool, const Order<I>& order, const I* at, int64_t heads, const A* number, S* out) {
  for_rows(pool, order.ptr[order.rows] * heads, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    const int64_t end = order.ptr[high];
    for_heads(heads, [&](auto group, int64_t h) {
      constexpr int G = group;
      for (int64_t i = low; i < high; i++) {
        vec<A, G> sum = {};
        for (int64_t k = order.ptr[i]; k < (int64_t)order.ptr[i + 1]; k++) {
          if (k + 48 < end) __builtin_prefetch(number + (int64_t)at[k + 48] * heads + h, 0, 2);
          sum += load<A, G>(number + (int64_t)at[k] * heads + h);
        }
        store<A, G>(out + i * heads + h, sum);
      }
    });
  });
}

// to[k, :] = from[at[k], :] for `count` rows of `width` numbers; `at` goes on for `more` rows
template <class A, class I>
static void gather_rows(const A* from, const I* at, int64_t count, int64_t more, int64_t width, A* to) {
  for (int64_t k = 0; k < count; k++) {
    if (k + 48 < more) prefetch<3>(from + (int64_t)at[k + 48] * width, width * sizeof(A));
    memcpy(to + k * width, from + (int64_t)at[k] * width, width * sizeof(A));
  }
}

}  // namespace edgenet
