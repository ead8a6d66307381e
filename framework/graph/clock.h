/* Where the time of a step goes. While its clock runs, a net adds up how long each thread was in
 * each pass of each layer, and what the rest of the step was; without a clock a step pays one
 * branch for each pass.
 *
 * A step's wall time is, on the average of the threads: the passes + input + prepare + update +
 * waiting + other. The threads are those that take shards; with fewer shards than threads the
 * others count in the update alone. A pass of a layer that is called on the whole batch counts for
 * every thread: its kernel has them all. */
#ifndef LAMINA_GRAPH_CLOCK_H
#define LAMINA_GRAPH_CLOCK_H

#include "graph/net.h"

typedef struct lamina__net_times {
    int64_t steps;  /* steps and evaluations that succeeded */
    double seconds; /* their wall time; what follows is part of it, means over the threads */
    double passes;  /* all passes of all layers */
    double input;   /* normalising images */
    double prepare; /* repacking weights */
    double update;  /* the sum of the shards' gradients, and the optimizer */
    double waiting; /* for other threads: at the end of a parallel region, or for its start */
    double other;   /* outside the parallel regions: binding the batch, summing the losses */
} lamina__net_times;

/* Allocates the counters, all 0, and starts counting. Nothing happens when the clock runs already.
 */
lamina_status lamina__net_start_clock(lamina__net *, lamina_error *);
void lamina__net_clear_clock(lamina__net *); /* all counters 0 */
void lamina__net_stop_clock(lamina__net *);  /* and forgets them */

/* Threads that take shards: those that the means are of. */
int32_t lamina__net_workers(const lamina__net *);

/* While the clock runs; without one all is 0. */
lamina__net_times lamina__net_times_now(const lamina__net *);
/* Seconds of one thread in a pass, 0: forward, 1: backward_data, 2: backward_weights. A layer type
 * without kernels has its whole backward() in 1. */
double lamina__net_pass_seconds(const lamina__net *, int32_t layer, int pass, int32_t thread);
/* The mean over the threads that take shards. */
double lamina__net_pass_mean(const lamina__net *, int32_t layer, int pass);

#endif
