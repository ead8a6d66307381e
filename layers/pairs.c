/* What losses and metrics of pairs of numbers share: pairs.h. A sample is taken in pieces of fixed
 * length; where the target lies in another order, a piece of it is copied first. Sums are kept by
 * lanes and then in double, so their order is that of this file. */
#include "layers/pairs.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <inttypes.h>
#include <stdio.h>

enum { PIECE = 512, LANES = 16 };

int32_t LAMINA__REAL_NAME(pairs_create)(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__pairs), self);
}

static int fits(const lamina_shape *x, const lamina_shape *t) {
    int same = x->ndim == t->ndim;
    for (int32_t i = 1; same && i < x->ndim; i++) {
        same = x->dim[i] == t->dim[i];
    }
    return x->ndim == t->ndim ? same : lamina__sample_size(x) == lamina__sample_size(t);
}

/* "[N, 3, 5]" */
static void shape_text(const lamina_shape *shape, char *dst, size_t size) {
    size_t used = 0;
    for (int32_t i = 0; i < shape->ndim && used < size; i++) {
        const int n = i == 0 ? snprintf(dst, size, "[N")
                             : snprintf(dst + used, size - used, ", %" PRId64, shape->dim[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used < size) {
        snprintf(dst + used, size - used, "]");
    }
}

static int32_t check_inputs(lamina_call *call, const lamina_shape *x, const lamina_shape *t) {
    char x_text[160], t_text[160];
    if (x->dtype != LAMINA__REAL_DTYPE) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "input 1 must be float32 values, not labels");
    }
    if (t->dtype != LAMINA__REAL_DTYPE) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "compares numbers, but the data has labels as targets; give it "
                                "targets, or name what to compare with: from: [x, data]");
    }
    if (!fits(x, t)) {
        shape_text(x, x_text, sizeof x_text);
        shape_text(t, t_text, sizeof t_text);
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "the prediction is %s, the target %s; they must have the same "
                                "shape, or as many numbers when one is an image and the other flat",
                                x_text, t_text);
    }
    return LAMINA_OK;
}

int32_t LAMINA__REAL_NAME(pairs_setup)(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__pairs *pairs = self;
    const lamina_shape *x = setup->in[0], *t = setup->in[1];
    const lamina_shape out = {.dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {x->dim[0]}};
    const int32_t status = check_inputs(call, x, t);
    if (status != LAMINA_OK) {
        return status;
    }
    const lamina_shape *image = x->ndim == 4 ? x : t;
    pairs->numbers = lamina__sample_size(x);
    pairs->threads = setup->threads;
    pairs->channels = 0;
    if (x->ndim != t->ndim && image->ndim == 4 && image->dim[1] > 1 &&
        image->dim[2] * image->dim[3] > 1) {
        pairs->channels = image->dim[1];
        pairs->image_target = image == t;
    }
    return call->host->set_output(call, 0, &out);
}

/* ---- Another order ------------------------------------------------------------------------- */

/* Where the target has the number that the prediction has at i, both in memory. */
static int64_t place_of(const lamina__pairs *pairs, int64_t i) {
    const int64_t area = pairs->numbers / pairs->channels;
    return pairs->image_target ? i % area * pairs->channels + i / area
                               : i % pairs->channels * area + i / pairs->channels;
}

/* n numbers of the target beside x[first]; in `copy` when they lie elsewhere. */
static const lamina_real *target_at(const lamina__pairs *pairs, const lamina_real *t, int64_t first,
                                    int64_t n, lamina_real *copy) {
    if (pairs->channels == 0) {
        return t + first;
    }
    for (int64_t i = 0; i < n; i++) {
        copy[i] = t[place_of(pairs, first + i)];
    }
    return copy;
}

/* ---- Calls --------------------------------------------------------------------------------- */

/* One call, as the threads share it. */
typedef struct work {
    const lamina__pairs *pairs;
    const lamina_io *io;
    lamina__pair_values *values;
    lamina__pair_slopes *slopes;
} work;

LAMINA__VECTOR_CLONES
static double sum_of(const lamina_real *l, int64_t n) {
    lamina_real lanes[LANES] = {0};
    const int64_t whole = n / LANES * LANES;
    double sum = 0;
    for (int64_t i = 0; i < whole; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            lanes[k] += l[i + k];
        }
    }
    for (int64_t i = whole; i < n; i++) {
        lanes[i - whole] += l[i];
    }
    for (int k = 0; k < LANES; k++) {
        sum += (double)lanes[k];
    }
    return sum;
}

/* Samples begin .. end-1. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t numbers = w->pairs->numbers;
    lamina_real *out = w->io->out[0]->data;
    (void)thread;
    for (int64_t s = begin; s < end; s++) {
        const lamina_real *x = (const lamina_real *)w->io->in[0]->data + s * numbers;
        const lamina_real *t = (const lamina_real *)w->io->in[1]->data + s * numbers;
        double sum = 0;
        for (int64_t i = 0; i < numbers; i += PIECE) {
            const int64_t n = numbers - i < PIECE ? numbers - i : PIECE;
            lamina_real l[PIECE], copy[PIECE];
            w->values(w->pairs->config, x + i, target_at(w->pairs, t, i, n, copy), i, l, n);
            sum += sum_of(l, n);
        }
        out[s] = (lamina_real)(sum / (double)numbers);
    }
    return LAMINA_OK;
}

/* The gradients of one sample; d[k] NULL: nobody wants it. */
static void backward_sample(const work *w, const lamina_real *x, const lamina_real *t,
                            lamina_real scale, lamina_real *const d[2]) {
    const lamina__pairs *pairs = w->pairs;
    for (int64_t i = 0; i < pairs->numbers; i += PIECE) {
        const int64_t n = pairs->numbers - i < PIECE ? pairs->numbers - i : PIECE;
        lamina_real copy[PIECE], dt[PIECE];
        const lamina_real *beside = target_at(pairs, t, i, n, copy);
        if (d[0] != NULL) {
            w->slopes(pairs->config, x + i, beside, i, scale, 0, d[0] + i, n);
        }
        if (d[1] != NULL) {
            w->slopes(pairs->config, x + i, beside, i, scale, 1,
                      pairs->channels == 0 ? d[1] + i : dt, n);
        }
        for (int64_t k = 0; d[1] != NULL && pairs->channels != 0 && k < n; k++) {
            d[1][place_of(pairs, i + k)] = dt[k];
        }
    }
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t numbers = w->pairs->numbers;
    const lamina_real *d_loss = w->io->d_out[0]->data;
    (void)thread;
    for (int64_t s = begin; s < end; s++) {
        lamina_real *d[2] = {NULL, NULL};
        for (int32_t k = 0; k < 2; k++) {
            if (w->io->d_in[k] != NULL) {
                d[k] = (lamina_real *)w->io->d_in[k]->data + s * numbers;
            }
        }
        backward_sample(w, (const lamina_real *)w->io->in[0]->data + s * numbers,
                        (const lamina_real *)w->io->in[1]->data + s * numbers,
                        d_loss[s] / (lamina_real)numbers, d);
    }
    return LAMINA_OK;
}

enum { GRAIN_NUMBERS = 8192 }; /* less is not worth a thread */

int32_t LAMINA__REAL_NAME(pairs_run_forward)(const void *self, lamina_call *call,
                                             const lamina_io *io, lamina__pair_values *fn) {
    const lamina__pairs *pairs = self;
    work w = {.pairs = pairs, .io = io, .values = fn};
    return lamina__spread(call, pairs->threads, io->samples, GRAIN_NUMBERS / pairs->numbers + 1,
                          forward_range, &w);
}

int32_t LAMINA__REAL_NAME(pairs_run_backward)(const void *self, lamina_call *call,
                                              const lamina_io *io, lamina__pair_slopes *fn) {
    const lamina__pairs *pairs = self;
    work w = {.pairs = pairs, .io = io, .slopes = fn};
    if (io->d_in[0] == NULL && io->d_in[1] == NULL) {
        return LAMINA_OK;
    }
    return lamina__spread(call, pairs->threads, io->samples, GRAIN_NUMBERS / pairs->numbers + 1,
                          backward_range, &w);
}

LAMINA__VECTOR_CLONES
static void distances(const lamina_real *x, const lamina_real *t, lamina_real *l, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const lamina_real r = x[i] - t[i];
        l[i] = r < 0 ? -r : r;
    }
}

void LAMINA__REAL_NAME(pairs_distances)(const void *config, const lamina_real *x,
                                        const lamina_real *t, int64_t first, lamina_real *l,
                                        int64_t n) {
    (void)config;
    (void)first;
    distances(x, t, l, n);
}
