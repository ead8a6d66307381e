/* Initialisers. Numbers are drawn by logical index, so a weight starts with the same values
 * whatever order it is stored in.
 *
 * xavier: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
 * networks", AISTATS 2010. he: He et al., "Delving deep into rectifiers", ICCV 2015. */
#include "base/alloc.h"
#include "base/error.h"
#include "graph/net_impl.h"

#include <math.h>

/* What one element feeds from and into, when the layer did not say: for O,I,... weights. */
static void default_fans(const lamina_shape *shape, int64_t *fan_in, int64_t *fan_out) {
    const int64_t count = lamina__shape_count(shape);
    const int64_t outputs = shape->dim[0];
    const int64_t inputs = shape->ndim > 1 ? shape->dim[1] : 1;
    if (*fan_in <= 0) {
        *fan_in = count / outputs;
    }
    if (*fan_out <= 0) {
        *fan_out = count / inputs;
    }
}

lamina_status lamina__init_weight(const lamina__net_weight *weight, const lamina_init *init,
                                  lamina__stream stream, lamina_error *error) {
    const lamina_shape *shape = &weight->weight->shape;
    const int64_t count = lamina__shape_count(shape);
    int64_t fan_in = init->fan_in, fan_out = init->fan_out;
    default_fans(shape, &fan_in, &fan_out);
    float *values = lamina__calloc((size_t)count, sizeof *values);
    if (values == NULL) {
        return lamina__fail_memory(error, weight->weight->name);
    }

    switch (init->kind) {
    case LAMINA_INIT_NORMAL:
    case LAMINA_INIT_HE: {
        const double std = init->kind == LAMINA_INIT_HE ? sqrt(2.0 / (double)fan_in) : init->value;
        lamina__stream_normal(stream, 0, values, (size_t)count);
        for (int64_t i = 0; i < count; i++) {
            values[i] = (float)(std * values[i]);
        }
        break;
    }
    case LAMINA_INIT_XAVIER: {
        const double limit = sqrt(6.0 / (double)(fan_in + fan_out));
        lamina__stream_uniform(stream, 0, values, (size_t)count);
        for (int64_t i = 0; i < count; i++) {
            values[i] = (float)(limit * (2.0 * values[i] - 1.0));
        }
        break;
    }
    default:
        for (int64_t i = 0; i < count; i++) {
            values[i] = (float)init->value;
        }
    }
    lamina_tensor view;
    lamina__weight_view(&view, weight->weight, weight->data);
    lamina__tensor_from_logical(&view, values);
    lamina__free(values);
    return LAMINA_OK;
}
