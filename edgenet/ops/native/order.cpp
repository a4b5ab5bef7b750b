// The two sort orders of a graph, by counting: linear in edges and nodes, stable.
#include "rows.h"

using namespace edgenet;

namespace {

// returns 1 if the edges stand in this order already, else 0; -1 if an index is out of range
template <class I>
int sort(int64_t rows, int64_t nodes, int64_t edges, const int64_t* end, const int64_t* other_end, I* ptr, I* other,
         I* edge) {
  std::fill(ptr, ptr + rows + 1, I(0));
  bool sorted = true;
  for (int64_t e = 0; e < edges; e++) {
    // they were checked before, but memory that is shared with others may have changed
    if (end[e] < 0 || end[e] >= rows || other_end[e] < 0 || other_end[e] >= nodes) return -1;
    ptr[end[e] + 1]++;
    sorted = sorted && (e == 0 || end[e - 1] <= end[e]);
  }
  for (int64_t i = 0; i < rows; i++) ptr[i + 1] += ptr[i];
  if (sorted) {
    for (int64_t e = 0; e < edges; e++) other[e] = (I)other_end[e], edge[e] = (I)e;
    return 1;
  }
  std::unique_ptr<I[]> next(new I[rows + 1]);
  std::copy(ptr, ptr + rows + 1, next.get());
  for (int64_t e = 0; e < edges; e++) {
    const int64_t k = next[end[e]]++;
    other[k] = (I)other_end[e], edge[k] = (I)e;
  }
  return 0;
}

}  // namespace

// What the functions take and mean; edgenet/ops/native/__init__.py has the same number. An object of another is not loaded.
extern "C" int edgenet_abi() { return 6; }

// ptr (rows + 1), other (edges), edge (edges): row by row, the node at the other end and the column in edge_index.
// Returns 1 where `edge` is 0, 1, 2, ..., else 0; -1 if an index is out of range, and nothing is to be used.
extern "C" int edgenet_sort(int wide, int64_t rows, int64_t nodes, int64_t edges, const int64_t* end,
                            const int64_t* other_end, void* ptr, void* other, void* edge) {
  if (wide) return sort<int64_t>(rows, nodes, edges, end, other_end, (int64_t*)ptr, (int64_t*)other, (int64_t*)edge);
  return sort<int32_t>(rows, nodes, edges, end, other_end, (int32_t*)ptr, (int32_t*)other, (int32_t*)edge);
}
