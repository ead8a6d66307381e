/* Max pooling along the channels, by the instruction set in use. Forward notes for each output, in
 * one byte, which position of its window it came from. Backward writes every gradient once: where
 * windows lie side by side, window by window; else each input pixel asks the windows over it.
 *
 * Either way pixels are walked row by row, in runs whose taps lie alike (max_pool_vector.h). The
 * runs of a row depend only on which positions the row has in its windows, so there are few kinds
 * of rows, and create() makes the runs of each. */
#include "layers/max_pool/max_pool_vector.h"
#include "layers/max_pool/max_pool.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* Along one axis: where it is, counted from the pixel's first tap, and its position in the window.
 */
typedef struct tap {
    int64_t at, position;
} tap;

typedef struct kind {
    int64_t taps;
    const tap *tap;
} kind;

typedef struct place {
    int64_t kind;
    int64_t first; /* where the first tap is */
} place;

/* The pixels of one axis, by the kind of their taps. */
typedef struct axis_walk {
    int64_t n, kinds;
    place *place; /* of each pixel */
    kind *kind;
} axis_walk;

/* A run of columns. */
typedef struct columns {
    int64_t begin, count, kind;
    int64_t first; /* where the first tap of the first is */
} columns;

/* Over the pixels of one side of the layer, with their taps on the other. */
typedef struct walk {
    int64_t step, tap_step;   /* pixels from one of a run to the next */
    int64_t width, tap_width; /* pixels in a row */
    int64_t tap_image;        /* pixels */
    axis_walk y, x;
    int64_t n_columns;
    columns *columns;
    lamina__pool_run *run; /* (kinds of rows, n_columns) */
} walk;

typedef struct vector_kernel {
    const lamina__pool_isa *isa;
    const lamina__pool_isa *spread_isa;
    int32_t saves;           /* 1: for backward it saves */
    int32_t saved;           /* the position each output came from, (N, OH, OW, C) */
    int32_t is_side_by_side; /* 1: windows neither overlap nor leave gaps */
    walk windows, inputs;    /* inputs: when not side by side */
} vector_kernel;

/* Positions in a window are numbered in a byte. */
static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__max_pool *pool = self;
    (void)setup;
    (void)pass;
    return pool->window.y.kernel * pool->window.x.kernel <= UINT8_MAX + 1;
}

/* ---- Making the runs ----------------------------------------------------------------------- */

/* What is walked. */
enum { WINDOWS = 0, INPUTS = 1 };

/* The taps of pixel i in the order in which they count: the pixels in a window, or the windows over
 * a pixel. Returns how many. */
static int64_t find_taps(const lamina__axis *axis, int walked, int64_t i, tap *taps) {
    int64_t n = 0;
    if (walked == WINDOWS) {
        int64_t begin, end;
        lamina__axis_range(axis, i, &begin, &end);
        for (int64_t k = begin; k < end; k++) {
            taps[n++] = (tap){i * axis->stride - axis->pad_begin + k * axis->dilation, k};
        }
        return n;
    }
    for (int64_t k = axis->kernel - 1; k >= 0; k--) {
        const int64_t from = i + axis->pad_begin - k * axis->dilation;
        if (from >= 0 && from % axis->stride == 0 && from / axis->stride < axis->out) {
            taps[n++] = (tap){from / axis->stride, k};
        }
    }
    return n;
}

static int is_kind(const kind *of, const tap *taps, int64_t n) {
    int64_t k = 0;
    while (k < n && k < of->taps && taps[k].position == of->tap[k].position) {
        k++;
    }
    return k == n && k == of->taps;
}

static int make_axis(lamina_call *call, const lamina__axis *axis, int walked, axis_walk *a) {
    a->n = walked == WINDOWS ? axis->out : axis->in;
    tap *taps = call->host->alloc(call, (size_t)(axis->out * axis->kernel) * sizeof *taps);
    a->place = call->host->alloc(call, (size_t)a->n * sizeof *a->place);
    a->kind = call->host->alloc(call, (size_t)a->n * sizeof *a->kind);
    if (taps == NULL || a->place == NULL || a->kind == NULL) {
        return 0;
    }
    for (int64_t i = 0; i < a->n; i++) {
        place *at = &a->place[i];
        const int64_t n = find_taps(axis, walked, i, taps);
        at->first = n > 0 ? taps[0].at : 0;
        for (int64_t k = 0; k < n; k++) {
            taps[k].at -= at->first;
        }
        while (at->kind < a->kinds && !is_kind(&a->kind[at->kind], taps, n)) {
            at->kind++;
        }
        if (at->kind == a->kinds) {
            a->kind[a->kinds++] = (kind){n, taps};
            taps += n;
        }
    }
    return 1;
}

/* Columns of a kind, `step` apart. */
static int make_columns(lamina_call *call, walk *w) {
    w->columns = call->host->alloc(call, (size_t)w->x.n * sizeof *w->columns);
    if (w->columns == NULL) {
        return 0;
    }
    for (int64_t begin = 0; begin < w->step; begin++) {
        for (int64_t i = begin; i < w->x.n; i += w->step) {
            if (i > begin && w->x.place[i].kind == w->x.place[i - w->step].kind) {
                w->columns[w->n_columns - 1].count++;
            } else {
                w->columns[w->n_columns++] =
                    (columns){i, 1, w->x.place[i].kind, w->x.place[i].first};
            }
        }
    }
    return 1;
}

/* All taps of a kind of row with those of some columns. */
static int make_run(lamina_call *call, const lamina__max_pool *pool, const walk *w, const kind *y,
                    const columns *group, lamina__pool_run *run) {
    const kind *x = &w->x.kind[group->kind];
    const int64_t taps = y->taps * x->taps;
    int64_t *at = call->host->alloc(call, (size_t)(taps + 1) * sizeof *at);
    uint8_t *code = call->host->alloc(call, (size_t)taps + 1);
    if (at == NULL || code == NULL) {
        return 0;
    }
    for (int64_t k = 0; k < taps; k++) {
        const tap *row = &y->tap[k / x->taps], *column = &x->tap[k % x->taps];
        at[k] = (row->at * w->tap_width + column->at) * pool->channels;
        code[k] = (uint8_t)(row->position * pool->window.x.kernel + column->position);
    }
    *run = (lamina__pool_run){.count = group->count,
                              .step = w->step * pool->channels,
                              .tap_step = w->tap_step * pool->channels,
                              .channels = pool->channels,
                              .taps = taps,
                              .at = at,
                              .code = code};
    return 1;
}

static int make_walk(lamina_call *call, const lamina__max_pool *pool, int walked, walk *w) {
    const lamina__axis *y = &pool->window.y, *x = &pool->window.x;

    w->step = walked == WINDOWS ? 1 : x->stride;
    w->tap_step = walked == WINDOWS ? x->stride : 1;
    w->width = walked == WINDOWS ? x->out : x->in;
    w->tap_width = walked == WINDOWS ? x->in : x->out;
    w->tap_image = walked == WINDOWS ? y->in * x->in : y->out * x->out;
    if (!make_axis(call, y, walked, &w->y) || !make_axis(call, x, walked, &w->x) ||
        !make_columns(call, w)) {
        return 0;
    }
    w->run = call->host->alloc(call, (size_t)(w->y.kinds * w->n_columns) * sizeof *w->run);
    for (int64_t i = 0; w->run != NULL && i < w->y.kinds * w->n_columns; i++) {
        if (!make_run(call, pool, w, &w->y.kind[i / w->n_columns], &w->columns[i % w->n_columns],
                      &w->run[i])) {
            return 0;
        }
    }
    return w->run != NULL;
}

/* The widest vectors that the channels fill. */
static const lamina__pool_isa *isa_for(int64_t channels) {
#if LAMINA__ISA_X86
    const lamina__isa isa = lamina__isa_to_use();
    if (isa == LAMINA__ISA_AVX512 && channels >= lamina__pool_avx512.width) {
        return &lamina__pool_avx512;
    }
    if (isa >= LAMINA__ISA_AVX2 && channels >= lamina__pool_avx2.width) {
        return &lamina__pool_avx2;
    }
#endif
    (void)channels;
    return &lamina__pool_portable;
}

/* Spreading is bound by its stores. Where pixels are not whole vectors of AVX-512, most of these
 * would cross a cache line: AVX2 took 15 to 20 % less for 20, 33 and 50 channels. */
static const lamina__pool_isa *spread_isa_for(int64_t channels) {
    const lamina__pool_isa *isa = isa_for(channels);
#if LAMINA__ISA_X86
    if (isa == &lamina__pool_avx512 && channels % isa->width != 0) {
        return &lamina__pool_avx2;
    }
#endif
    return isa;
}

static int is_side_by_side(const lamina__axis *axis) {
    return axis->stride == axis->kernel && axis->dilation == 1;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__max_pool *pool = self;
    const lamina__axis *y = &pool->window.y, *x = &pool->window.x;
    vector_kernel *v = call->host->alloc(call, sizeof *v);

    if (v == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = v;
    v->isa = isa_for(pool->channels);
    v->spread_isa = spread_isa_for(pool->channels);
    v->saves = (passes & LAMINA_PASS_BACKWARD_DATA) != 0;
    v->is_side_by_side = is_side_by_side(y) && is_side_by_side(x);
    if (!make_walk(call, pool, WINDOWS, &v->windows) ||
        (v->saves && !v->is_side_by_side && !make_walk(call, pool, INPUTS, &v->inputs))) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    if (v->saves) {
        const lamina_shape shape = {.dtype = LAMINA_U8,
                                    .ndim = 4,
                                    .dim = {setup->in[0]->dim[0], y->out, x->out, pool->channels}};
        v->saved = call->host->add_saved(call, "position", &shape);
    }
    return v->saved < 0 ? v->saved : LAMINA_OK;
}

/* ---- Running ------------------------------------------------------------------------------- */

typedef enum job_kind { LARGEST, SPREAD, COLLECT } job_kind;

/* One run of one pass, as the threads share it. */
typedef struct work {
    job_kind kind;
    const walk *walk;
    const lamina__max_pool *pool;
    const vector_kernel *kernel;
    const float *source; /* in, or d_out */
    float *result;       /* out, or d_in */
    uint8_t *code;       /* NULL: nobody asks */
} work;

/* Side by side, windows may leave out pixels at the right and at the bottom; these get 0. `image`:
 * the sample's gradients. */
static void clear_rest(const work *job, int64_t row, float *image) {
    const lamina__axis *y = &job->pool->window.y, *x = &job->pool->window.x;
    const int64_t channels = job->pool->channels;
    const int64_t first = row * y->stride - y->pad_begin, end = first + y->kernel;
    const int64_t right = x->out * x->stride - x->pad_begin;

    for (int64_t i = first > 0 ? first : 0; right < x->in && i < end && i < y->in; i++) {
        memset(image + (i * x->in + right) * channels, 0,
               (size_t)((x->in - right) * channels) * sizeof *image);
    }
    if (row == y->out - 1 && end < y->in) {
        memset(image + end * x->in * channels, 0,
               (size_t)((y->in - end) * x->in * channels) * sizeof *image);
    }
}

/* Rows begin .. end-1 of what is walked, counted through all samples. */
static int32_t walk_rows(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *job = arg;
    const walk *w = job->walk;
    const lamina__pool_isa *isa = job->kind == SPREAD ? job->kernel->spread_isa : job->kernel->isa;
    const int64_t channels = job->pool->channels;
    int64_t sample = begin / w->y.n, row = begin % w->y.n;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const place y = w->y.place[row];
        const int64_t taps = (sample * w->tap_image + y.first * w->tap_width) * channels;
        for (int64_t k = 0; k < w->n_columns; k++) {
            const lamina__pool_run *run = &w->run[y.kind * w->n_columns + k];
            const int64_t at = (i * w->width + w->columns[k].begin) * channels;
            const int64_t from = taps + w->columns[k].first * channels;
            if (job->kind == LARGEST) {
                isa->largest(run, job->source + from, job->result + at,
                             job->code != NULL ? job->code + at : NULL);
            } else if (job->kind == SPREAD) {
                isa->spread(run, job->source + at, job->code + at, job->result + from);
            } else {
                isa->collect(run, job->source + from, job->code + from, job->result + at);
            }
        }
        if (job->kind == SPREAD) {
            clear_rest(job, row, job->result + sample * w->tap_image * channels);
        }
        if (++row == w->y.n) {
            row = 0;
            sample++;
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const vector_kernel *v = kernel;
    work job = {.pool = self, .kernel = v, .walk = &v->windows};

    job.code = v->saves ? io->saved[v->saved]->data : NULL;
    if (pass == LAMINA_PASS_FORWARD) {
        job.kind = LARGEST;
        job.source = io->in[0]->data;
        job.result = io->out[0]->data;
    } else {
        if (io->d_in[0] == NULL) {
            return LAMINA_OK;
        }
        job.kind = v->is_side_by_side ? SPREAD : COLLECT;
        job.walk = v->is_side_by_side ? &v->windows : &v->inputs;
        job.source = io->d_out[0]->data;
        job.result = io->d_in[0]->data;
    }
    return lamina__spread(call, job.pool->threads, io->samples * job.walk->y.n, 1, walk_rows, &job);
}

const lamina_kernel lamina__max_pool_vector = {
    .struct_size = sizeof(lamina_kernel),
    .name = "vector",
    .doc = "Along the channels, in AVX-512 or AVX2; saves a byte for each output.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
    .flags = LAMINA_KERNEL_TOGETHER,
    .applies = applies,
    .create = create,
    .run = run};

#endif
