/* Finite differences of f(x) = sum over all outputs of r * out(x), with a fixed random projection r
 * (the d_out that backward() was given), against backward()'s gradient g.
 *
 * Central differences D(h) = (f(x+h) - f(x-h)) / 2h, once halved and extrapolated (Richardson):
 *
 *   R = (4 D(h/2) - D(h)) / 3          error O(h^4) where f is smooth
 *
 * Two numbers tell how far R can be believed. |D(h) - D(h/2)| is small when h is. The jump of the
 * slope, s(h) = (f(x+h) - 2 f(x) + f(x-h)) / h, halves with h where f is smooth, so |s(h) - 2
 * s(h/2)| is small too; at a kink (relu, a maximum that changes hands) it is not. When R disagrees
 * with g and cannot be believed either, h is made smaller; when the smallest cannot be believed,
 * the element is skipped, and too many of those fail the check.
 *
 * Elements are varied one by one; where there are too many, or a twin in double makes the
 * differences sharp enough, all elements of a tensor are also varied together along +-1 directions,
 * so that no wrong element goes unseen. */
#include "check/checker.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

#define DIRECTIONS 3
#define MAX_SEARCH 4096 /* elements looked at one by one after a direction failed */

typedef struct differences {
    lamina__rig *rig;
    lamina__rig_call quick; /* the call, unwatched */
    int64_t n_out;          /* floating-point outputs, all together, in memory order */
    double *r, *out0;       /* projection, outputs at x */
    double *out;            /* outputs at x + h */
    double size;            /* root mean square of out0: what a cancelled output was made of */
    double unit;            /* a rounding of one output, relative */
    double tolerance;
    lamina__fault *fault;
} differences;

/* What is varied: one element, or all of them along a direction of +1 and -1. */
typedef struct move {
    lamina__field *field;
    const double *gradient; /* backward()'s, of the field */
    double largest;         /* of its elements */
    int64_t index;          /* -1: a direction */
    lamina__stream direction;
    double step; /* the first h */
    double *x;   /* for a direction: the field's values */
} move;

typedef struct estimate {
    double value, doubt, floor;
    double step;
} estimate;

/* ---- Evaluating f -------------------------------------------------------------------------- */

/* Outputs (or d_out) in memory order, as double: both have the same layout. */
static void collect(const lamina__rig *rig, lamina__role role, double *dst) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        const lamina__field *field = lamina__rig_field(rig, role, i);
        const void *data = lamina__field_data(field);
        for (int64_t k = 0; field->real && k < field->count; k++) {
            *dst++ = rig->f64 ? ((const double *)data)[k] : (double)((const float *)data)[k];
        }
    }
}

static double sign_of(const move *m, int64_t i) {
    uint32_t bits;
    lamina__stream_u32(m->direction, (uint64_t)i, &bits, 1);
    return bits & 1 ? 1.0 : -1.0;
}

static void apply(const move *m, double h) {
    if (m->index >= 0) {
        lamina__field_set(m->field, m->index, m->x[m->index] + h);
        return;
    }
    for (int64_t i = 0; i < m->field->count; i++) {
        lamina__field_set(m->field, i, h == 0 ? m->x[i] : m->x[i] + h * sign_of(m, i));
    }
}

/* f(x + h) - f(x), and the sum of squares of what was rounded on the way. Outputs that did not
 * change add neither. */
static bool difference(differences *d, const move *m, double h, double *delta, double *noise) {
    apply(m, h);
    bool ok = lamina__rig_forward(d->rig, &d->quick, d->fault);
    apply(m, 0);
    if (!ok) {
        return false;
    }
    collect(d->rig, LAMINA__ROLE_OUT, d->out);
    *delta = 0;
    for (int64_t i = 0; i < d->n_out; i++) {
        const double change = d->out[i] - d->out0[i];
        if (change != 0) {
            const double rounded = d->r[i] * fmax(fabs(d->out[i]), d->size);
            *delta += d->r[i] * change;
            *noise += rounded * rounded;
        }
    }
    return true;
}

static bool estimate_at(differences *d, const move *m, double h, estimate *result) {
    double up, down, up2, down2, noise = 0;
    if (!difference(d, m, h, &up, &noise) || !difference(d, m, -h, &down, &noise) ||
        !difference(d, m, h / 2, &up2, &noise) || !difference(d, m, -h / 2, &down2, &noise)) {
        return false;
    }
    const double wide = (up - down) / (2 * h), near = (up2 - down2) / h;
    const double jump = (up + down) / h, jump2 = (up2 + down2) / (h / 2);
    result->value = (4 * near - wide) / 3;
    result->doubt = fabs(wide - near) + fabs(jump - 2 * jump2);
    result->floor = d->unit * sqrt(noise / 4) / h;
    result->step = h;
    return true;
}

/* ---- Judging ------------------------------------------------------------------------------- */

/* What backward() says of the move: g's element, or g along the direction; and its scale. */
static double analytic(const move *m, double *scale) {
    if (m->index >= 0) {
        *scale = fabs(m->gradient[m->index]) + 0.01 * m->largest;
        return m->gradient[m->index];
    }
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < m->field->count; i++) {
        sum += sign_of(m, i) * m->gradient[i];
        squares += m->gradient[i] * m->gradient[i];
    }
    *scale = sqrt(squares);
    return sum;
}

typedef enum verdict { GOOD, WRONG, UNCLEAR, STOPPED } verdict;

static verdict judge(differences *d, const move *m, estimate *last, double *ratio) {
    double scale;
    const double g = analytic(m, &scale);
    const int steps = d->rig->f64 ? 4 : 3;
    double h = m->step;
    for (int k = 0; k < steps; k++, h /= 8) {
        if (!estimate_at(d, m, h, last)) {
            return STOPPED;
        }
        const double allowed = d->tolerance * scale + last->floor;
        const double error = fabs(g - last->value);
        *ratio = error / allowed;
        if (error <= allowed) {
            return GOOD;
        }
        if (!isfinite(error) || error > 3 * last->doubt + allowed) {
            return WRONG;
        }
    }
    return UNCLEAR;
}

static void report_wrong(const move *m, const estimate *last, lamina__check_line *line) {
    char place[128];
    double scale;
    if (m->index < 0) {
        lamina__line_fail(line,
                          "d_%s along a random direction: backward() says %.9g, finite differences "
                          "of forward() say %.9g",
                          m->field->label, analytic(m, &scale), last->value);
        return;
    }
    lamina__field_place(m->field, m->index, place, sizeof(place));
    lamina__line_fail(line,
                      "d_%s at %s: backward() says %.9g, finite differences of forward() say %.9g",
                      m->field->label, place, m->gradient[m->index], last->value);
}

typedef struct tally {
    int64_t probes, unclear;
} tally;

/* False: no need to go on. */
static bool probe(differences *d, const move *m, tally *count, lamina__check_line *line) {
    estimate last = {0};
    double ratio = 0;
    switch (judge(d, m, &last, &ratio)) {
    case GOOD:
        line->worst = fmax(line->worst, ratio);
        break;
    case WRONG:
        report_wrong(m, &last, line);
        return false;
    case UNCLEAR:
        count->unclear++;
        break;
    case STOPPED:
        lamina__line_fail(line, "%s", d->fault->text);
        return false;
    }
    count->probes++;
    return true;
}

/* After a direction failed: the element that is to blame makes the better message. */
static void search(differences *d, move *m, lamina__check_line *line) {
    const int64_t n = m->field->count < MAX_SEARCH ? m->field->count : MAX_SEARCH;
    const estimate none = {0};
    estimate last = none, along = none;
    double ratio;
    (void)judge(d, m, &along, &ratio);
    for (int64_t i = 0; i < n; i++) {
        m->index = i;
        if (judge(d, m, &last, &ratio) == WRONG) {
            report_wrong(m, &last, line);
            return;
        }
    }
    m->index = -1;
    report_wrong(m, &along, line);
}

static bool probe_direction(differences *d, move *m, tally *count, lamina__check_line *line) {
    lamina__check_line attempt = {.outcome = LAMINA__CHECK_PASSED};
    if (probe(d, m, count, &attempt)) {
        line->worst = fmax(line->worst, attempt.worst);
        return true;
    }
    search(d, m, line);
    return false;
}

/* One input or weight: elements one by one, evenly spread with random places, then directions. */
static lamina_status probe_field(const lamina__checker *checker, differences *d,
                                 lamina__field *field, const double *gradient, double step,
                                 uint64_t number, tally *count, lamina__check_line *line) {
    const int64_t max_probes = checker->options.max_probes;
    const int64_t n = field->count < max_probes ? field->count : max_probes;
    const uint64_t seed = checker->options.seed;
    const lamina__stream places = lamina__stream_make(seed, LAMINA__RANDOM_CHECK, 100, number);
    move m = {.field = field, .gradient = gradient, .step = step};

    m.x = lamina__calloc((size_t)field->count, sizeof(*m.x));
    if (m.x == NULL) {
        return lamina__fail_memory(checker->error, "check");
    }
    lamina__field_values(field, m.x);
    for (int64_t i = 0; i < field->count; i++) {
        m.largest = fmax(m.largest, fabs(gradient[i]));
    }
    bool go_on = true;
    for (int64_t k = 0; k < n && go_on; k++) {
        const int64_t from = k * field->count / n, to = (k + 1) * field->count / n;
        m.index = from + (int64_t)lamina__stream_below(places, (uint64_t)k, (uint64_t)(to - from));
        go_on = probe(d, &m, count, line);
    }
    if (checker->options.f64 != NULL || n < field->count) {
        m.index = -1;
        for (uint64_t k = 0; k < DIRECTIONS && go_on; k++) {
            m.direction = lamina__stream_make(seed, LAMINA__RANDOM_CHECK, 200 + k, number);
            go_on = probe_direction(d, &m, count, line);
        }
    }
    lamina__free(m.x);
    return LAMINA_OK;
}

/* ---- The check ----------------------------------------------------------------------------- */

static lamina_status start(differences *d, lamina__checker *checker) {
    const lamina__rig *rig = d->rig;
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_OUT]; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_OUT, i);
        d->n_out += field->real ? field->count : 0;
    }
    const size_t n = d->n_out > 0 ? (size_t)d->n_out : 1;
    d->r = lamina__calloc(n, sizeof(double));
    d->out0 = lamina__calloc(n, sizeof(double));
    d->out = lamina__calloc(n, sizeof(double));
    if (d->r == NULL || d->out0 == NULL || d->out == NULL) {
        return lamina__fail_memory(checker->error, "check");
    }
    /* Sums inside the layer are rounded more than once: float needs the larger margin. */
    d->unit = rig->f64 ? 16 * 0x1p-53 : 16 * 0x1p-24;
    d->tolerance = checker->options.gradient_tolerance;
    return LAMINA_OK;
}

static lamina_status probe_all(lamina__checker *checker, differences *d,
                               const lamina__snapshot *base, tally *count,
                               lamina__check_line *line) {
    const lamina__rig *rig = d->rig;
    const double part = rig->f64 ? 0x1p-12 : 0x1p-5; /* of the values' range: the first step */
    lamina_status status = LAMINA_OK;
    uint64_t number = 0;
    for (int32_t i = 0; i < rig->instance->n_in; i++) {
        if (base->d_in[i] != NULL && status == LAMINA_OK && line->outcome != LAMINA__CHECK_FAILED) {
            status =
                probe_field(checker, d, lamina__rig_field(rig, LAMINA__ROLE_IN, i), base->d_in[i],
                            part * (checker->from.high - checker->from.low), number++, count, line);
        }
    }
    for (int32_t i = 0; i < rig->instance->n_weights; i++) {
        if (status == LAMINA_OK && line->outcome != LAMINA__CHECK_FAILED) {
            status = probe_field(checker, d, lamina__rig_field(rig, LAMINA__ROLE_WEIGHT, i),
                                 base->d_weight[i], 2 * part, number++, count, line);
        }
    }
    return status;
}

lamina_status lamina__check_gradient(lamina__checker *checker, lamina__rig *rig,
                                     lamina__snapshot *base, lamina__check_line *line) {
    lamina__fault fault = {{0}};
    differences d = {.rig = rig, .quick = checker->call, .fault = &fault};
    tally count = {0};
    d.quick.quick = true;
    lamina_status status = start(&d, checker);
    if (status != LAMINA_OK) {
        goto done;
    }
    if (!lamina__rig_forward(rig, &d.quick, &fault)) {
        lamina__line_fail(line, "%s", fault.text);
        goto done;
    }
    collect(rig, LAMINA__ROLE_D_OUT, d.r);
    collect(rig, LAMINA__ROLE_OUT, d.out0);
    for (int64_t i = 0; i < d.n_out; i++) {
        d.size += d.out0[i] * d.out0[i] / (double)d.n_out;
    }
    d.size = sqrt(d.size);
    status = probe_all(checker, &d, base, &count, line);
    if (status == LAMINA_OK && count.unclear > 2 && count.unclear > count.probes / 4) {
        lamina__line_fail(line,
                          "finite differences cannot tell at %lld of %lld points: forward() has "
                          "kinks or jumps nearly everywhere, or its result is not a function of "
                          "its inputs",
                          (long long)count.unclear, (long long)count.probes);
    }
done:
    lamina__free(d.r);
    lamina__free(d.out0);
    lamina__free(d.out);
    return status;
}
