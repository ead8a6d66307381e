/* The layer checker: does an operator keep the contract of lamina/layer.h? `lamina plugin check`
 * and the tests of the built-in layers use it.
 *
 * One case at a time, each kernel of the type that applies to it goes through these checks:
 *
 *   applies        only told: the passes that the kernel leaves to another one for this case
 *   writes         forward() and backward() write all of their outputs (NaN before) with finite
 *                  numbers, nothing outside them (guard zones), and change nothing that they may
 *                  only read
 *   reference      forward and gradients against the same layer in double, where there is one
 *   gradient       backward() against finite differences of forward(), for a random projection of
 *                  the outputs: in double where there is such a twin, else in float
 *   flags          backward() reads its inputs and outputs only when the flags say so
 *   adds           backward() adds to d_weight and overwrites d_in
 *   unwanted       a gradient that is not wanted (NULL) changes none of the others
 *   deterministic  the same call gives the same bits
 *   in place       with LAMINA_IN_PLACE, one memory for input and output gives the same
 *   eval           forward() for evaluation, also in a net that was never built for training
 *   variables      a plugin's calls leave its static variables alone: shards would share them
 *   shards         the batch cut in several ways, the parts one by one in any order and at once on
 *                  several threads: each sample as in one call, no part writing to another's
 *   partial        fewer samples than the layer was set up for
 *   threads        one call with two threads
 *
 * When writes fails, the kernel's other checks are left out: they would only repeat it. */
#ifndef LAMINA_CHECK_CHECK_H
#define LAMINA_CHECK_CHECK_H

#include "registry/registry.h"

typedef void lamina__check_begin_fn(void *arg, const char *check, const char *kernel);

/* Zeroed: everything by default. */
typedef struct lamina__check_options {
    uint64_t seed;
    const char *const *kernels;    /* NULL-terminated names; NULL: all of the type */
    const lamina__type_entry *f64; /* the same layer computing in double; NULL: there is none */
    double gradient_tolerance;     /* relative; 0: 1e-7 with f64, else 2e-3 */
    double rounding;               /* how many roundings a sum may be off, beside its length: 8 */
    int64_t max_probes;   /* elements per tensor to vary one by one: 48, 1024 without f64 */
    double shard_seconds; /* of processor time; shards at once, for each cut and direction: 0.01,
                             0.001 with f64 */
    lamina__check_begin_fn *begin; /* before each check: who crashes is known by name */
    void *arg;                     /* of begin */
} lamina__check_options;

typedef enum lamina__check_outcome {
    LAMINA__CHECK_PASSED = 1,
    LAMINA__CHECK_FAILED,
    LAMINA__CHECK_SKIPPED
} lamina__check_outcome;

typedef struct lamina__check_line {
    const char *check; /* "gradient" */
    char kernel[64];   /* "reference", "onednn", "in double" */
    lamina__check_outcome outcome;
    double worst;     /* largest error, as a part of what is tolerated; 0 where bits must agree */
    char detail[512]; /* failed: what, where, got, expected; skipped: why; passed: "" */
} lamina__check_line;

typedef struct lamina__check_report {
    lamina__check_line *lines;
    size_t count, capacity;
    size_t passed, failed, skipped;
} lamina__check_report;

/* Adds the case's lines to the report (zeroed at first). The status is not LAMINA_OK when there was
 * nothing to check: a case that does not read, parameters or shapes that the layer refuses, no
 * memory. `text`: see check/case.h. */
lamina_status lamina__check_case(const lamina__type_entry *, const char *text,
                                 const lamina__check_options *, lamina__check_report *,
                                 lamina_error *);
void lamina__check_report_free(lamina__check_report *); /* its contents */

#endif
