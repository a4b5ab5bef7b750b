// The two sort orders of a graph, by counting: linear in edges and nodes, stable.
#include "rows.h"

using namespace edgenet;

namespace {

// One end of the edges, each number read once, and checked as it was read: memory that is shared with others may change
// at any time. Null if a number is not in [0, nodes).
template <class I> std::unique_ptr<I[]> checked(const int64_t* end, int64_t edges, int64_t nodes) {
  std::unique_ptr<I[]> copy(new I[edges]);
  for (int64_t e = 0; e < edges; e++) {
    const int64_t node = __atomic_load_n(end + e, __ATOMIC_RELAXED);
    if (node < 0 || node >= nodes) return nullptr;
    copy[e] = (I)node;
  }
  return copy;
}

// returns 1 if the edges stand in this order already, else 0; NO_NODE if an index is out of range
template <class I>
int sort(int64_t rows, int64_t nodes, int64_t edges, const int64_t* end, const int64_t* other_end, I* ptr, I* other,
         I* edge) {
  const std::unique_ptr<I[]> mine = checked<I>(end, edges, rows), there = checked<I>(other_end, edges, nodes);
  if (!mine || !there) return NO_NODE;
  std::fill(ptr, ptr + rows + 1, I(0));
  bool sorted = true;
  for (int64_t e = 0; e < edges; e++) {
    ptr[mine[e] + 1]++;
    sorted = sorted && (e == 0 || mine[e - 1] <= mine[e]);
  }
  for (int64_t i = 0; i < rows; i++) ptr[i + 1] += ptr[i];
  if (sorted) {
    for (int64_t e = 0; e < edges; e++) other[e] = there[e], edge[e] = (I)e;
    return 1;
  }
  std::unique_ptr<I[]> next(new I[rows + 1]);
  std::copy(ptr, ptr + rows + 1, next.get());
  for (int64_t e = 0; e < edges; e++) {
    const int64_t k = next[mine[e]]++;
    other[k] = there[e], edge[k] = (I)e;
  }
  return 0;
}

}  // namespace

// What the functions take and mean; edgenet/ops/native/__init__.py has the same number. An object of another is not loaded.
extern "C" int edgenet_abi() { return 8; }

// ptr (rows + 1), other (edges), edge (edges): row by row, the node at the other end and the column in edge_index.
// Returns 1 where `edge` is 0, 1, 2, ..., else 0; NO_NODE if an index is out of range, and nothing is to be used.
extern "C" int edgenet_sort(int wide, int64_t rows, int64_t nodes, int64_t edges, const int64_t* end,
                            const int64_t* other_end, void* ptr, void* other, void* edge) {
  return status_of([&]() -> int {
    if (wide) return sort(rows, nodes, edges, end, other_end, (int64_t*)ptr, (int64_t*)other, (int64_t*)edge);
    if (std::max({rows, nodes, edges}) >= std::numeric_limits<int32_t>::max()) throw std::invalid_argument("narrow");
    return sort(rows, nodes, edges, end, other_end, (int32_t*)ptr, (int32_t*)other, (int32_t*)edge);
  });
}
