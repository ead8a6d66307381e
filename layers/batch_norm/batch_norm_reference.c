/* Batch normalisation as batch_norm.c writes it down, with sums in double: the truth that the other
 * kernel is compared with. Threads have some of the channels each, and take them pixel by pixel. */
#include "layers/batch_norm/batch_norm.h"
#include "layers/parallel.h"

#include <string.h>

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__batch_norm *bn;
    const lamina_io *io;
    int64_t pixels;                     /* of the whole batch */
    double *sum, *square;               /* (C): forward: mean and sum of squared distances; */
    double *product;                    /* backward: sums of dy and of dy (x - mean); is square */
    lamina__batch_norm_moments moments; /* (C) */
} work;

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__batch_norm *bn = self;
    (void)setup;
    (void)passes;
    (void)kernel;
    return call->host->add_scratch(
        call, (size_t)bn->channels *
                  (2 * sizeof(double) + LAMINA__BATCH_NORM_MOMENTS * sizeof(lamina_real)));
}

/* Channels begin .. end-1 of all functions below. */
static int32_t sum_moments(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina_real *in = w->io->in[0]->data;
    const int64_t channels = w->bn->channels;

    (void)thread;
    memset(w->sum + begin, 0, (size_t)(end - begin) * sizeof *w->sum);
    memset(w->square + begin, 0, (size_t)(end - begin) * sizeof *w->square);
    for (int64_t i = 0; i < w->pixels; i++) {
        for (int64_t c = begin; c < end; c++) {
            w->sum[c] += (double)in[i * channels + c];
        }
    }
    for (int64_t c = begin; c < end; c++) {
        w->sum[c] /= (double)w->pixels;
    }
    for (int64_t i = 0; i < w->pixels; i++) {
        for (int64_t c = begin; c < end; c++) {
            const double distance = (double)in[i * channels + c] - w->sum[c];
            w->square[c] += distance * distance;
        }
    }
    return LAMINA_OK;
}

static int32_t write_out(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__batch_norm_moments *m = &w->moments;
    const lamina_real *in = w->io->in[0]->data;
    const lamina_real *weight = w->bn->config->affine ? w->io->weight[0]->data : NULL;
    const lamina_real *bias = w->bn->config->affine ? w->io->weight[1]->data : NULL;
    lamina_real *out = w->io->out[0]->data;
    const int64_t channels = w->bn->channels;

    (void)thread;
    for (int64_t i = 0; i < w->pixels; i++) {
        for (int64_t c = begin; c < end; c++) {
            const lamina_real x = in[i * channels + c];
            const lamina_real xhat = ((x - m->mean[c]) - m->rest[c]) * m->inverse[c];
            out[i * channels + c] = weight != NULL ? weight[c] * xhat + bias[c] : xhat;
        }
    }
    return LAMINA_OK;
}

static int32_t sum_products(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina_real *in = w->io->in[0]->data, *d_out = w->io->d_out[0]->data;
    const int64_t channels = w->bn->channels;

    (void)thread;
    memset(w->sum + begin, 0, (size_t)(end - begin) * sizeof *w->sum);
    memset(w->product + begin, 0, (size_t)(end - begin) * sizeof *w->product);
    for (int64_t i = 0; i < w->pixels; i++) {
        for (int64_t c = begin; c < end; c++) {
            const double dy = (double)d_out[i * channels + c];
            w->sum[c] += dy;
            w->product[c] += dy * (double)(in[i * channels + c] - w->moments.mean[c]);
        }
    }
    return LAMINA_OK;
}

static int32_t write_d_in(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__batch_norm_moments *m = &w->moments;
    const lamina_real *in = w->io->in[0]->data, *d_out = w->io->d_out[0]->data;
    const lamina_real *weight = w->bn->config->affine ? w->io->weight[0]->data : NULL;
    lamina_real *d_in = w->io->d_in[0]->data;
    const int64_t channels = w->bn->channels;
    const double part = 1 / (double)w->pixels;
    const int training = w->io->phase == LAMINA_TRAIN;

    (void)thread;
    for (int64_t i = 0; i < w->pixels; i++) {
        for (int64_t c = begin; c < end; c++) {
            const int64_t at = i * channels + c;
            const double inverse = (double)m->inverse[c];
            const double scale = weight != NULL ? (double)weight[c] * inverse : inverse;
            double d = (double)d_out[at];
            if (training) {
                const double rest = (double)m->rest[c];
                const double xhat = ((double)(in[at] - m->mean[c]) - rest) * inverse;
                const double d_weight = (w->product[c] - rest * w->sum[c]) * inverse;
                d -= w->sum[c] * part + xhat * (d_weight * part);
            }
            d_in[at] = (lamina_real)(scale * d);
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__batch_norm *bn = self;
    const int64_t channels = bn->channels;
    const int training = io->phase == LAMINA_TRAIN;
    double *scratch = io->scratch;
    work w = {.bn = bn,
              .io = io,
              .pixels = io->samples * bn->pixels,
              .sum = scratch,
              .square = scratch + channels,
              .product = scratch + channels};

    (void)kernel;
    if (lamina__batch_norm_does_nothing(pass, io)) {
        return LAMINA_OK;
    }
    lamina_real *memory = (lamina_real *)(void *)(scratch + 2 * channels);
    w.moments =
        lamina__batch_norm_moments_in(bn, bn->saves && training ? io->saved[0]->data : memory);
    if (!training) {
        LAMINA__REAL_NAME(batch_norm_of_state)(bn, io, w.moments);
    }
    if (pass == LAMINA_PASS_FORWARD) {
        int32_t status = LAMINA__REAL_NAME(batch_norm_check)(bn, call, io);
        if (status == LAMINA_OK && training && !io->again) {
            status = lamina__spread(call, bn->threads, channels, 1, sum_moments, &w);
            LAMINA__REAL_NAME(batch_norm_of_batch)(bn, io, w.sum, w.square, w.moments);
        }
        return status != LAMINA_OK ? status
                                   : lamina__spread(call, bn->threads, channels, 1, write_out, &w);
    }
    if (lamina__batch_norm_needs_sums(bn, io)) {
        lamina__spread(call, bn->threads, channels, 1, sum_products, &w);
        LAMINA__REAL_NAME(batch_norm_add_gradients)(bn, io, w.moments, w.sum, w.product);
    }
    return io->d_in[0] == NULL ? LAMINA_OK
                               : lamina__spread(call, bn->threads, channels, 1, write_d_in, &w);
}

const lamina_kernel LAMINA__REAL_NAME(batch_norm_reference) = {
    .struct_size = sizeof(lamina_kernel),
    .name = "reference",
    .doc = "Plain C, sums in double.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .flags = LAMINA_KERNEL_TOGETHER | LAMINA_KERNEL_LAST_RESORT,
    .create = create,
    .run = run};
