// The work at the gates of recurrent cells, one step of a batch: functions, the new state, and their derivatives.
#include "../../native/lines.h"

using namespace edgenet;

namespace {

constexpr int VL = widest<float>();
using V = vec<float, VL>;

inline V sigmoid(V x) { return 1.0f / (1.0f + exp_vector<VL>(-x)); }

// 1 - 2 / (exp(2x) + 1) loses digits near 0, where a series stands in
inline V tangent(V x) {
  V square = x * x;
  V p = square * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  V near = p * square * x + x;
  V far = 1.0f - 2.0f / (exp_vector<VL>(x + x) + 1.0f);
  return square < 0.390625f ? near : far;
}

inline V get(const float* p, int64_t count) {
  V v = {};
  if (count >= VL) memcpy(&v, p, sizeof v);
  else memcpy(&v, p, count * sizeof(float));
  return v;
}
inline void put(float* p, V v, int64_t count) { memcpy(p, &v, count >= VL ? sizeof v : count * sizeof(float)); }

// body(row, first number, how many are left) for every vector of a (batch, width) array; the status of that
template <class F> int for_vectors(parallel_for pool, int64_t batch, int64_t width, F body) {
  return status_of([&] {
    for_lines(pool, batch * width * 16, batch, [&](int64_t low, int64_t high) {
      for (int64_t row = low; row < high; row++) {
        int64_t k = 0;
        for (; k + VL <= width; k += VL) body(row, k, (int64_t)VL);
        if (k < width) body(row, k, width - k);
      }
    });
  });
}

}  // namespace

// z (batch, 4 width): sums of the gates i, f, g, o, then what their functions make of them. cell, made, tangents, out
// (batch, width); peepholes (3, width) or null.
extern "C" int edgenet_lstm_gates(parallel_for pool, float* z, const float* cell, float* made, float* tangents,
                                   float* out, const float* peepholes, int64_t batch, int64_t width) {
  return for_vectors(pool, batch, width, [&](int64_t row, int64_t k, int64_t count) {
    float* gates = z + row * 4 * width + k;
    const int64_t at = row * width + k;
    V before = get(cell + at, count), i = get(gates, count), f = get(gates + width, count);
    if (peepholes) {
      i += get(peepholes + k, count) * before;
      f += get(peepholes + width + k, count) * before;
    }
    i = sigmoid(i);
    f = sigmoid(f);
    V g = tangent(get(gates + 2 * width, count)), now = f * before + i * g, o = get(gates + 3 * width, count);
    if (peepholes) o += get(peepholes + 2 * width + k, count) * now;
    o = sigmoid(o);
    V narrow = tangent(now);
    put(gates, i, count);
    put(gates + width, f, count);
    put(gates + 2 * width, g, count);
    put(gates + 3 * width, o, count);
    put(made + at, now, count);
    put(tangents + at, narrow, count);
    put(out + at, o * narrow, count);
  });
}

// Gradients in the sums of the gates, into d_z, and in the cell before, in the place of that in the cell.
extern "C" int edgenet_lstm_gates_backward(parallel_for pool, const float* d_out, const float* z,
                                            const float* tangents, const float* before, float* d_cell, float* d_z,
                                            const float* peepholes, int64_t batch, int64_t width) {
  return for_vectors(pool, batch, width, [&](int64_t row, int64_t k, int64_t count) {
    const float* gates = z + row * 4 * width + k;
    float* d_gates = d_z + row * 4 * width + k;
    const int64_t at = row * width + k;
    V i = get(gates, count), f = get(gates + width, count), g = get(gates + 2 * width, count);
    V o = get(gates + 3 * width, count), t = get(tangents + at, count), d = get(d_out + at, count);
    V d_o = d * t * (o - o * o), d_c = get(d_cell + at, count) + d * o * (1.0f - t * t);
    if (peepholes) d_c += d_o * get(peepholes + 2 * width + k, count);
    V d_i = d_c * g * (i - i * i), d_f = d_c * get(before + at, count) * (f - f * f), d_before = d_c * f;
    if (peepholes) d_before += d_i * get(peepholes + k, count) + d_f * get(peepholes + width + k, count);
    put(d_gates, d_i, count);
    put(d_gates + width, d_f, count);
    put(d_gates + 2 * width, d_c * i * (1.0f - g * g), count);
    put(d_gates + 3 * width, d_o, count);
    put(d_cell + at, d_before, count);
  });
}

// inputs (batch, 3 width), mapped (batch, 3 width): b, whose first two thirds become r and z. made: n.
extern "C" int edgenet_gru_gates(parallel_for pool, const float* inputs, float* mapped, float* made,
                                  const float* hidden, float* out, int64_t batch, int64_t width) {
  return for_vectors(pool, batch, width, [&](int64_t row, int64_t k, int64_t count) {
    const float* a = inputs + row * 3 * width + k;
    float* b = mapped + row * 3 * width + k;
    const int64_t at = row * width + k;
    V r = sigmoid(get(a, count) + get(b, count)), z = sigmoid(get(a + width, count) + get(b + width, count));
    V n = tangent(get(a + 2 * width, count) + r * get(b + 2 * width, count));
    put(b, r, count);
    put(b + width, z, count);
    put(made + at, n, count);
    put(out + at, n + z * (get(hidden + at, count) - n), count);
  });
}

// Gradients in inputs and mapped state; straight: the part of that in the state before that passes no matrix.
extern "C" int edgenet_gru_gates_backward(parallel_for pool, const float* d_out, const float* mapped,
                                           const float* made, const float* before, float* d_inputs, float* d_mapped,
                                           float* straight, int64_t batch, int64_t width) {
  return for_vectors(pool, batch, width, [&](int64_t row, int64_t k, int64_t count) {
    const float* b = mapped + row * 3 * width + k;
    float *d_a = d_inputs + row * 3 * width + k, *d_b = d_mapped + row * 3 * width + k;
    const int64_t at = row * width + k;
    V r = get(b, count), z = get(b + width, count), b_n = get(b + 2 * width, count), n = get(made + at, count);
    V d = get(d_out + at, count), d_n = d * (1.0f - z) * (1.0f - n * n);
    V d_z = d * (get(before + at, count) - n) * (z - z * z), d_r = d_n * b_n * (r - r * r);
    put(d_a, d_r, count);
    put(d_a + width, d_z, count);
    put(d_a + 2 * width, d_n, count);
    put(d_b, d_r, count);
    put(d_b + width, d_z, count);
    put(d_b + 2 * width, d_n * r, count);
    put(straight + at, d * z, count);
  });
}
