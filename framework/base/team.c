/* How threads of a team meet. The caller writes a job and then a ticket, which says the job's
 * number and how many threads it is for, on a cache line that all threads look at. Those it is for
 * work, and note the number on a line of their own, where the caller looks. Threads that it is not
 * for never look at the job, so it can be written anew as soon as the others are done.
 *
 * Who has looked for long enough goes to sleep: it counts itself among the sleepers and looks once
 * more; who changes a line wakes them if there are any. These four accesses are sequentially
 * consistent, so one of the two sees what the other did. */
#include "base/team.h"

#include "base/seconds.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { MOST_THREADS = 256, LOOKS = 64 /* between two looks at the time */ };

/* Long enough for the serial parts of a step, and for a thread that is late in a region. */
static const double spin_seconds = 1e-3;

/* Tickets: the job's number, then its threads. */
enum { THREADS_BITS = 16 };

/* On lines of their own; processors fetch them in pairs. */
typedef struct note {
    _Alignas(128) atomic_uint_fast64_t value;
} note;

static struct {
    pthread_mutex_t owner; /* has the team; tried only */
    int threads;           /* there are, the caller included */
    int spinning;          /* the most that may spin */
    void (*began)(void);
    lamina__thread_fn *fn; /* the job */
    void *arg;
    int job_threads;
    atomic_bool spins; /* there is a processor for each thread, and OMP_WAIT_POLICY allows it */
    note ticket;
    note done[MOST_THREADS]; /* the number of the last job that a thread has done */
    note arrived, left;      /* at barriers: threads, all in all; barriers that are over */
    note sleepers;
    pthread_mutex_t lock; /* for going to sleep */
    pthread_cond_t wake;
} team = {.owner = PTHREAD_MUTEX_INITIALIZER,
          .threads = 1,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static _Thread_local bool in_region;

/* ---- Waiting and telling -------------------------------------------------------------------- */

static void pause_briefly(void) {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Looks some times; true when the line holds something else. */
static bool look_while(note *line, uint64_t value) {
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load_explicit(&line->value, memory_order_acquire) != value) {
            return true;
        }
        pause_briefly();
    }
    return false;
}

static bool spin_while(note *line, uint64_t value) {
    if (look_while(line, value)) {
        return true;
    }
    const double begin = lamina__seconds();
    while (atomic_load_explicit(&team.spins, memory_order_relaxed) &&
           lamina__seconds() < begin + spin_seconds) {
        if (look_while(line, value)) {
            return true;
        }
    }
    return false;
}

/* Waits until a line holds something else; returns that. */
static uint64_t wait_while(note *line, uint64_t value) {
    if (!spin_while(line, value)) {
        pthread_mutex_lock(&team.lock);
        atomic_fetch_add(&team.sleepers.value, 1);
        while (atomic_load(&line->value) == value) {
            pthread_cond_wait(&team.wake, &team.lock);
        }
        atomic_fetch_sub(&team.sleepers.value, 1);
        pthread_mutex_unlock(&team.lock);
    }
    return atomic_load_explicit(&line->value, memory_order_acquire);
}

static void change(note *line, uint64_t value) {
    atomic_store(&line->value, value);
    if (atomic_load(&team.sleepers.value) > 0) {
        pthread_mutex_lock(&team.lock);
        pthread_cond_broadcast(&team.wake);
        pthread_mutex_unlock(&team.lock);
    }
}

/* ---- Threads -------------------------------------------------------------------------------- */

static void *serve(void *arg) {
    const int thread = (int)(intptr_t)arg;
    uint64_t ticket = atomic_load(&team.done[thread].value); /* the one before its first */
    team.began();
    in_region = true;
    for (;;) {
        ticket = wait_while(&team.ticket, ticket);
        if (thread < (int)(ticket & ((1u << THREADS_BITS) - 1))) {
            team.fn(team.arg, thread, team.job_threads);
            change(&team.done[thread], ticket);
        }
    }
    return NULL;
}

/* A child has none of its parent's threads, and may have been made while they held locks. */
static void forget_threads(void) {
    team.threads = 1;
    in_region = false;
    atomic_store(&team.sleepers.value, 0);
    atomic_store(&team.arrived.value, 0);
    pthread_mutex_init(&team.owner, NULL);
    pthread_mutex_init(&team.lock, NULL);
    pthread_cond_init(&team.wake, NULL);
}

/* Looked up once, before any thread waits. */
static int processors_to_spin_on(void) {
    const char *policy = getenv("OMP_WAIT_POLICY");
    return policy != NULL && strcasecmp(policy, "passive") == 0 ? 0 : lamina__processors();
}

/* Makes threads until there are so many, or until the system gives no more; returns how many there
 * are, the caller included. */
static int hire(int threads) {
    static bool watched;
    if (!watched) {
        watched = pthread_atfork(NULL, NULL, forget_threads) == 0;
        team.spinning = processors_to_spin_on();
    }
    while (watched && team.threads < threads) {
        pthread_t made;
        atomic_store(&team.done[team.threads].value, atomic_load(&team.ticket.value));
        if (pthread_create(&made, NULL, serve, (void *)(intptr_t)team.threads) != 0) {
            break;
        }
        pthread_detach(made);
        team.threads++;
    }
    return team.threads < threads ? team.threads : threads;
}

/* ---- Regions -------------------------------------------------------------------------------- */

bool lamina__team_run(int threads, lamina__thread_fn *fn, void *arg, void (*began)(void)) {
    if (in_region || threads > MOST_THREADS || pthread_mutex_trylock(&team.owner) != 0) {
        return false;
    }
    team.began = began;
    threads = hire(threads);
    atomic_store_explicit(&team.spins, threads <= team.spinning, memory_order_relaxed);
    const uint64_t number = (atomic_load(&team.ticket.value) >> THREADS_BITS) + 1;
    const uint64_t ticket = number << THREADS_BITS | (uint64_t)threads;
    team.fn = fn;
    team.arg = arg;
    team.job_threads = threads;
    change(&team.ticket, ticket);
    in_region = true;
    fn(arg, 0, threads);
    in_region = false;
    for (int thread = 1; thread < threads; thread++) {
        uint64_t done = atomic_load_explicit(&team.done[thread].value, memory_order_acquire);
        while (done != ticket) {
            done = wait_while(&team.done[thread], done);
        }
    }
    pthread_mutex_unlock(&team.owner);
    return true;
}

bool lamina__team_inside(void) {
    return in_region;
}

/* The last of the region's threads to come lets the others go. */
void lamina__team_barrier(void) {
    const uint64_t over = atomic_load_explicit(&team.left.value, memory_order_acquire);
    const uint64_t arrived = atomic_fetch_add(&team.arrived.value, 1) + 1;
    if (arrived == (uint64_t)team.job_threads) {
        atomic_store_explicit(&team.arrived.value, 0, memory_order_relaxed);
        change(&team.left, over + 1);
    } else {
        (void)wait_while(&team.left, over);
    }
}
