// How C functions end: no exception leaves them, nor a loop's body on another thread; each says by a number how it went.
#pragma once
#include <atomic>
#include <new>
#include <stdexcept>
#include <type_traits>

namespace edgenet {

// what a function returns, where it has no number of its own to say; edgenet/ops/native/gate.py reads them
enum Status { DONE = 0, NO_NODE = -1, NO_MEMORY = -2, FAILED = -3 };

// what `body` returns, or DONE; a status below zero where it threw
template <class F> static int status_of(F body) noexcept {
  try {
    if constexpr (std::is_void<decltype(body())>::value) {
      body();
      return DONE;
    } else {
      return body();
    }
  } catch (const std::bad_alloc&) {
    return NO_MEMORY;
  } catch (...) {
    return FAILED;
  }
}

// What went wrong in the pieces of a loop, on any thread: kept there, and thrown where the loop was called.
class Outcome {
  std::atomic<int> worst{DONE};

 public:
  template <class F> void run(F piece) noexcept {
    if (const int status = status_of(piece)) worst = status;
  }
  // `started`: what the parallel loop itself returned
  void check(int started) const {
    if (worst == NO_MEMORY) throw std::bad_alloc();
    if (worst || started) throw std::runtime_error("a piece of a loop failed");
  }
};

}  // namespace edgenet
