/* batch_norm: each channel is given mean 0 and variance 1 over the batch, then a scale and a shift
 * that are learned.
 *
 *   y = weight xhat + bias,   xhat = (x - mean) / sqrt(variance + eps)
 *
 * channel by channel, with mean and variance (that of the M values there are, divided by M) over
 * the samples and pixels of the batch while training, where the running ones follow:
 *
 *   running = (1 - momentum) running + momentum (the batch's; its variance divided by M - 1)
 *
 * and over which x is normalised when evaluating (LAMINA_EVAL). Backward, sums over samples and
 * pixels:
 *
 *   d_bias = sum dy,   d_weight = sum dy xhat
 *   dx = weight / sqrt(variance + eps) * (dy - d_bias / M - xhat d_weight / M)     training
 *   dx = weight / sqrt(variance + eps) * dy                                        evaluating
 *
 * as mean and variance depend on x in the one and are constants in the other: backward follows
 * the phase of its call, so that a frozen layer can be called with LAMINA_EVAL in training.
 * (N, C, H, W) or (N, C), the same out. Ioffe and Szegedy 2015; docs/mathematics.md. */
#include "layers/batch_norm/batch_norm.h"
#include "layers/norm.h"
#include "layers/self.h"

#define FIELD(name) offsetof(lamina__batch_norm_config, name)

static const lamina_param params[] = {
    LAMINA__EPS_PARAM(FIELD(eps),
                      "Added to the variance, so that a constant channel is not divided by 0."),
    {.name = "momentum",
     .doc = "The part of the batch in the running mean and variance.",
     .type = LAMINA_REAL,
     .offset = FIELD(momentum),
     .min = 0,
     .max = 1,
     .def = "0.1"},
    LAMINA__AFFINE_PARAM(FIELD(affine), "Whether each channel has a learned weight and bias.",
                         "true"),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__batch_norm), self);
}

/* A saved tensor has a part for each sample, and the moments are the batch's: they lie in the parts
 * together, which are large enough in the smallest batch, too. */
static int32_t add_saved(const lamina__batch_norm *bn, lamina_call *call,
                         const lamina_setup *setup) {
    const int64_t least = setup->samples[setup->n_samples - 1];
    const int64_t all = LAMINA__BATCH_NORM_MOMENTS * bn->channels;
    const lamina_shape shape = {.dtype = LAMINA__REAL_DTYPE,
                                .ndim = 2,
                                .dim = {setup->in[0]->dim[0], (all + least - 1) / least}};
    return call->host->add_saved(call, "moments", &shape);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__batch_norm *bn = self;
    const lamina_shape *in = setup->in[0];

    if (in->ndim != 4 && in->ndim != 2) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs images (N, C, H, W) or features (N, C), got %d dimensions",
                                (int)in->ndim);
    }
    bn->channels = in->dim[1];
    bn->pixels = in->ndim == 4 ? in->dim[2] * in->dim[3] : 1;
    bn->threads = setup->threads;
    bn->saves = setup->training && setup->calls == 0;
    const lamina_shape of_channels = {
        .dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {bn->channels}};
    int32_t status = call->host->add_state(call, "running_mean", &of_channels, 0);
    if (status >= 0) {
        status = call->host->add_state(call, "running_var", &of_channels, 1);
    }
    if (status >= 0 && bn->config->affine) {
        status = lamina__add_affine(call, (lamina_weight){.shape = of_channels});
    }
    if (status >= 0 && bn->saves) {
        status = add_saved(bn, call, setup);
    }
    return status < 0 ? status : call->host->set_output(call, 0, in);
}

/* ---- What the kernels share ---------------------------------------------------------------- */

int32_t LAMINA__REAL_NAME(batch_norm_check)(const lamina__batch_norm *bn, lamina_call *call,
                                            const lamina_io *io) {
    if (io->phase != LAMINA_TRAIN || io->samples * bn->pixels > 1) {
        return LAMINA_OK;
    }
    return call->host->fail(call, LAMINA_ERROR_SHAPE,
                            "needs more than one value for each channel while training, got a "
                            "batch of one sample%s; choose a batch size that leaves no single "
                            "sample at the end of an epoch",
                            bn->pixels == 1 ? " of one pixel" : "");
}

LAMINA__VECTOR_CLONES
static void take_moments(int64_t channels, int64_t m, double eps, double momentum,
                         const double *restrict mean, const double *restrict square,
                         lamina__batch_norm_moments moments, lamina_real *restrict running_mean,
                         lamina_real *restrict running_var) {
    lamina_real *restrict first = moments.mean, *restrict rest = moments.rest,
                          *restrict inverse = moments.inverse;
    const double part = 1 / (double)m, unbiased = 1 / ((double)m - 1);
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        first[c] = (lamina_real)mean[c];
        rest[c] = (lamina_real)(mean[c] - (double)first[c]);
        inverse[c] = (lamina_real)(1 / sqrt(square[c] * part + eps));
        running_mean[c] =
            (lamina_real)((1 - momentum) * (double)running_mean[c] + momentum * mean[c]);
        running_var[c] = (lamina_real)((1 - momentum) * (double)running_var[c] +
                                       momentum * (square[c] * unbiased));
    }
}

void LAMINA__REAL_NAME(batch_norm_of_batch)(const lamina__batch_norm *bn, const lamina_io *io,
                                            const double *mean, const double *square,
                                            lamina__batch_norm_moments moments) {
    take_moments(bn->channels, io->samples * bn->pixels, bn->config->eps, bn->config->momentum,
                 mean, square, moments, io->state[0]->data, io->state[1]->data);
}

void LAMINA__REAL_NAME(batch_norm_of_state)(const lamina__batch_norm *bn, const lamina_io *io,
                                            lamina__batch_norm_moments moments) {
    const lamina_real *mean = io->state[0]->data, *variance = io->state[1]->data;
    for (int64_t c = 0; c < bn->channels; c++) {
        moments.mean[c] = mean[c];
        moments.rest[c] = 0;
        moments.inverse[c] = (lamina_real)(1 / sqrt((double)variance[c] + bn->config->eps));
    }
}

void LAMINA__REAL_NAME(batch_norm_add_gradients)(const lamina__batch_norm *bn, const lamina_io *io,
                                                 lamina__batch_norm_moments moments,
                                                 const double *sum, const double *product) {
    lamina_real *d_weight = NULL, *d_bias = NULL;
    if (bn->config->affine) {
        d_weight = io->d_weight[0] != NULL ? io->d_weight[0]->data : NULL;
        d_bias = io->d_weight[1] != NULL ? io->d_weight[1]->data : NULL;
    }
    for (int64_t c = 0; d_weight != NULL && c < bn->channels; c++) {
        d_weight[c] += (lamina_real)((product[c] - (double)moments.rest[c] * sum[c]) *
                                     (double)moments.inverse[c]);
    }
    for (int64_t c = 0; d_bias != NULL && c < bn->channels; c++) {
        d_bias[c] += (lamina_real)sum[c];
    }
}

/* ---- The layer ----------------------------------------------------------------------------- */

static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__batch_norm_blocks,
#endif
    &LAMINA__REAL_NAME(batch_norm_reference), NULL};

static const char *const cases[] = {
    "{input: [5, 7]}", "{input: [2, 3, 5, 4]}",
    "{input: [3, 17, 4, 4], params: {eps: 0.01, momentum: 0.5, affine: false}}",
    "{input: [2, 3, 5, 4], phase: eval}", NULL};

const lamina_layer_type LAMINA__LAYER(batch_norm) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "batch_norm",
    .doc = "Gives each channel mean 0 and variance 1 over the batch, then a learned scale and "
           "shift.",
    .flags = LAMINA_NEEDS_INPUT | LAMINA_COUPLES_BATCH | LAMINA_REPEATS,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lamina__batch_norm_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
