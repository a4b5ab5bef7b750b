// Neighbours drawn for many nodes, and sampled nodes numbered in the order in which they first appear. The numbers are
// those of reference.py, on any number of threads: a draw is a hash of the seed, the node's place and the draw.
#include "../../native/lines.h"

#include <utility>

using namespace edgenet;

namespace {

constexpr int64_t EMPTY = -1;

// as edgenet/ops/scrambled.py
inline uint64_t scrambled(uint64_t a, uint64_t b) {
  uint64_t h = a * 0x9E3779B97F4A7C15u + b * 0xBF58476D1CE4E5B9u;
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
  return h ^ (h >> 31);
}

// in (0, 1)
inline double uniform(uint64_t key, int64_t draw) { return ((double)(scrambled(key, draw) >> 11) + 0.5) * 0x1p-53; }
inline int64_t below(uint64_t key, int64_t draw, int64_t n) {
  return std::min(n - 1, (int64_t)(uniform(key, draw) * (double)n));
}

// Floyd's: every set of `count` of the numbers below n is as likely as any other
void without_replacement(uint64_t key, int64_t n, int64_t count, int64_t* out, std::vector<int64_t>& slots) {
  const bool few = count <= 32;  // looked through one by one
  uint64_t mask = 63;
  if (!few) {
    while ((int64_t)mask < 2 * count) mask = mask * 2 + 1;
    slots.assign(mask + 1, EMPTY);
  }
  auto place = [&](int64_t value) {  // where it stands, or is to stand
    uint64_t at = scrambled(value, 1) & mask;
    while (slots[at] != EMPTY && slots[at] != value) at = (at + 1) & mask;
    return at;
  };
  for (int64_t d = 0; d < count; d++) {
    const int64_t last = n - count + d, drawn = below(key, d, last + 1);
    const bool taken = few ? std::find(out, out + d, drawn) != out + d : slots[place(drawn)] == drawn;
    out[d] = taken ? last : drawn;
    if (!few) slots[place(out[d])] = out[d];
  }
}

// Efraimidis and Spirakis 2006: the smallest of -log(u) / weight are drawn one after the other by weight
void by_weight(uint64_t key, const double* weight, int64_t n, int64_t count, int64_t* out,
               std::vector<std::pair<double, int64_t>>& keys) {
  keys.resize(n);
  for (int64_t p = 0; p < n; p++) keys[p] = {-std::log(uniform(key, p)) / weight[p], p};
  std::partial_sort(keys.begin(), keys.begin() + count, keys.end());
  for (int64_t d = 0; d < count; d++) out[d] = keys[d].second;
}

void by_weight_replaced(uint64_t key, const double* weight, int64_t n, int64_t count, int64_t* out,
                        std::vector<double>& sums) {
  sums.resize(n);
  double sum = 0;
  for (int64_t p = 0; p < n; p++) sums[p] = sum += weight[p];
  for (int64_t d = 0; d < count; d++) {
    const int64_t at = std::upper_bound(sums.begin(), sums.end(), uniform(key, d) * sum) - sums.begin();
    out[d] = std::min(at, n - 1);
  }
}

}  // namespace

// For each of `nodes` nodes i, ptr[i + 1] - ptr[i] of the places begin[i] to end[i] - 1, into out[ptr[i]]...; all of them
// where as many are wanted and none is replaced. weight: of every place, or null.
extern "C" int edgenet_sample_neighbors(parallel_for pool, int64_t nodes, const int64_t* begin, const int64_t* end,
                                        const int64_t* ptr, const double* weight, int replace, uint64_t seed,
                                        int64_t* out) {
  return status_of([&] {
    for_lines(pool, ptr[nodes] * 32, nodes, [&](int64_t low, int64_t high) {
      std::vector<int64_t> slots;
      std::vector<double> sums;
      std::vector<std::pair<double, int64_t>> keys;
      for (int64_t i = low; i < high; i++) {
        const int64_t n = end[i] - begin[i], count = ptr[i + 1] - ptr[i];
        int64_t* own = out + ptr[i];
        const uint64_t key = scrambled(seed, i);
        const double* weights = weight ? weight + begin[i] : nullptr;
        if (!count) continue;
        if (!replace && count == n)
          for (int64_t d = 0; d < n; d++) own[d] = d;
        else if (weights && replace) by_weight_replaced(key, weights, n, count, own, sums);
        else if (weights) by_weight(key, weights, n, count, own, keys);
        else if (replace)
          for (int64_t d = 0; d < count; d++) own[d] = below(key, d, n);
        else without_replacement(key, n, count, own, slots);
        for (int64_t d = 0; d < count; d++) own[d] += begin[i];
      }
    });
  });
}

// slots (capacity, 2): key and number; with `direct` the key is its own place, else capacity is a power of two and half
// of it stays empty. New keys get the numbers from `known` on, by first appearance or, with `by_place`, `known` plus
// their place; all numbers go into number (count), the places of new keys into first, and how many are new into `fresh`.
// Returns NO_NODE if a key is not in 0 to space - 1.
extern "C" int edgenet_number_nodes(int64_t* slots, int64_t capacity, int direct, int by_place, int64_t space,
                                    int64_t known, const int64_t* keys, int64_t count, int64_t* number,
                                    int64_t* first, int64_t* fresh) {
  int64_t made = 0;
  for (int64_t j = 0; j < count; j++) {
    const int64_t key = keys[j];
    if (key < 0 || key >= space) return NO_NODE;
    uint64_t at = direct ? (uint64_t)key : scrambled(key, 0) & (capacity - 1);
    while (slots[2 * at] != EMPTY && slots[2 * at] != key) at = (at + 1) & (capacity - 1);
    if (slots[2 * at] == EMPTY) {
      slots[2 * at] = key;
      slots[2 * at + 1] = known + (by_place ? j : made);
      first[made++] = j;
    }
    number[j] = slots[2 * at + 1];
  }
  *fresh = made;
  return DONE;
}
