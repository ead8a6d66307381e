/* A team: threads that wait for the next parallel region, spinning first and asleep after a while.
 *
 * OpenMP takes 2 to 3 microseconds to begin and end a region of two threads; a step has several of
 * them, and one of inference may be no longer than 20. A team hands a region over by a cache line
 * that all its threads look at, in half a microsecond. lamina__parallel() (threads.h) decides
 * between the two. There is one team in a process, made when it is first needed. */
#ifndef LAMINA_BASE_TEAM_H
#define LAMINA_BASE_TEAM_H

#include "base/threads.h"

#include <stdbool.h>

/* Runs fn on `threads` (2 or more) threads at once, of which the caller is thread 0, and waits for
 * all; `began` is run first on each thread that is new. If the system gives fewer threads, fn is
 * told the real number. False, and nothing was done, when the team is at work already (for another
 * thread, or around this call), or for very many threads. */
bool lamina__team_run(int threads, lamina__thread_fn *fn, void *arg, void (*began)(void));

/* Is the calling thread inside a region of the team's? */
bool lamina__team_inside(void);

/* Inside fn: waits for the region's other threads. */
void lamina__team_barrier(void);

#endif
