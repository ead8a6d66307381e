/* The clock of a net: a row of counters for each thread, each on cache lines of its own. A thread's
 * mark is when its last lap ended; a lap adds the time since then to one counter, so a pass costs
 * one look at the time and nothing between two passes is lost. */
#include "graph/clock.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/seconds.h"
#include "graph/net_impl.h"

#include <string.h>

/* A row: the mark, then the counters of lamina__clock_counter. */
struct lamina__clock {
    int32_t threads, workers, layers; /* workers: threads that take shards, the first ones */
    int64_t steps;
    double seconds; /* of the steps */
    double regions; /* wall time in which the threads were asked to work */
    size_t stride;  /* of rows, in doubles */
    double *rows;
};

enum { LINE = 64 / sizeof(double) };

static double *row_of(const lamina__clock *clock, int32_t thread) {
    return clock->rows + (size_t)thread * clock->stride;
}

static double *counter_of(const lamina__clock *clock, int32_t thread, int32_t counter) {
    return row_of(clock, thread) + 1 + counter;
}

static int32_t n_counters(const lamina__clock *clock) {
    return lamina__clock_pass(clock->layers, 0);
}

/* ---- For the executor ---- */

void lamina__clock_mark(lamina__clock *clock, int32_t thread) {
    *row_of(clock, thread) = lamina__seconds();
}

void lamina__clock_lap(lamina__clock *clock, int32_t thread, int32_t counter) {
    double *mark = row_of(clock, thread);
    const double now = lamina__seconds();
    *counter_of(clock, thread, counter) += now - *mark;
    *mark = now;
}

void lamina__clock_lap_all(lamina__clock *clock, int32_t counter) {
    double *mark = row_of(clock, 0);
    const double now = lamina__seconds(), passed = now - *mark;
    for (int32_t t = 0; t < clock->threads; t++) {
        *counter_of(clock, t, counter) += passed;
    }
    clock->regions += passed;
    *mark = now;
}

void lamina__clock_region_end(lamina__clock *clock, double begin) {
    clock->regions += lamina__seconds() - begin;
}

void lamina__clock_step_end(lamina__clock *clock, double begin) {
    clock->seconds += lamina__seconds() - begin;
    clock->steps++;
}

/* ---- Public ---- */

int32_t lamina__net_workers(const lamina__net *net) {
    return net->shards < net->threads && !net->all_whole ? net->shards : net->threads;
}

lamina_status lamina__net_start_clock(lamina__net *net, lamina_error *error) {
    if (net->clock != NULL) {
        return LAMINA_OK;
    }
    lamina__clock *clock = lamina__calloc(1, sizeof *clock);
    if (clock == NULL) {
        return lamina__fail_memory(error, "the clock");
    }
    clock->threads = net->threads;
    clock->workers = lamina__net_workers(net);
    clock->layers = net->n_layers;
    clock->stride = ((size_t)n_counters(clock) + 1 + LINE - 1) / LINE * LINE;
    clock->rows = lamina__calloc((size_t)clock->threads, clock->stride * sizeof *clock->rows);
    if (clock->rows == NULL) {
        lamina__free(clock);
        return lamina__fail_memory(error, "the clock");
    }
    net->clock = clock;
    return LAMINA_OK;
}

void lamina__net_clear_clock(lamina__net *net) {
    lamina__clock *clock = net->clock;
    if (clock != NULL) {
        clock->steps = 0;
        clock->seconds = clock->regions = 0;
        memset(clock->rows, 0, (size_t)clock->threads * clock->stride * sizeof *clock->rows);
    }
}

void lamina__net_stop_clock(lamina__net *net) {
    if (net->clock != NULL) {
        lamina__free(net->clock->rows);
        lamina__free(net->clock);
        net->clock = NULL;
    }
}

/* Mean over the threads that have such work. */
static double mean_of(const lamina__clock *clock, int32_t counter) {
    const int32_t threads = counter == LAMINA__CLOCK_UPDATE ? clock->threads : clock->workers;
    double sum = 0;
    for (int32_t t = 0; t < threads; t++) {
        sum += *counter_of(clock, t, counter);
    }
    return sum / threads;
}

lamina__net_times lamina__net_times_now(const lamina__net *net) {
    const lamina__clock *clock = net->clock;
    if (clock == NULL) {
        return (lamina__net_times){0};
    }
    lamina__net_times times = {.steps = clock->steps,
                               .seconds = clock->seconds,
                               .input = mean_of(clock, LAMINA__CLOCK_INPUT),
                               .prepare = mean_of(clock, LAMINA__CLOCK_PREPARE),
                               .update = mean_of(clock, LAMINA__CLOCK_UPDATE)};
    for (int32_t c = lamina__clock_pass(0, 0); c < n_counters(clock); c++) {
        times.passes += mean_of(clock, c);
    }
    times.waiting = clock->regions - times.passes - times.input - times.prepare - times.update;
    times.other = clock->seconds - clock->regions;
    return times;
}

double lamina__net_pass_seconds(const lamina__net *net, int32_t layer, int pass, int32_t thread) {
    return net->clock != NULL ? *counter_of(net->clock, thread, lamina__clock_pass(layer, pass))
                              : 0;
}

double lamina__net_pass_mean(const lamina__net *net, int32_t layer, int pass) {
    return net->clock != NULL ? mean_of(net->clock, lamina__clock_pass(layer, pass)) : 0;
}
