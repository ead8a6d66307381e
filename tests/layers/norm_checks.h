/* For the tests of norms of a sample: their outputs against the formula, in double. */
#ifndef LAMINA_TESTS_NORM_CHECKS_H
#define LAMINA_TESTS_NORM_CHECKS_H

#include "layer_checks.h"

/* Values of a sample, in logical order, by groups of neighbours: (x - mean) / sqrt(variance + eps),
 * with the weight and bias of the value's place, which have a part of a sample each: as many values
 * as the sample has for one of the weight share it. */
static inline void norm_check_formula(const char *type, const char *text, int64_t groups,
                                      double eps) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, type, text, &run)) {
        const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        const bool affine = run.rig->count[LAMINA__ROLE_WEIGHT] > 0;
        const lamina__field *weight = lamina__rig_field(run.rig, LAMINA__ROLE_WEIGHT, 0);
        const int64_t each = lamina__field_per_sample(in), n = each / groups;
        const int64_t shared = affine ? each / weight->count : 1;
        for (int64_t first = 0; first < in->count; first += n) {
            double mean = 0, variance = 0;
            for (int64_t i = first; i < first + n; i++) {
                mean += lamina__field_get(in, i) / (double)n;
            }
            for (int64_t i = first; i < first + n; i++) {
                const double d = lamina__field_get(in, i) - mean;
                variance += d * d / (double)n;
            }
            for (int64_t i = first; i < first + n; i++) {
                double want = (lamina__field_get(in, i) - mean) / sqrt(variance + eps);
                if (affine) {
                    const int64_t at = i % each / shared;
                    want = want * lamina__field_get(weight, at) + lamina__field_get(weight + 1, at);
                }
                const double error = fabs(lamina__field_get(out, i) - want) / (fabs(want) + 1);
                worst = isnan(error) || error > worst ? error : worst;
            }
        }
    }
    if (!(worst < 1e-6)) {
        printf("\n      %s %s: worst %g", type, text, worst);
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

#endif
