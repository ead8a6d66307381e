/* Norms of each sample over groups of channels: grouped_norm.h. */
#include "layers/grouped_norm.h"
#include "layers/norm.h"
#include "layers/parallel.h"
#include "layers/self.h"

#include <string.h>

enum {
    MOMENTS = 3, /* saved of each group: mean, what rounding it left, 1 / sqrt(variance + eps) */
    SUMS = 3,    /* wide arrays of a thread's for sums, */
    FACTORS = 5, /* and for factors */
    GRAIN = 8192 /* numbers: less is not worth a thread */
};

int32_t LAMINA__REAL_NAME(grouped_norm_create)(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__grouped_norm), self);
}

/* Numbers in scratch: moments of the samples' groups where they are not saved, sums of dy of the
 * samples' channels for the weights' gradients, and each thread's own. */
static size_t scratch_numbers(const lamina__grouped_norm *norm, size_t samples, size_t threads) {
    return samples * (MOMENTS + 2) * norm->room + threads * (SUMS + FACTORS) * norm->wide;
}

int32_t LAMINA__REAL_NAME(grouped_norm_setup)(lamina__grouped_norm *norm, lamina_call *call,
                                              const lamina_setup *setup, int64_t groups, double eps,
                                              int32_t affine) {
    const lamina_shape *in = setup->in[0];
    norm->channels = in->dim[1];
    norm->groups = groups;
    norm->pixels = in->ndim == 4 ? in->dim[2] * in->dim[3] : 1;
    norm->eps = eps;
    norm->affine = affine;
    norm->threads = setup->threads > 0 ? setup->threads : 1;
    norm->saves = setup->training;
    norm->room = (size_t)lamina__channels_room(norm->channels);
    norm->isa = LAMINA__REAL_NAME(channels_to_use)();
    norm->wide = (size_t)lamina__channels_room(
        lamina__channels_for(norm->isa, norm->channels, norm->pixels).width);

    const lamina_weight of_channels = {
        .shape = {.dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {norm->channels}}};
    int32_t status = affine ? lamina__add_affine(call, of_channels) : LAMINA_OK;
    if (status >= 0 && norm->saves) {
        const lamina_shape moments = {
            .dtype = LAMINA__REAL_DTYPE, .ndim = 2, .dim = {in->dim[0], MOMENTS * groups}};
        status = call->host->add_saved(call, "moments", &moments);
    }
    if (status >= 0) {
        status = call->host->add_scratch(
            call, scratch_numbers(norm, (size_t)setup->samples[0], (size_t)norm->threads) *
                      sizeof(lamina_real));
    }
    return status < 0 ? status : call->host->set_output(call, 0, in);
}

/* ---- One call, as the threads share it ----------------------------------------------------- */

typedef struct work {
    const lamina__grouped_norm *norm;
    const lamina_io *io;
    lamina__channels rows;
    const lamina_real *weight, *bias; /* NULL: 1 and 0 */
    lamina_real *moments;             /* (N, MOMENTS, groups) */
    lamina_real *sums;                /* (N, 2, room): of dy and of dy (x - mean) */
    lamina_real *memory;              /* (threads, SUMS + FACTORS, wide) */
} work;

/* What a thread computes a sample with. */
typedef struct place {
    int64_t at; /* of the sample, in x, y, dy and dx */
    lamina_real *mean, *rest, *inverse;
    lamina_real *sum[SUMS];
    lamina__channel_map map;
} place;

static work begin_call(const lamina__grouped_norm *norm, const lamina_io *io) {
    work w = {.norm = norm,
              .io = io,
              .rows = lamina__channels_for(norm->isa, norm->channels, norm->pixels),
              .weight = norm->affine ? io->weight[0]->data : NULL,
              .bias = norm->affine ? io->weight[1]->data : NULL};
    const size_t samples = (size_t)io->samples;
    lamina_real *scratch = io->scratch;
    w.moments = norm->saves ? io->saved[0]->data : scratch;
    w.sums = scratch + samples * MOMENTS * norm->room;
    w.memory = w.sums + samples * 2 * norm->room;
    return w;
}

static place place_of(const work *w, int64_t n, int32_t thread) {
    const lamina__grouped_norm *norm = w->norm;
    place p = {.at = n * norm->pixels * norm->channels,
               .mean = w->moments + n * MOMENTS * norm->groups};
    lamina_real *own = w->memory + (size_t)thread * (SUMS + FACTORS) * norm->wide;
    p.rest = p.mean + norm->groups;
    p.inverse = p.rest + norm->groups;
    for (int i = 0; i < SUMS; i++, own += norm->wide) {
        p.sum[i] = own;
    }
    p.map.mean = own;
    p.map.scale = own + norm->wide;
    p.map.bias = own + 2 * norm->wide;
    p.map.slope = own + 3 * norm->wide;
    p.map.offset = own + 4 * norm->wide;
    return p;
}

/* Fills the factors of forward, which backward takes, too. */
static void make_forward(const work *w, const place *p) {
    const int64_t each = w->norm->channels / w->norm->groups;
    for (int64_t c = 0; c < w->norm->channels; c++) {
        const int64_t g = c / each;
        p->map.mean[c] = p->mean[g];
        p->map.scale[c] = w->weight != NULL ? w->weight[c] * p->inverse[g] : p->inverse[g];
        p->map.bias[c] = (w->bias != NULL ? w->bias[c] : 0) - p->rest[g] * p->map.scale[c];
    }
    LAMINA__REAL_NAME(channels_widen)(&w->rows, p->map.mean);
    LAMINA__REAL_NAME(channels_widen)(&w->rows, p->map.scale);
    LAMINA__REAL_NAME(channels_widen)(&w->rows, p->map.bias);
}

/* The moments of a group, from those of its channels: squares are of distances from a channel's
 * mean, to which comes that of the mean from the group's. */
static void join_moments(const work *w, const place *p, int64_t g) {
    const int64_t each = w->norm->channels / w->norm->groups, end = (g + 1) * each;
    const double pixels = (double)w->norm->pixels, one = 1 / pixels;
    double mean = 0, square = 0;
    for (int64_t c = g * each; c < end; c++) {
        mean += (double)p->sum[0][c] + (double)p->sum[1][c] * one;
    }
    mean /= (double)each;
    for (int64_t c = g * each; c < end; c++) {
        const double from_shift = (double)p->sum[1][c] * one;
        const double own = (double)p->sum[2][c] - (double)p->sum[1][c] * from_shift;
        const double d = (double)p->sum[0][c] + from_shift - mean;
        square += (own < 0 ? 0 : own) + pixels * d * d;
    }
    p->mean[g] = (lamina_real)mean;
    p->rest[g] = (lamina_real)(mean - (double)p->mean[g]);
    p->inverse[g] = (lamina_real)(1 / sqrt(square / (pixels * (double)each) + w->norm->eps));
}

/* Samples begin .. end-1. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t pixels = w->norm->pixels;
    for (int64_t n = begin; n < end; n++) {
        const place p = place_of(w, n, thread);
        const lamina_real *x = (const lamina_real *)w->io->in[0]->data + p.at;
        LAMINA__REAL_NAME(channels_moments)(&w->rows, x, pixels, p.sum[0], p.sum[1], p.sum[2]);
        for (int64_t g = 0; g < w->norm->groups; g++) {
            join_moments(w, &p, g);
        }
        make_forward(w, &p);
        LAMINA__REAL_NAME(channels_forward)
        (&w->rows, &p.map, x, (lamina_real *)w->io->out[0]->data + p.at, pixels);
    }
    return LAMINA_OK;
}

/* dx by x - mean, which is xhat / inverse + rest. */
static void make_backward(const work *w, const place *p, const lamina_real *sum,
                          const lamina_real *product) {
    const int64_t each = w->norm->channels / w->norm->groups;
    const double part = 1 / ((double)w->norm->pixels * (double)each);
    for (int64_t g = 0; g < w->norm->groups; g++) {
        const double rest = (double)p->rest[g], inverse = (double)p->inverse[g];
        double all = 0, all_product = 0;
        for (int64_t c = g * each; c < (g + 1) * each; c++) {
            const double weight = w->weight != NULL ? (double)w->weight[c] : 1;
            all += weight * (double)sum[c];
            all_product += weight * ((double)product[c] - rest * (double)sum[c]);
        }
        const double slope = -inverse * inverse * inverse * all_product * part;
        const double offset = -inverse * all * part - slope * rest;
        for (int64_t c = g * each; c < (g + 1) * each; c++) {
            p->map.slope[c] = (lamina_real)slope;
            p->map.offset[c] = (lamina_real)offset;
        }
    }
    LAMINA__REAL_NAME(channels_widen)(&w->rows, p->map.slope);
    LAMINA__REAL_NAME(channels_widen)(&w->rows, p->map.offset);
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t pixels = w->norm->pixels;
    const size_t bytes = (size_t)w->norm->channels * sizeof(lamina_real);
    for (int64_t n = begin; n < end; n++) {
        const place p = place_of(w, n, thread);
        const lamina_real *x = (const lamina_real *)w->io->in[0]->data + p.at;
        const lamina_real *dy = (const lamina_real *)w->io->d_out[0]->data + p.at;
        lamina_real *sums = w->sums + (size_t)n * 2 * w->norm->room;
        make_forward(w, &p);
        LAMINA__REAL_NAME(channels_products)(&w->rows, &p.map, x, dy, pixels, p.sum[0], p.sum[1]);
        memcpy(sums, p.sum[0], bytes);
        memcpy(sums + w->norm->room, p.sum[1], bytes);
        if (w->io->d_in[0] != NULL) {
            make_backward(w, &p, sums, sums + w->norm->room);
            LAMINA__REAL_NAME(channels_backward)
            (&w->rows, &p.map, x, dy, (lamina_real *)w->io->d_in[0]->data + p.at, pixels);
        }
    }
    return LAMINA_OK;
}

/* From the samples' sums, in their order. */
static void add_gradients(const work *w) {
    const int64_t channels = w->norm->channels, each = channels / w->norm->groups;
    lamina_real *d_weight = w->io->d_weight[0] != NULL ? w->io->d_weight[0]->data : NULL;
    lamina_real *d_bias = w->io->d_weight[1] != NULL ? w->io->d_weight[1]->data : NULL;
    for (int64_t c = 0; c < channels; c++) {
        double all = 0, all_product = 0;
        for (int64_t n = 0; n < w->io->samples; n++) {
            const lamina_real *moments = w->moments + n * MOMENTS * w->norm->groups + c / each;
            const double rest = (double)moments[w->norm->groups];
            const double inverse = (double)moments[2 * w->norm->groups];
            const lamina_real *sums = w->sums + (size_t)n * 2 * w->norm->room + c;
            all += (double)sums[0];
            all_product += ((double)sums[w->norm->room] - rest * (double)sums[0]) * inverse;
        }
        if (d_weight != NULL) {
            d_weight[c] += (lamina_real)all_product;
        }
        if (d_bias != NULL) {
            d_bias[c] += (lamina_real)all;
        }
    }
}

static int64_t grain(const lamina__grouped_norm *norm) {
    return GRAIN / (norm->channels * norm->pixels) + 1;
}

int32_t LAMINA__REAL_NAME(grouped_norm_forward)(const void *self, lamina_call *call,
                                                const lamina_io *io) {
    work w = begin_call(self, io);
    return lamina__spread(call, w.norm->threads, io->samples, grain(w.norm), forward_range, &w);
}

int32_t LAMINA__REAL_NAME(grouped_norm_backward)(const void *self, lamina_call *call,
                                                 const lamina_io *io) {
    work w = begin_call(self, io);
    const int wants_weights =
        w.norm->affine && (io->d_weight[0] != NULL || io->d_weight[1] != NULL);
    if (io->d_in[0] == NULL && !wants_weights) {
        return LAMINA_OK;
    }
    const int32_t status =
        lamina__spread(call, w.norm->threads, io->samples, grain(w.norm), backward_range, &w);
    if (status == LAMINA_OK && wants_weights) {
        add_gradients(&w);
    }
    return status;
}
