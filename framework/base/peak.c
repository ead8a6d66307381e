/* Independent multiply-adds on registers: enough of them that each unit has one to begin in every
 * cycle while others are under way (a latency of four or five cycles, two units). Short turns, all
 * threads at once; the best one counts: what else goes on can only make a turn slower. */
#include "base/peak.h"

#include "base/alloc.h"
#include "base/seconds.h"
#include "base/threads.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define X86 1
#include <immintrin.h>
#else
#define X86 0
#endif

enum { TURNS = 100, ROUNDS = 100000 };

/* Does `rounds` rounds; what it returns depends on all of them, so that none is left out. */
typedef float loop_fn(long rounds);

typedef struct loop {
    loop_fn *run;
    int multiply_adds; /* in a round */
} loop;

/* ---- Loops --------------------------------------------------------------------------------- */

/* Sums go towards FACTOR^n: they stay normal numbers. */
#define FACTOR 0.5f
#define TERM   0.25f

#if X86

enum { SUMS_AVX512 = 16, SUMS_AVX2 = 12 };

__attribute__((target("avx512f"))) static float run_avx512(long rounds) {
    const __m512 factor = _mm512_set1_ps(FACTOR), term = _mm512_set1_ps(TERM);
    __m512 sum[SUMS_AVX512];
    float result = 0;
    for (int i = 0; i < SUMS_AVX512; i++) {
        sum[i] = _mm512_set1_ps((float)i);
    }
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < SUMS_AVX512; i++) {
            sum[i] = _mm512_fmadd_ps(sum[i], factor, term);
        }
    }
    for (int i = 0; i < SUMS_AVX512; i++) {
        result += _mm512_reduce_add_ps(sum[i]);
    }
    return result;
}

__attribute__((target("avx2,fma"))) static float run_avx2(long rounds) {
    const __m256 factor = _mm256_set1_ps(FACTOR), term = _mm256_set1_ps(TERM);
    __m256 sum[SUMS_AVX2];
    float result = 0;
    for (int i = 0; i < SUMS_AVX2; i++) {
        sum[i] = _mm256_set1_ps((float)i);
    }
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < SUMS_AVX2; i++) {
            sum[i] = _mm256_fmadd_ps(sum[i], factor, term);
        }
    }
    for (int i = 0; i < SUMS_AVX2; i++) {
        result += _mm256_cvtss_f32(sum[i]);
    }
    return result;
}

#endif

/* The compiler's vectors of four floats: SSE, NEON, or plain code. */
typedef float vector __attribute__((vector_size(4 * sizeof(float))));
enum { SUMS_PORTABLE = 12 };

static float run_portable(long rounds) {
    const vector factor = {FACTOR, FACTOR, FACTOR, FACTOR}, term = {TERM, TERM, TERM, TERM};
    vector sum[SUMS_PORTABLE];
    float result = 0;
    for (int i = 0; i < SUMS_PORTABLE; i++) {
        const float start = (float)i;
        sum[i] = (vector){start, start, start, start};
    }
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < SUMS_PORTABLE; i++) {
            sum[i] = sum[i] * factor + term;
        }
    }
    for (int i = 0; i < SUMS_PORTABLE; i++) {
        result += sum[i][0];
    }
    return result;
}

static loop best_loop(void) {
#if X86
    if (__builtin_cpu_supports("avx512f")) {
        return (loop){run_avx512, SUMS_AVX512 * 16};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return (loop){run_avx2, SUMS_AVX2 * 8};
    }
#endif
    return (loop){run_portable, SUMS_PORTABLE * 4};
}

/* ---- Turns --------------------------------------------------------------------------------- */

typedef struct interval {
    double begin, end;
} interval;

typedef struct measurement {
    loop loop;
    interval *turns;     /* (threads, TURNS) */
    int threads;         /* that there really were */
    _Atomic int arrived; /* at the starts of all turns */
    _Atomic float sink;
} measurement;

/* All threads leave within a fraction of a microsecond of each other: a barrier that sleeps would
 * take longer to wake them than a turn. */
static void meet(measurement *m, int turn, int threads) {
    atomic_fetch_add(&m->arrived, 1);
    while (atomic_load(&m->arrived) < (turn + 1) * threads) {
        sched_yield();
    }
}

static void measure_thread(void *arg, int thread, int threads) {
    measurement *m = arg;
    float result = 0;
    if (thread == 0) {
        m->threads = threads;
    }
    for (int turn = 0; turn < TURNS; turn++) {
        interval *took = &m->turns[thread * TURNS + turn];
        meet(m, turn, threads);
        took->begin = lamina__seconds();
        result += m->loop.run(ROUNDS);
        took->end = lamina__seconds();
    }
    atomic_store(&m->sink, result);
}

/* From the first thread's begin to the last one's end. */
static double seconds_of(const measurement *m, int turn) {
    interval all = m->turns[turn];
    for (int t = 1; t < m->threads; t++) {
        const interval *one = &m->turns[t * TURNS + turn];
        all.begin = one->begin < all.begin ? one->begin : all.begin;
        all.end = one->end > all.end ? one->end : all.end;
    }
    return all.end - all.begin;
}

double lamina__measure_peak(int threads) {
    measurement m = {.loop = best_loop(), .threads = 1};
    m.turns = lamina__calloc((size_t)threads, TURNS * sizeof *m.turns);
    if (m.turns == NULL) {
        return 0;
    }
    lamina__parallel(threads, measure_thread, &m);
    double best = seconds_of(&m, 0);
    for (int turn = 1; turn < TURNS; turn++) {
        const double seconds = seconds_of(&m, turn);
        best = seconds < best ? seconds : best;
    }
    lamina__free(m.turns);
    return 2.0 * m.loop.multiply_adds * ROUNDS * m.threads / best;
}

/* ---- The processor's name ------------------------------------------------------------------ */

char *lamina__processor_name(char *dst, size_t size) {
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(dst, size, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", strlen("model name")) == 0 && colon != NULL) {
            snprintf(dst, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return dst;
}
