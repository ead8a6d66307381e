/* Images made of others by a sparse matrix along each axis: resample.h.
 *
 * Every row of the result is made by itself: first the rows it is a sum of are added up, then its
 * pixels are made of that row's. Backward does the same with the transposes, so it writes each
 * gradient once, and sums are taken in the order of the pixels whatever threads there are. */
#include "layers/resample.h"
#include "layers/parallel.h"

#include <inttypes.h>
#include <string.h>

enum {
    GRAIN = 8192,         /* numbers: less is not worth a thread */
    MOST_PIXELS = 4194304 /* along an axis: each takes 56 bytes of the matrices */
};

/* ---- The matrices -------------------------------------------------------------------------- */

static int allocate(lamina_call *call, int64_t rows, int64_t columns, int64_t terms,
                    lamina__resample_matrix *m) {
    m->rows = rows;
    m->columns = columns;
    m->begin = call->host->alloc(call, (size_t)(rows + 1) * sizeof *m->begin);
    m->at = call->host->alloc(call, (size_t)(terms + 1) * sizeof *m->at);
    m->weight = call->host->alloc(call, (size_t)(terms + 1) * sizeof *m->weight);
    return m->begin != NULL && m->at != NULL && m->weight != NULL;
}

/* t: the transpose of m; of equal columns the terms stay in the order of m's rows. begin[r + 1] is
 * where the next term of row r goes until all are there. */
static void transpose(const lamina__resample_matrix *m, lamina__resample_matrix *t) {
    for (int64_t k = 0; k < m->begin[m->rows]; k++) {
        if (m->at[k] + 2 <= t->rows) {
            t->begin[m->at[k] + 2]++;
        }
    }
    for (int64_t r = 2; r <= t->rows; r++) {
        t->begin[r] += t->begin[r - 1];
    }
    for (int64_t o = 0; o < m->rows; o++) {
        for (int64_t k = m->begin[o]; k < m->begin[o + 1]; k++) {
            const int64_t to = t->begin[m->at[k] + 1]++;
            t->at[to] = o;
            t->weight[to] = m->weight[k];
        }
    }
}

static int make(lamina_call *call, int axis, int64_t in, int64_t out, lamina__resample_row *row,
                const void *arg, lamina__resample *r) {
    lamina__resample_matrix *m = &r->forward[axis], *t = &r->backward[axis];
    int64_t n = 0;
    if (!allocate(call, out, in, 2 * out, m) || !allocate(call, in, out, 2 * out, t)) {
        return 0;
    }
    for (int64_t o = 0; o < out; o++) {
        n += row(arg, axis, o, m->at + n, m->weight + n);
        m->begin[o + 1] = n;
    }
    transpose(m, t);
    return 1;
}

int32_t LAMINA__REAL_NAME(resample_setup)(lamina_call *call, const lamina_setup *setup,
                                          const int64_t out[2], lamina__resample_row *row,
                                          const void *arg, lamina__resample *resample) {
    const lamina_shape *in = setup->in[0];
    const int64_t widest = in->dim[3] > out[1] ? in->dim[3] : out[1];
    lamina_shape shape = *in;

    shape.dim[2] = out[0];
    shape.dim[3] = out[1];
    resample->channels = in->dim[1];
    resample->threads = setup->threads;
    if (out[0] > MOST_PIXELS || out[1] > MOST_PIXELS) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "an image of %" PRId64 "x%" PRId64
                                " is too large: an axis has at most %d pixels",
                                out[0], out[1], (int)MOST_PIXELS);
    }
    int32_t status = call->host->set_output(call, 0, &shape);
    if (status >= 0 && (__builtin_mul_overflow(widest, resample->channels, &resample->scratch) ||
                        resample->scratch > INT64_MAX / 8 / setup->threads)) {
        status = call->host->fail(call, LAMINA_ERROR_SHAPE, "the image is too large");
    }
    if (status >= 0) {
        status = call->host->add_scratch(call, (size_t)(resample->scratch * setup->threads) *
                                                   sizeof(lamina_real));
    }
    /* Last, as they take memory: no image that was refused has any. */
    for (int axis = 0; status >= 0 && axis < 2; axis++) {
        if (!make(call, axis, in->dim[2 + axis], out[axis], row, arg, resample)) {
            status = call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
        }
    }
    return status < 0 ? status : LAMINA_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* to = the sum over a row's terms, at least one, of weight * from[at * n ..], n numbers each. */
static inline void add_terms(const lamina__resample_matrix *m, int64_t row, int64_t n,
                             const lamina_real *restrict from, lamina_real *restrict to) {
    const int64_t end = m->begin[row + 1];
    int64_t k = m->begin[row];
    const lamina_real *a = from + m->at[k] * n, v = m->weight[k++];
    if (k == end) {
        for (int64_t i = 0; i < n; i++) {
            to[i] = v * a[i];
        }
        return;
    }
    const lamina_real *b = from + m->at[k] * n, w = m->weight[k++];
    for (int64_t i = 0; i < n; i++) {
        to[i] = v * a[i] + w * b[i];
    }
    for (; k < end; k++) {
        const lamina_real *c = from + m->at[k] * n, u = m->weight[k];
        for (int64_t i = 0; i < n; i++) {
            to[i] += u * c[i];
        }
    }
}

LAMINA__VECTOR_CLONES
static void add_rows(const lamina__resample_matrix *m, int64_t row, int64_t n,
                     const lamina_real *from, lamina_real *to) {
    add_terms(m, row, n, from, to);
}

/* 1: the row is a copy of one pixel, or row of pixels. */
static inline int is_copy(const lamina__resample_matrix *m, int64_t row) {
    return m->begin[row + 1] == m->begin[row] + 1 && m->weight[m->begin[row]] == 1;
}

/* A row of the result from a row of what it is made of; pixels that are copies of neighbours at one
 * go. */
LAMINA__VECTOR_CLONES
static void make_pixels(const lamina__resample_matrix *m, int64_t channels, lamina_real fill,
                        const lamina_real *from, lamina_real *to) {
    for (int64_t j = 0; j < m->rows; j++) {
        lamina_real *pixel = to + j * channels;
        if (m->begin[j + 1] == m->begin[j]) {
            for (int64_t c = 0; c < channels; c++) {
                pixel[c] = fill;
            }
        } else if (is_copy(m, j)) {
            const int64_t first = m->at[m->begin[j]];
            int64_t n = 1;
            while (j + 1 < m->rows && is_copy(m, j + 1) && m->at[m->begin[j + 1]] == first + n) {
                n++;
                j++;
            }
            memcpy(pixel, from + first * channels, (size_t)(n * channels) * sizeof *to);
        } else {
            add_terms(m, j, channels, from, pixel);
        }
    }
}

LAMINA__VECTOR_CLONES
static void fill_row(int64_t n, lamina_real fill, lamina_real *to) {
    for (int64_t i = 0; i < n; i++) {
        to[i] = fill;
    }
}

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__resample *resample;
    const lamina__resample_matrix *y, *x;
    const lamina_real *from;
    lamina_real *to, *scratch;
    lamina_real fill;
} work;

/* Rows begin .. end-1 of the results, counted through all samples. */
static int32_t make_rows(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__resample_matrix *y = w->y, *x = w->x;
    const int64_t channels = w->resample->channels;
    const int64_t from_row = x->columns * channels, to_row = x->rows * channels;
    lamina_real *sum = w->scratch + thread * w->resample->scratch;

    for (int64_t i = begin; i < end; i++) {
        const int64_t row = i % y->rows, first = y->begin[row];
        const lamina_real *from = w->from + i / y->rows * y->columns * from_row;
        lamina_real *to = w->to + i * to_row;
        if (y->begin[row + 1] == first) {
            fill_row(to_row, w->fill, to);
        } else if (!is_copy(y, row)) {
            add_rows(y, row, from_row, from, sum);
            make_pixels(x, channels, w->fill, sum, to);
        } else if (i > begin && row > 0 && is_copy(y, row - 1) &&
                   y->at[y->begin[row - 1]] == y->at[first]) {
            memcpy(to, to - to_row, (size_t)to_row * sizeof *to);
        } else {
            make_pixels(x, channels, w->fill, from + y->at[first] * from_row, to);
        }
    }
    return LAMINA_OK;
}

static int32_t run(lamina_call *call, const lamina_io *io, work *w) {
    const int64_t row = w->x->rows * w->resample->channels;
    w->scratch = io->scratch;
    return lamina__spread(call, w->resample->threads, io->samples * w->y->rows, GRAIN / row + 1,
                          make_rows, w);
}

int32_t LAMINA__REAL_NAME(resample_forward)(const lamina__resample *resample, lamina_call *call,
                                            const lamina_io *io) {
    return run(call, io,
               &(work){.resample = resample,
                       .y = &resample->forward[0],
                       .x = &resample->forward[1],
                       .from = io->in[0]->data,
                       .to = io->out[0]->data,
                       .fill = resample->fill});
}

int32_t LAMINA__REAL_NAME(resample_backward)(const lamina__resample *resample, lamina_call *call,
                                             const lamina_io *io) {
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    return run(call, io,
               &(work){.resample = resample,
                       .y = &resample->backward[0],
                       .x = &resample->backward[1],
                       .from = io->d_out[0]->data,
                       .to = io->d_in[0]->data});
}
