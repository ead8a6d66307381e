/* base/alloc: alignment, counting, overflow, and allocators of the caller's. */
#include "tests/support.h"

#include "base/alloc.h"
#include "base/threads.h"

static void test_alignment_and_counts(void) {
    lamina__alloc_counts before = lamina__alloc_count();
    void *blocks[40];
    size_t bytes = 0;
    for (size_t i = 0; i < 40; i++) {
        blocks[i] = lamina__alloc(i * i * 7);
        CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
        CU_ASSERT_EQUAL((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], 0xa5, i * i * 7);
        bytes += i * i * 7;
    }
    lamina__alloc_counts now = lamina__alloc_count();
    CU_ASSERT_EQUAL(now.calls - before.calls, 40);
    CU_ASSERT_EQUAL(now.live - before.live, 40);
    CU_ASSERT_EQUAL(now.live_bytes - before.live_bytes, bytes);
    CU_ASSERT(now.peak_bytes >= before.live_bytes + bytes);
    for (size_t i = 0; i < 40; i++) {
        lamina__free(blocks[i]);
    }
    lamina__free(NULL);
    lamina__alloc_counts after = lamina__alloc_count();
    CU_ASSERT_EQUAL(after.live, before.live);
    CU_ASSERT_EQUAL(after.live_bytes, before.live_bytes);
    CU_ASSERT_EQUAL(after.peak_bytes, now.peak_bytes);
    CU_ASSERT_EQUAL(after.calls, now.calls);
}

static void test_overflow(void) {
    lamina__alloc_counts before = lamina__alloc_count();
    CU_ASSERT_PTR_NULL(lamina__alloc(SIZE_MAX));
    CU_ASSERT_PTR_NULL(lamina__alloc(SIZE_MAX - 63));
    CU_ASSERT_PTR_NULL(lamina__alloc(PTRDIFF_MAX));
    CU_ASSERT_PTR_NULL(lamina__calloc(SIZE_MAX / 2, 3));
    CU_ASSERT_PTR_NULL(lamina__calloc((size_t)1 << 32, (size_t)1 << 32));
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, before.calls);
    CU_ASSERT_EQUAL(lamina__alloc_count().live_bytes, before.live_bytes);
}

static void test_calloc_zeroes(void) {
    for (int round = 0; round < 3; round++) {
        unsigned char *memory = lamina__calloc(100, 10);
        CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
        int sum = 0;
        for (size_t i = 0; i < 1000; i++) {
            sum += memory[i];
        }
        CU_ASSERT_EQUAL(sum, 0);
        memset(memory, 1, 1000);
        lamina__free(memory);
    }
    void *none = lamina__calloc(0, 10);
    CU_ASSERT_PTR_NOT_NULL(none);
    lamina__free(none);
}

static void test_strings(void) {
    char *copy = lamina__strdup("conv1"), *part = lamina__strndup("conv1", 4);
    char *whole = lamina__strndup("conv1", 100), *empty = lamina__strdup("");
    TEST_TEXT(copy, "conv1");
    TEST_TEXT(part, "conv");
    TEST_TEXT(whole, "conv1");
    TEST_TEXT(empty, "");
    lamina__free(copy);
    lamina__free(part);
    lamina__free(whole);
    lamina__free(empty);
}

static void test_grow(void) {
    int *items = NULL;
    void *memory = NULL;
    size_t capacity = 0, growths = 0;
    for (size_t n = 0; n < 5000; n++) {
        size_t old_capacity = capacity;
        CU_ASSERT_EQUAL_FATAL(lamina__grow(&memory, &capacity, n + 1, sizeof(int)), 0);
        items = memory;
        CU_ASSERT(capacity > n);
        CU_ASSERT_EQUAL(items[capacity - 1], old_capacity == capacity ? items[capacity - 1] : 0);
        growths += capacity != old_capacity;
        items[n] = (int)n;
    }
    CU_ASSERT(growths < 15);
    for (size_t n = 0; n < 5000; n++) {
        CU_ASSERT_EQUAL(items[n], (int)n);
    }
    size_t old_capacity = capacity;
    CU_ASSERT_EQUAL(lamina__grow(&memory, &capacity, SIZE_MAX / 2, sizeof(int)), -1);
    CU_ASSERT_PTR_EQUAL(memory, items);
    CU_ASSERT_EQUAL(capacity, old_capacity);
    test_fail_allocation(1);
    CU_ASSERT_EQUAL(lamina__grow(&memory, &capacity, capacity + 1, sizeof(int)), -1);
    CU_ASSERT_EQUAL(test_fail_allocation(0), 1);
    CU_ASSERT_PTR_EQUAL(memory, items);
    CU_ASSERT_EQUAL(items[4999], 4999);
    lamina__free(memory);
}

typedef struct own_heap {
    int allocated, freed;
    void *last;
} own_heap;

static void *own_alloc(void *user, size_t bytes) {
    own_heap *heap = user;
    heap->allocated++;
    heap->last = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return heap->last;
}

static void own_free(void *user, void *memory) {
    ((own_heap *)user)->freed++;
    free(memory);
}

/* A block goes back to the allocator that it came from, whichever is set by then. */
static void test_own_allocator(void) {
    own_heap heap = {0};
    lamina_allocator allocator = {sizeof(allocator), own_alloc, own_free, &heap};
    void *before = lamina__alloc(10);
    lamina_set_allocator(&allocator);
    void *during = lamina__alloc(10);
    lamina__free(before);
    CU_ASSERT_EQUAL(heap.allocated, 1);
    CU_ASSERT_EQUAL(heap.freed, 0);
    lamina_set_allocator(NULL);
    void *after = lamina__alloc(10);
    lamina__free(during);
    lamina__free(after);
    CU_ASSERT_EQUAL(heap.allocated, 1);
    CU_ASSERT_EQUAL(heap.freed, 1);
}

static void test_failure_counts_nothing(void) {
    lamina__alloc_counts before = lamina__alloc_count();
    test_fail_allocation(2);
    void *first = lamina__alloc(10), *second = lamina__calloc(1, 10), *third = lamina__strdup("x");
    CU_ASSERT_EQUAL(test_fail_allocation(0), 1);
    CU_ASSERT_PTR_NOT_NULL(first);
    CU_ASSERT_PTR_NULL(second);
    CU_ASSERT_PTR_NOT_NULL(third);
    CU_ASSERT_EQUAL(lamina__alloc_count().live - before.live, 2);
    lamina__free(first);
    lamina__free(third);
    CU_ASSERT_EQUAL(lamina__alloc_count().live_bytes, before.live_bytes);
}

static void churn(void *arg, int thread, int threads) {
    _Atomic int *failures = arg;
    void *blocks[16] = {0};
    (void)threads;
    for (size_t i = 0; i < 4000; i++) {
        size_t slot = (i * 7 + (size_t)thread) % 16;
        lamina__free(blocks[slot]);
        blocks[slot] = lamina__alloc(i % 300);
        *failures += blocks[slot] == NULL;
    }
    for (size_t i = 0; i < 16; i++) {
        lamina__free(blocks[i]);
    }
}

static void test_threads(void) {
    lamina__alloc_counts before = lamina__alloc_count();
    _Atomic int failures = 0;
    lamina__parallel(4, churn, &failures);
    lamina__alloc_counts after = lamina__alloc_count();
    CU_ASSERT_EQUAL(failures, 0);
    CU_ASSERT_EQUAL(after.calls - before.calls, 4 * 4000);
    CU_ASSERT_EQUAL(after.live, before.live);
    CU_ASSERT_EQUAL(after.live_bytes, before.live_bytes);
}

LAMINA_TESTS({"blocks are aligned and counted", test_alignment_and_counts},
             {"sizes that overflow are refused", test_overflow},
             {"calloc zeroes", test_calloc_zeroes}, {"strings are copied", test_strings},
             {"vectors grow", test_grow}, {"an allocator of the caller's", test_own_allocator},
             {"a failure counts nothing", test_failure_counts_nothing},
             {"threads may allocate at once", test_threads})
