/* A case: what `lamina plugin check` and the tests give a layer to compute. One YAML mapping:
 *
 *     {input: [2, 3, 5, 4], params: {beta: 1.5}}
 *     {input: [[2, 3], [2, 3]], range: [0.1, 2]}
 *     {input: [4, 5], target: values}
 *
 * input   logical shape (N,C,H,W, or N,F, or any other with the samples first), or a list of
 *         shapes; for a loss or metric the target's may be left out
 * target  of a loss or metric: labels, the default, or values, of the prediction's shape when no
 *         other is given
 * params  the layer's own keys, as in a config
 * range   smallest and largest value of the inputs, for functions that are not defined everywhere;
 *         [-1.5, 1.5] by default
 * target_range
 *         the same for a target that is values; that of the inputs by default
 * phase   train, or eval: all calls are made for evaluation, backward() too, as a frozen layer's
 *         are; train by default */
#ifndef LAMINA_CHECK_CASE_H
#define LAMINA_CHECK_CASE_H

#include "registry/instance.h"

typedef struct lamina__case {
    lamina__doc *doc; /* strings in config point into it */
    void *config;     /* values of the type's parameter table */
    int32_t n_in;
    lamina_shape in[LAMINA__MAX_INPUTS]; /* F32; labels I32 */
    double low, high, target_low, target_high;
    int32_t phase; /* LAMINA_TRAIN or LAMINA_EVAL */
} lamina__case;

/* `result` is filled in any case, free it with lamina__case_free. */
lamina_status lamina__case_read(const lamina__type_entry *, const char *text, lamina__case *result,
                                lamina_error *);
void lamina__case_free(lamina__case *); /* its contents */

#endif
