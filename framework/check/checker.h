/* Inside the checker: what its files share. */
#ifndef LAMINA_CHECK_CHECKER_H
#define LAMINA_CHECK_CHECKER_H

#include "check/check.h"
#include "check/rig.h"

typedef struct lamina__checker {
    const lamina__type_entry *entry;
    lamina__check_options options; /* defaults filled in */
    lamina__case from;
    lamina__rig_call call; /* the whole batch at once, in the case's phase */
    lamina__check_report *report;
    lamina_error *error;
    const char *kernel; /* under test */
    bool library;       /* another library's kernel: it may round otherwise for another cut */
} lamina__checker;

/* Copies of the results of a call, in logical order: out, d_in, d_weight (summed over the shards).
 * The arrays are NULL where there is nothing (labels, no backward). */
typedef struct lamina__snapshot {
    double *out[LAMINA__MAX_OUTPUTS];
    double *d_in[LAMINA__MAX_INPUTS];
    double *d_weight[LAMINA__MAX_DECLARED];
} lamina__snapshot;

lamina_status lamina__snapshot_take(const lamina__rig *, bool backward, bool in_place,
                                    lamina__snapshot *, lamina_error *);
void lamina__snapshot_free(lamina__snapshot *);

/* Marks a line failed, keeping the first reason. */
void lamina__line_fail(lamina__check_line *, const char *fmt, ...) LAMINA_PRINTF(2, 3);

/* Every got[i] within tolerance * max(|expected[i]|, root mean square of expected, least);
 * tolerance 0: the same bits. What is wrong goes into the line, with `what` in front of the tensor
 * and its place. */
bool lamina__compare(const lamina__field *, const double *got, const double *expected,
                     int64_t count, double tolerance, double least, const char *what,
                     lamina__check_line *);

/* Relative tolerance for numbers of a role that were summed up in float. */
double lamina__rounding(const lamina__checker *, const lamina__rig *, lamina__role);

static inline bool lamina__has_backward(const lamina__rig *rig) {
    return rig->instance->training && !(rig->instance->type->flags & LAMINA_NO_BACKWARD);
}

/* The checks. They return LAMINA_ERROR_MEMORY or LAMINA_OK; the verdict is in the line. `base`: the
 * results of the whole batch in one call, filled by check_writes. */
typedef lamina_status lamina__check_fn(lamina__checker *, lamina__rig *, lamina__snapshot *base,
                                       lamina__check_line *);
lamina__check_fn lamina__check_writes, lamina__check_flags, lamina__check_adds,
    lamina__check_unwanted, lamina__check_deterministic, lamina__check_in_place, lamina__check_eval,
    lamina__check_gradient, lamina__check_variables, lamina__check_shards, lamina__check_partial,
    lamina__check_threads;

#endif
