// The vector instructions of x86-64, without the warnings about their own text.
#pragma once
#if defined(__x86_64__)
#define EDGENET_X86 1
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // some of GCC 12 begin with registers of any content (its PR 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
#else
#define EDGENET_X86 0
#endif
