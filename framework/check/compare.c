/* Results of a call, copied and compared. */
#include "check/checker.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double *copy_values(const lamina__field *field) {
    double *values = lamina__calloc((size_t)field->count, sizeof(*values));
    if (values != NULL) {
        lamina__field_values(field, values);
    }
    return values;
}

/* d_weight, summed over the shards in their order. */
static double *sum_shards(const lamina__rig *rig, int32_t weight) {
    double *sum = copy_values(lamina__rig_d_weight(rig, 0, weight));
    for (int32_t s = 1; s < rig->instance->shards && sum != NULL; s++) {
        const lamina__field *field = lamina__rig_d_weight(rig, s, weight);
        for (int64_t i = 0; i < field->count; i++) {
            sum[i] += lamina__field_get(field, i);
        }
    }
    return sum;
}

lamina_status lamina__snapshot_take(const lamina__rig *rig, bool backward, bool in_place,
                                    lamina__snapshot *snapshot, lamina_error *error) {
    bool failed = false;
    lamina__snapshot_free(snapshot);
    for (int32_t i = 0; i < rig->instance->n_out; i++) {
        const lamina__role role = in_place && i == 0 ? LAMINA__ROLE_IN : LAMINA__ROLE_OUT;
        snapshot->out[i] = copy_values(lamina__rig_field(rig, role, i));
        failed = failed || snapshot->out[i] == NULL;
    }
    for (int32_t i = 0; i < rig->instance->n_in && backward; i++) {
        const lamina__role role = in_place && i == 0 ? LAMINA__ROLE_D_OUT : LAMINA__ROLE_D_IN;
        if (lamina__rig_field(rig, LAMINA__ROLE_D_IN, i)->real) {
            snapshot->d_in[i] = copy_values(lamina__rig_field(rig, role, i));
            failed = failed || snapshot->d_in[i] == NULL;
        }
    }
    for (int32_t i = 0; i < rig->instance->n_weights && backward; i++) {
        snapshot->d_weight[i] = sum_shards(rig, i);
        failed = failed || snapshot->d_weight[i] == NULL;
    }
    return failed ? lamina__fail_memory(error, "check") : LAMINA_OK;
}

void lamina__snapshot_free(lamina__snapshot *snapshot) {
    for (int i = 0; i < LAMINA__MAX_OUTPUTS; i++) {
        lamina__free(snapshot->out[i]);
    }
    for (int i = 0; i < LAMINA__MAX_INPUTS; i++) {
        lamina__free(snapshot->d_in[i]);
    }
    for (int i = 0; i < LAMINA__MAX_DECLARED; i++) {
        lamina__free(snapshot->d_weight[i]);
    }
    *snapshot = (lamina__snapshot){0};
}

void lamina__line_fail(lamina__check_line *line, const char *fmt, ...) {
    if (line->outcome == LAMINA__CHECK_FAILED) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(line->detail, sizeof(line->detail), fmt, args);
    va_end(args);
    line->outcome = LAMINA__CHECK_FAILED;
}

static double root_mean_square(const double *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += values[i] * values[i];
    }
    return count > 0 ? sqrt(sum / (double)count) : 0;
}

bool lamina__compare(const lamina__field *field, const double *got, const double *expected,
                     int64_t count, double tolerance, double least, const char *what,
                     lamina__check_line *line) {
    const double size = fmax(root_mean_square(expected, count), least);
    double worst = 0;
    int64_t at = -1;
    for (int64_t i = 0; i < count; i++) {
        if (memcmp(&got[i], &expected[i], sizeof(got[i])) == 0) {
            continue;
        }
        /* A float below the smallest normal one may be flushed to 0. */
        const double allowed =
            tolerance > 0 ? tolerance * fmax(fabs(expected[i]), size) + 0x1p-125 : 0;
        const double ratio = fabs(got[i] - expected[i]) / allowed;
        if (!(ratio <=
              worst)) { /* a NaN, or a division by a tolerance of 0, is the worst there is */
            worst = isnan(ratio) ? INFINITY : ratio;
            at = i;
        }
    }
    if (isfinite(worst)) {
        line->worst = fmax(line->worst, worst);
    }
    if (worst <= 1) {
        return true;
    }
    char place[128];
    lamina__field_place(field, at, place, sizeof(place));
    lamina__line_fail(line, "%s: %s at %s is %.9g, expected %.9g%s", what, field->label, place,
                      got[at], expected[at], tolerance == 0 ? " (the same bits)" : "");
    return false;
}

/* Half a unit in the last place of a float for each of L roundings that add up like a random walk,
 * L being the most numbers that one element can be a sum of, and some for the formula itself. */
/* What the least exact of the kernels in use asks for. */
static double allowance(const lamina__instance *instance) {
    double most = 1;
    for (int32_t k = 0; k < instance->n_bound; k++) {
        most = fmax(most, instance->bound[k].kernel->rounding);
    }
    return most;
}

double lamina__rounding(const lamina__checker *checker, const lamina__rig *rig, lamina__role role) {
    const lamina__role from = role == LAMINA__ROLE_OUT ? LAMINA__ROLE_IN : LAMINA__ROLE_D_OUT;
    const bool couples = (rig->instance->type->flags & LAMINA_COUPLES_BATCH) != 0;
    int64_t length = 16;
    for (int32_t i = 0; i < rig->count[from]; i++) {
        const lamina__field *field = lamina__rig_field(rig, from, i);
        const bool all = couples || role == LAMINA__ROLE_D_WEIGHT;
        length += all ? field->count : lamina__field_per_sample(field);
    }
    return checker->options.rounding * allowance(rig->instance) * 0x1p-24 * sqrt((double)length);
}
