/* The time of day that never jumps, for measuring. */
#ifndef LAMINA_BASE_SECONDS_H
#define LAMINA_BASE_SECONDS_H

#include <time.h>

/* Seconds since some moment in the past; a call takes some tens of nanoseconds. */
static inline double lamina__seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
