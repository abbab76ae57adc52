// Products of few rows by a matrix whose parts are read once for all rows (decision 0042).
//
// y[m][o] = sum over k of x[m][k] * w[o][k], plus bias[o]. A sum is taken in the same order
// whatever the number of rows: LANES partial sums over each chunk of k, folded by halves, and
// chunks one after the other. So a row's bits do not depend on the rows beside it.

#include <cstdint>
#include <cstring>
#include <utility>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#define IN_REGISTER(v) asm("" : "+v"(v))  // else it is loaded again for each multiply-add
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#define IN_REGISTER(v) asm("" : "+x"(v))
#else
constexpr int LANES = 4;
#ifdef __aarch64__
constexpr int REGISTERS = 32;
#else
constexpr int REGISTERS = 16;
#endif
#define IN_REGISTER(v)
#endif

constexpr int ROWS = 8;              // of x at once
constexpr int MOST = REGISTERS < 32 ? 6 : ROWS;  // of x in one block
constexpr long TILE = 168;           // rows of w that all rows of x meet before the next ones
constexpr long CHUNK = 24576;        // bytes of 8 rows of x that stay in the first cache
constexpr long AHEAD = 8192;         // bytes of w that are asked for ahead of their use

using Half = uint16_t;  // bfloat16
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef Half Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

inline float wide(float v) { return v; }
inline float wide(Half v) {
  uint32_t bits = uint32_t(v) << 16;
  float found;
  std::memcpy(&found, &bits, 4);
  return found;
}
inline void put(float* to, float v) { *to = v; }
inline void put(Half* to, float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  *to = v != v ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// ---- how a part of a row is loaded and multiplied, by the formats of x and w ----

struct Singles {  // x in float, w in float or bfloat16
  using Loaded = Vector;
  static constexpr int WIDTH = LANES;
  static Vector load(const float* from) { return *(const Vector*)from; }
  static Vector load(const Half* from) {
#ifdef __AVX512F__
    return (Vector)_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16);
#elif defined(__AVX2__)
    // both halves of a register get all that is loaded, so that one shuffle within them widens it
    const __m256i places =
        _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 2, 3, -1, -1, 4, 5, -1, -1, 6, 7, -1, -1, 8, 9, -1,
                         -1, 10, 11, -1, -1, 12, 13, -1, -1, 14, 15);
    return (Vector)_mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)from)), places);
#else
    return (Vector)(__builtin_convertvector(*(const Halves*)from, Bits) << 16);
#endif
  }
  static Vector multiply_add(Vector sum, Vector a, Vector b) {
#ifdef __AVX512F__
    return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
// named: of a sum that waits for itself compilers make a product and a sum, of other bits
#elif defined(__FMA__)
    return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#elif defined(__aarch64__)
    return (Vector)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
#else
    return sum + a * b;
#endif
  }
};

#ifdef __AVX512BF16__
struct Pairs {  // x and w in bfloat16, two products at once
  using Loaded = __m512bh;
  static constexpr int WIDTH = 2 * LANES;
  static __m512bh load(const Half* from) { return (__m512bh)_mm512_loadu_si512(from); }
  static Vector multiply_add(Vector sum, __m512bh a, __m512bh b) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, a, b);
  }
};
#endif

template <class By, class T>
inline typename By::Loaded load_some(const T* from, long n) {
  T part[By::WIDTH] = {};
  std::memcpy(part, from, n * sizeof(T));
  return By::load(part);
}

// ---- sums of the lanes of N vectors, by halves ----

#if defined(__clang__) || __GNUC__ >= 12
#define PICK(u, v, ...) __builtin_shufflevector(u, v, __VA_ARGS__)
#else
#define PICK(u, v, ...) __builtin_shuffle(u, v, Bits{__VA_ARGS__})
#endif

template <int WIDTH, int FROM, int... I>
inline Vector half_of(Vector u, Vector v, std::integer_sequence<int, I...>) {
  return PICK(u, v, (I / WIDTH * 2 * WIDTH + I % WIDTH + FROM)...);
}

template <int N, int WIDTH>
inline void sums(const Vector* parts, float* to) {
  if constexpr (WIDTH == 0) {
    std::memcpy(to, parts, N * sizeof(float));
  } else {
    constexpr int NOW = (N * 2 * WIDTH + LANES - 1) / LANES, NEXT = (N * WIDTH + LANES - 1) / LANES;
    using Lanes = std::make_integer_sequence<int, LANES>;
    Vector folded[NEXT];
#pragma GCC unroll 16
    for (int i = 0; i < NEXT; i++) {
      Vector u = parts[2 * i], v = parts[2 * i + 1 < NOW ? 2 * i + 1 : 2 * i];
      folded[i] = half_of<WIDTH, 0>(u, v, Lanes{}) + half_of<WIDTH, WIDTH>(u, v, Lanes{});
    }
    sums<N, WIDTH / 2>(folded, to);
  }
}

// ---- blocks of R rows of w and M rows of x, whose sums stay in registers ----

constexpr int rows_at_once(int m) {
  constexpr int OF_16[MOST] = {7, 4, 3, 3, 2, 2};  // one more, and registers are spilled
  if (REGISTERS < 32) return OF_16[m - 1];
  int rows = (REGISTERS - 2) / (m + 1);
  return rows < 1 ? 1 : rows > 8 ? 8 : rows;
}

// The M rows of x are some of ALL that lie as `lay_out` puts them. Every EVERYth line of w is
// asked for, from the one of number FIRST.
template <class By, int M, int ALL, int R, int FIRST, int EVERY, class W, class X>
inline void block(const W* w, const X* x, long stride, long n, long ahead, float* to, bool more) {
  constexpr int WIDTH = By::WIDTH;
  constexpr int LINE = 64 / sizeof(W) > WIDTH ? 64 / sizeof(W) : WIDTH;
  Vector sum[R * M] = {};
  long k = 0;
  for (; k + WIDTH <= n; k += WIDTH, x += ALL * WIDTH) {
    if (k % (EVERY * LINE) == FIRST * LINE) {
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) __builtin_prefetch(w + (r + ahead) * stride + k, 0, 2);
    }
    typename By::Loaded ours[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      ours[r] = By::load(w + r * stride + k);
      if (M > 1) IN_REGISTER(ours[r]);
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      auto theirs = By::load(x + m * WIDTH);
      IN_REGISTER(theirs);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++)
        sum[m * R + r] = By::multiply_add(sum[m * R + r], ours[r], theirs);
    }
  }
  if (k < n)
    for (int r = 0; r < R; r++) {
      auto ours = load_some<By>(w + r * stride + k, n - k);
      for (int m = 0; m < M; m++)
        sum[m * R + r] = By::multiply_add(sum[m * R + r], ours, By::load(x + m * WIDTH));
    }
  float found[R * M];
  sums<R * M, LANES / 2>(sum, found);
  for (int m = 0; m < M; m++)
    for (int r = 0; r < R; r++) {
      float* at = to + m * TILE + r;
      *at = more ? *at + found[m * R + r] : found[m * R + r];
    }
}

// All M rows of x by R rows of w: in two blocks where the sums of one are too many, the second of
// which finds w in the first cache. Each asks for half of what comes next, so that memory is busy
// all the time.
template <class By, int M, int R, class W, class X>
inline void strip(const W* w, const X* x, long stride, long n, long ahead, float* to, bool more) {
  if constexpr (M > MOST) {
    constexpr int A = (M + 1) / 2;
    block<By, A, M, R, 0, 2>(w, x, stride, n, ahead, to, more);
    block<By, M - A, M, R, 1, 2>(w, x + A * By::WIDTH, stride, n, ahead, to + A * TILE, more);
  } else {
    block<By, M, M, R, 0, 1>(w, x, stride, n, ahead, to, more);
  }
}

// Puts WIDTH numbers of each row side by side, then the next, zeros where the rows end: what a
// block reads of x is one run of memory, and takes one address.
template <class By, int M, class X>
inline void lay_out(const X* x, long stride, long n, X* to) {
  constexpr int WIDTH = By::WIDTH;
  for (long k = 0; k < n; k += WIDTH)
    for (int m = 0; m < M; m++, to += WIDTH) {
      if (k + WIDTH <= n) {
        std::memcpy(to, x + m * stride + k, WIDTH * sizeof(X));
      } else {
        std::memset(to, 0, WIDTH * sizeof(X));
        std::memcpy(to, x + m * stride + k, (n - k) * sizeof(X));
      }
    }
}

template <class By, int M, class W, class X>
void tile(const W* w, const X* x, const W* bias, W* y, long width, long of, long rows) {
  constexpr int R = rows_at_once(M > MOST ? (M + 1) / 2 : M);
  constexpr long WHOLE = CHUNK / ROWS / sizeof(X);
  alignas(64) X near[M * WHOLE];
  float found[M * TILE];
  for (long k = 0; k < width; k += WHOLE) {
    long n = width - k < WHOLE ? width - k : WHOLE, o = 0;
    long ahead = AHEAD / (n * long(sizeof(W)));
    ahead = ahead < R ? R : ahead;
    lay_out<By, M>(x + k, width, n, near);
    for (; o + R <= rows; o += R)
      strip<By, M, R>(w + o * width + k, near, width, n, ahead, found + o, k > 0);
    for (; o < rows; o++)
      strip<By, M, 1>(w + o * width + k, near, width, n, ahead, found + o, k > 0);
  }
  for (int m = 0; m < M; m++)
    for (long o = 0; o < rows; o++)
      put(y + m * of + o, found[m * TILE + o] + (bias ? wide(bias[o]) : 0.0f));
}

template <class By, class W, class X>
void part(const W* w, const X* x, const W* bias, W* y, long n, long width, long of, long first,
          long last) {
  for (long o = first; o < last; o += TILE) {
    long rows = last - o < TILE ? last - o : TILE;
    for (long m = 0; m < n; m += ROWS) {
      const W* weight = w + o * width;
      const X* given = x + m * width;
      const W* offset = bias ? bias + o : nullptr;
      W* to = y + m * of + o;
      switch (n - m) {
        case 1: tile<By, 1>(weight, given, offset, to, width, of, rows); break;
        case 2: tile<By, 2>(weight, given, offset, to, width, of, rows); break;
        case 3: tile<By, 3>(weight, given, offset, to, width, of, rows); break;
        case 4: tile<By, 4>(weight, given, offset, to, width, of, rows); break;
        case 5: tile<By, 5>(weight, given, offset, to, width, of, rows); break;
        case 6: tile<By, 6>(weight, given, offset, to, width, of, rows); break;
        case 7: tile<By, 7>(weight, given, offset, to, width, of, rows); break;
        default: tile<By, 8>(weight, given, offset, to, width, of, rows);
      }
    }
  }
}

template <class By, class W, class X>
void product(const W* w, const X* x, const W* bias, W* y, long n, long width, long of,
             long threads) {
#ifdef _OPENMP
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    {
      long each = (of + omp_get_num_threads() - 1) / omp_get_num_threads();
      long first = each * omp_get_thread_num();
      part<By>(w, x, bias, y, n, width, of, first, first + each < of ? first + each : of);
    }
    return;
  }
#endif
  part<By>(w, x, bias, y, n, width, of, 0, of);
}

}  // namespace

extern "C" void few_rows_float32(const float* x, const float* w, const float* bias, float* y,
                                 long n, long width, long of, long threads) {
  product<Singles>(w, x, bias, y, n, width, of, threads);
}

extern "C" void few_rows_bfloat16(const Half* x, const Half* w, const Half* bias, Half* y, long n,
                                  long width, long of, long threads) {
#ifdef __AVX512BF16__
  product<Pairs>(w, x, bias, y, n, width, of, threads);
#else
  float* widened = new float[n * width];
  for (long i = 0; i < n * width; i++) widened[i] = wide(x[i]);
  product<Singles>(w, widened, bias, y, n, width, of, threads);
  delete[] widened;
#endif
}
