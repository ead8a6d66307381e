/* The team: every region is run once by each of its threads and waited for, whatever its size was
 * before; who finds it at work is told so; threads sleep and wake; a child makes its own. */
#include "support.h"

#include "base/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 6 };

static atomic_int begun;

static void count_begun(void) {
    atomic_fetch_add(&begun, 1);
}

/* Plain memory: the team alone orders it. */
static void add_one(void *arg, int thread, int threads) {
    int(*calls)[MOST + 1] = arg;
    calls[thread][threads]++;
}

static void test_every_size(void) {
    int calls[MOST][MOST + 1] = {{0}}, runs[MOST + 1] = {0};
    for (int i = 0; i < 3000; i++) {
        const int threads = 2 + (i * 7 + i / 11) % (MOST - 1);
        CU_ASSERT_FATAL(lamina__team_run(threads, add_one, calls, count_begun));
        runs[threads]++;
    }
    for (int thread = 0; thread < MOST; thread++) {
        for (int threads = 2; threads <= MOST; threads++) {
            CU_ASSERT_EQUAL(calls[thread][threads], thread < threads ? runs[threads] : 0);
        }
    }
    CU_ASSERT_EQUAL(begun, MOST - 1); /* each thread once, the caller never */
}

/* Longer than threads spin. */
static void test_sleepers_wake(void) {
    int calls[MOST][MOST + 1] = {{0}};
    for (int i = 0; i < 20; i++) {
        usleep(i % 2 == 0 ? 5000 : 900);
        CU_ASSERT_FATAL(lamina__team_run(3, add_one, calls, count_begun));
    }
    CU_ASSERT_EQUAL(calls[2][3], 20);
}

static void be_late(void *arg, int thread, int threads) {
    (void)threads;
    if (thread == 1) {
        usleep(5000);
    }
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void test_late_threads_are_waited_for(void) {
    atomic_int came = 0;
    for (int i = 1; i <= 5; i++) {
        CU_ASSERT_FATAL(lamina__team_run(3, be_late, &came, count_begun));
        CU_ASSERT_EQUAL(came, 3 * i);
    }
}

static void open_inside(void *arg, int thread, int threads) {
    int calls[MOST][MOST + 1] = {{0}};
    (void)thread, (void)threads;
    if (lamina__team_inside() && !lamina__team_run(2, add_one, calls, count_begun)) {
        atomic_fetch_add((atomic_int *)arg, 1);
    }
}

static void test_no_region_inside(void) {
    atomic_int refused = 0;
    CU_ASSERT(!lamina__team_inside());
    CU_ASSERT_FATAL(lamina__team_run(4, open_inside, &refused, count_begun));
    CU_ASSERT_EQUAL(refused, 4);
    CU_ASSERT(!lamina__team_inside());
}

/* Several callers at once: each region is run by the team, or refused and not run at all. */
static atomic_int served, refused_calls, ran;

static void note_run(void *arg, int thread, int threads) {
    (void)arg, (void)thread, (void)threads;
    atomic_fetch_add(&ran, 1);
}

static void *call_often(void *arg) {
    for (int i = 0; i < 2000; i++) {
        atomic_fetch_add(lamina__team_run(2, note_run, arg, count_begun) ? &served : &refused_calls,
                         1);
    }
    return NULL;
}

static void test_one_caller_at_a_time(void) {
    pthread_t callers[3];
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(pthread_create(&callers[i], NULL, call_often, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(callers[i], NULL);
    }
    CU_ASSERT_EQUAL(served + refused_calls, 6000);
    CU_ASSERT(served > 0);
    CU_ASSERT_EQUAL(ran, 2 * served);
}

/* Thread sanitizer does not let a child of a process with threads have any. */
#if defined(__SANITIZE_THREAD__)
static const bool children_may_have_threads = false;
#else
static const bool children_may_have_threads = true;
#endif

static void test_children_have_their_own(void) {
    if (!children_may_have_threads) {
        return;
    }
    int calls[MOST][MOST + 1] = {{0}};
    const pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        const bool good = lamina__team_run(2, add_one, calls, count_begun) && calls[1][2] == 1 &&
                          lamina__team_run(4, add_one, calls, count_begun) && calls[3][4] == 1;
        _exit(good ? 0 : 1);
    }
    int status;
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT(lamina__team_run(2, add_one, calls, count_begun));
    CU_ASSERT_EQUAL(calls[1][2], 1);
}

LAMINA_TESTS({"regions of every size", test_every_size},
             {"threads that sleep wake up", test_sleepers_wake},
             {"late threads are waited for", test_late_threads_are_waited_for},
             {"no region inside a region", test_no_region_inside},
             {"one caller at a time", test_one_caller_at_a_time},
             {"a child has threads of its own", test_children_have_their_own})
