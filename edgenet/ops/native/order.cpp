// The two sort orders of a graph, by counting: linear in edges and nodes, stable.
#include "rows.h"

using namespace edgenet;

namespace {

// returns whether the edges stand in this order already
template <class I> bool sort(int64_t rows, int64_t edges, const int64_t* end, const int64_t* other_end, I* ptr, I* other, I* edge) {
  std::fill(ptr, ptr + rows + 1, I(0));
  bool sorted = true;
  for (int64_t e = 0; e < edges; e++) {
    ptr[end[e] + 1]++;
    sorted = sorted && (e == 0 || end[e - 1] <= end[e]);
  }
  for (int64_t i = 0; i < rows; i++) ptr[i + 1] += ptr[i];
  if (sorted) {
    for (int64_t e = 0; e < edges; e++) other[e] = (I)other_end[e], edge[e] = (I)e;
    return true;
  }
  std::unique_ptr<I[]> next(new I[rows + 1]);
  std::copy(ptr, ptr + rows + 1, next.get());
  for (int64_t e = 0; e < edges; e++) {
    const int64_t k = next[end[e]]++;
    other[k] = (I)other_end[e], edge[k] = (I)e;
  }
  return sorted;
}

}  // namespace

// ptr (rows + 1), other (edges), edge (edges): row by row, the node at the other end and the column in edge_index.
// Returns 1 where `edge` is 0, 1, 2, ... Indices must be in range.
extern "C" int edgenet_sort(int wide, int64_t rows, int64_t edges, const int64_t* end, const int64_t* other_end,
                            void* ptr, void* other, void* edge) {
  if (wide) return sort<int64_t>(rows, edges, end, other_end, (int64_t*)ptr, (int64_t*)other, (int64_t*)edge);
  return sort<int32_t>(rows, edges, end, other_end, (int32_t*)ptr, (int32_t*)other, (int32_t*)edge);
}
