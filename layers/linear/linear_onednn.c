/* Fully connected layer by oneDNN's matrix product. Its inner_product primitive is faster only on
 * weights repacked to its own order, and repacking them costs more than that saves; the plain
 * product also adds to a gradient where it lies.
 *
 *   forward           Y   = X W^T + b     X: (N, features), W: (units, features), Y: (N, units)
 *   backward data     dX  = dY W
 *   backward weights  dW += dY^T X,  db += column sums of dY */
#include "layers/linear/linear.h"

#if !LAMINA_LAYERS_F64

#include "onednn/onednn.h"

#include <string.h>

static int32_t forward(const lamina__linear *linear, lamina_call *call, const lamina_io *io) {
    float *y = io->out[0]->data;
    const lamina__onednn_product product = {.m = io->samples,
                                            .n = linear->units,
                                            .k = linear->features,
                                            .b_transposed = 1,
                                            .a = io->in[0]->data,
                                            .b = io->weight[0]->data,
                                            .c = y,
                                            .a_row = linear->features,
                                            .b_row = linear->features,
                                            .c_row = linear->units,
                                            .beta = linear->bias ? 1.0f : 0.0f};

    for (int64_t n = 0; linear->bias && n < io->samples; n++) {
        memcpy(y + n * linear->units, io->weight[1]->data, (size_t)linear->units * sizeof(*y));
    }
    return lamina__onednn_sgemm(call, &product, linear->threads);
}

static int32_t backward_data(const lamina__linear *linear, lamina_call *call, const lamina_io *io) {
    const lamina__onednn_product product = {.m = io->samples,
                                            .n = linear->features,
                                            .k = linear->units,
                                            .a = io->d_out[0]->data,
                                            .b = io->weight[0]->data,
                                            .c = io->d_in[0]->data,
                                            .a_row = linear->units,
                                            .b_row = linear->features,
                                            .c_row = linear->features};
    return lamina__onednn_sgemm(call, &product, linear->threads);
}

static int32_t backward_weights(const lamina__linear *linear, lamina_call *call,
                                const lamina_io *io) {
    const float *dy = io->d_out[0]->data;
    const lamina_tensor *d_weight = io->d_weight[0];
    const lamina_tensor *d_bias = linear->bias ? io->d_weight[1] : NULL;
    float *db = d_bias != NULL ? d_bias->data : NULL;

    for (int64_t n = 0; db != NULL && n < io->samples; n++) {
        for (int64_t o = 0; o < linear->units; o++) {
            db[o] += dy[n * linear->units + o];
        }
    }
    if (d_weight == NULL) {
        return LAMINA_OK;
    }
    const lamina__onednn_product product = {.m = linear->units,
                                            .n = linear->features,
                                            .k = io->samples,
                                            .a_transposed = 1,
                                            .a = dy,
                                            .b = io->in[0]->data,
                                            .c = d_weight->data,
                                            .a_row = linear->units,
                                            .b_row = linear->features,
                                            .c_row = linear->features,
                                            .beta = 1.0f};
    return lamina__onednn_sgemm(call, &product, linear->threads);
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    (void)kernel;
    switch (pass) {
    case LAMINA_PASS_FORWARD:
        return forward(self, call, io);
    case LAMINA_PASS_BACKWARD_DATA:
        return io->d_in[0] != NULL ? backward_data(self, call, io) : LAMINA_OK;
    default:
        return backward_weights(self, call, io);
    }
}

const lamina_kernel lamina__linear_onednn = {
    .struct_size = sizeof(lamina_kernel),
    .name = "onednn",
    .doc = "oneDNN's matrix product.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .flags = LAMINA_KERNEL_OPENS_REGIONS,
    .run = run};

#endif
