// segment_softmax over the in-edges of every node, and its backward pass.
#include "../../native/softmax.h"

using namespace edgenet;

namespace {

template <class S, class I>
void forward(parallel_for pool, const Order<I>& order, const S* score, S* p, int64_t heads) {
  using A = acc_t<S>;
  for_rows(pool, order.ptr[order.rows] * heads * 8, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    Buffer<A> numbers, tops;
    for_blocks(order, low, high, BLOCK / heads, [&](int64_t first, int64_t last, int64_t base, int64_t edges) {
      A *block = numbers.get(edges * heads), *top = tops.get((last - first) * heads);
      for (int64_t k = 0; k < edges; k++)
        for (int64_t h = 0; h < heads; h++) block[k * heads + h] = widen(score[order.id(base + k) * heads + h]);
      softmax_block<A, I>(order, first, last, heads, block, top, nullptr);
      for (int64_t k = 0; k < edges; k++)
        for (int64_t h = 0; h < heads; h++) narrow(block[k * heads + h], p + order.id(base + k) * heads + h);
    });
  });
}

template <class S, class I>
void backward(parallel_for pool, const Order<I>& order, const S* p, const S* grad, S* out, int64_t heads) {
  using A = acc_t<S>;
  for_rows(pool, order.ptr[order.rows] * heads * 4, order.ptr, order.rows, [&](int64_t, int64_t low, int64_t high) {
    std::vector<A> mean(heads);
    for (int64_t i = low; i < high; i++) {
      std::fill(mean.begin(), mean.end(), A(0));
      for (int64_t k = order.ptr[i]; k < (int64_t)order.ptr[i + 1]; k++)
        for (int64_t h = 0, at = order.id(k) * heads; h < heads; h++) mean[h] += widen(p[at + h]) * widen(grad[at + h]);
      for (int64_t k = order.ptr[i]; k < (int64_t)order.ptr[i + 1]; k++)
        for (int64_t h = 0, at = order.id(k) * heads; h < heads; h++)
          narrow(widen(p[at + h]) * (widen(grad[at + h]) - mean[h]), out + at + h);
    }
  });
}

template <class S, class I>
void run(parallel_for pool, const void* ptr, const void* edge, int64_t rows, const void* score, const void* grad,
         void* out, int64_t heads) {
  Order<I> order{(const I*)ptr, nullptr, (const I*)edge, rows};
  if (grad) backward<S, I>(pool, order, (const S*)score, (const S*)grad, (S*)out, heads);
  else forward<S, I>(pool, order, (const S*)score, (S*)out, heads);
}

}  // namespace

// Forward where `grad` is null; else `score` holds the forward's result.
extern "C" int edgenet_segment_softmax(parallel_for pool, int dtype, int wide, const void* ptr, const void* edge,
                                        int64_t rows, const void* score, const void* grad, void* out, int64_t heads) {
#define EDGENET_RUN(S, I) run<S, I>(pool, ptr, edge, rows, score, grad, out, heads)
  return EDGENET_DISPATCH(EDGENET_RUN);
#undef EDGENET_RUN
}
