/* The measured peak: above what a loop that waits for each of its results reaches, and no more than
 * so many threads can do. */
#include "tests/support.h"

#include "base/alloc.h"
#include "base/peak.h"
#include "base/seconds.h"
#include "base/threads.h"

#include <math.h>

/* Operations a second of one chain of multiplications and additions. */
static double chain_rate(void) {
    enum { LINKS = 20000 };
    static volatile float start = 1, end;
    double best = 0;
    for (int turn = 0; turn < 20; turn++) {
        const double begin = lamina__seconds();
        float x = start;
        for (int i = 0; i < LINKS; i++) {
            x = x * 0.5f + 0.25f;
        }
        end = x;
        best = fmax(best, 2 * LINKS / (lamina__seconds() - begin));
    }
    CU_ASSERT(end > 0);
    return best;
}

static void above_a_chain(void) {
    const double chain = chain_rate(), peak = lamina__measure_peak(1);
    CU_ASSERT(isfinite(peak));
    CU_ASSERT(peak > 4 * chain); /* a vector of four, if nothing else */
}

static void threads_add_up(void) {
    double one = 0;
    for (int i = 0; i < 3; i++) {
        one = fmax(one, lamina__measure_peak(1));
    }
    for (int threads = 2; threads <= 3; threads++) {
        const double all = lamina__measure_peak(threads);
        CU_ASSERT(all > 0);
        CU_ASSERT(all < 1.5 * threads * one);
    }
    /* More threads than processors do not multiply more. */
    const int processors = lamina__processors();
    if (processors <= 8) {
        CU_ASSERT(lamina__measure_peak(4 * processors) < 2 * processors * one);
    }
}

static void without_memory(void) {
    test_fail_allocation(1);
    const double peak = lamina__measure_peak(2);
    CU_ASSERT_EQUAL(test_fail_allocation(0), 1);
    CU_ASSERT_EQUAL(peak, 0);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

static void names_the_processor(void) {
    char name[128], cut[8];
    CU_ASSERT_PTR_EQUAL(lamina__processor_name(name, sizeof name), name);
    CU_ASSERT(strlen(name) > 0);
    CU_ASSERT_PTR_NULL(strchr(name, '\n'));
    lamina__processor_name(cut, sizeof cut);
    CU_ASSERT_EQUAL(strncmp(name, cut, strlen(cut)), 0);
}

LAMINA_TESTS({"above a chain of dependent operations", above_a_chain},
             {"threads add up", threads_add_up}, {"without memory", without_memory},
             {"names the processor", names_the_processor})
