/* Worker threads: how many, and the only place in Lamina that opens a parallel region. */
#ifndef LAMINA_BASE_THREADS_H
#define LAMINA_BASE_THREADS_H

/* Processors this process may use: its affinity mask and its cgroup's CPU quota, at least 1. */
int lamina__processors(void);

/* The part of it that cgroups allow: the quota of the groups listed in groups_file
 * ("/proc/self/cgroup") and of all groups above them, version 1 and 2, under mount
 * ("/sys/fs/cgroup"); rounded up. INT_MAX when there is none. */
int lamina__cgroup_processors(const char *groups_file, const char *mount);

/* OMP_NUM_THREADS when it is a positive number, else lamina__processors(). */
int lamina__default_threads(void);

typedef void lamina__thread_fn(void *arg, int thread, int threads);

/* Runs fn on `threads` threads at once (the caller is thread 0) and waits for all. Each runs with
 * denormals flushed to zero and OpenMP set to one thread, so that a library called inside stays on
 * its thread. If the system gives fewer threads, fn is told the real number; inside a region that
 * is one. The caller's floating point mode and OpenMP setting are put back.
 *
 * The threads are a team of our own (team.h), whose regions cost a third of OpenMP's; OpenMP's when
 * the user has told OpenMP where threads run or to keep them spinning (OMP_WAIT_POLICY=active), or
 * when several callers want threads at once. */
void lamina__parallel(int threads, lamina__thread_fn *fn, void *arg);

/* The same on OpenMP's threads, for work between which a library opens OpenMP regions itself: two
 * sets of threads that spin on the same processors would take them from each other. Thread
 * sanitizer sees the fork, the barriers and the join. */
void lamina__parallel_openmp(int threads, lamina__thread_fn *fn, void *arg);

/* Inside fn: waits until all threads of the region are here. */
void lamina__barrier(void);

/* Gives each of `threads` worker threads a processor of its own: when the process may use exactly
 * as many, and the user has not said where threads run (OMP_PROC_BIND, OMP_PLACES,
 * GOMP_CPU_AFFINITY). Left to itself the system now and then puts two on one processor, where one
 * spins while the other works. Threads made afterwards by the caller begin on its processor:
 * lamina__unpin_thread(). For programs, not libraries: it is the whole process's. */
void lamina__pin_threads(int threads);
/* The calling thread may run wherever the process may. */
void lamina__unpin_thread(void);

/* Flush-to-zero and denormals-are-zero for this thread; returns the mode before. */
unsigned lamina__flush_denormals(void);
void lamina__restore_denormals(unsigned mode);

#endif
