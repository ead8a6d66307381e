/* Drawing the first values of weights: init.h.
 *
 * xavier: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
 * networks", AISTATS 2010. he: He et al., "Delving deep into rectifiers", ICCV 2015. orthogonal:
 * Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
 * linear neural networks", ICLR 2014. */
#include "graph/init.h"

#include "base/alloc.h"
#include "base/error.h"
#include "registry/instance.h"

#include <math.h>

typedef struct fan_pair {
    int64_t in, out;
} fan_pair;

/* What one element feeds from and into; when the layer did not say, as for O,I,... weights. */
static fan_pair fans_of(const lamina_weight *weight) {
    const lamina_shape *shape = &weight->shape;
    const int64_t count = lamina__shape_count(shape);
    const int64_t outputs = shape->dim[0];
    const int64_t inputs = shape->ndim > 1 ? shape->dim[1] : 1;
    return (fan_pair){weight->init.fan_in > 0 ? weight->init.fan_in : count / outputs,
                      weight->init.fan_out > 0 ? weight->init.fan_out : count / inputs};
}

static double xavier_variance(fan_pair fan, double numerator) {
    return numerator / (double)(fan.in + fan.out);
}

/* A rectifier with this slope for negative values passes (1 + slope^2) / 2 of the variance on. */
static double he_variance(const lamina__init *init, fan_pair fan, double numerator) {
    return numerator / ((1 + init->slope * init->slope) * (double)(init->fan ? fan.out : fan.in));
}

static void draw_normal(lamina__stream stream, double mean, double std, float *values,
                        int64_t count) {
    lamina__stream_normal(stream, 0, values, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        values[i] = (float)(std * values[i]);
    }
    for (int64_t i = 0; mean != 0 && i < count; i++) {
        values[i] = (float)(mean + values[i]);
    }
}

/* Element i takes the first of the stream's numbers i, i + count, i + 2 count, ... that is within
 * two standard deviations. */
static void draw_truncated(lamina__stream stream, double mean, double std, float *values,
                           int64_t count) {
    lamina__stream_normal(stream, 0, values, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        for (int64_t at = i + count; fabsf(values[i]) > 2; at += count) {
            lamina__stream_normal(stream, (uint64_t)at, &values[i], 1);
        }
        values[i] = (float)(mean + std * values[i]);
    }
}

/* Uniform in +-limit. */
static void draw_symmetric(lamina__stream stream, double limit, float *values, int64_t count) {
    lamina__stream_uniform(stream, 0, values, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        values[i] = (float)(limit * (2.0 * values[i] - 1.0));
    }
}

static void draw_uniform(lamina__stream stream, const lamina_real_list *range, float *values,
                         int64_t count) {
    if (range->count < 2) {
        draw_symmetric(stream, range->value[0], values, count);
        return;
    }
    lamina__stream_uniform(stream, 0, values, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        values[i] = (float)(range->value[0] + (range->value[1] - range->value[0]) * values[i]);
    }
}

static lamina_status draw(const lamina_weight *weight, const lamina__init *init,
                          lamina__stream stream, float *values, lamina_error *error) {
    const int64_t count = lamina__shape_count(&weight->shape);
    const fan_pair fan = fans_of(weight);
    switch (init->kind) {
    case LAMINA_INIT_UNIFORM:
        draw_uniform(stream, &init->range, values, count);
        break;
    case LAMINA_INIT_NORMAL:
        draw_normal(stream, init->mean, init->std, values, count);
        break;
    case LAMINA_INIT_TRUNCATED_NORMAL:
        draw_truncated(stream, init->mean, init->std, values, count);
        break;
    case LAMINA_INIT_XAVIER: /* a uniform number in +-a has variance a^2 / 3 */
        draw_symmetric(stream, init->gain * sqrt(xavier_variance(fan, 6)), values, count);
        break;
    case LAMINA_INIT_XAVIER_NORMAL:
        draw_normal(stream, 0, init->gain * sqrt(xavier_variance(fan, 2)), values, count);
        break;
    case LAMINA_INIT_HE:
        draw_normal(stream, 0, sqrt(he_variance(init, fan, 2)), values, count);
        break;
    case LAMINA_INIT_HE_UNIFORM:
        draw_symmetric(stream, sqrt(he_variance(init, fan, 6)), values, count);
        break;
    case LAMINA_INIT_ORTHOGONAL:
        draw_normal(stream, 0, 1, values, count);
        return lamina__orthogonalise(values, weight->shape.dim[0], count / weight->shape.dim[0],
                                     init->gain, error);
    default:
        for (int64_t i = 0; i < count; i++) {
            values[i] = (float)init->value;
        }
    }
    return LAMINA_OK;
}

const char *lamina__init_refuses(const lamina__init *init, const lamina_shape *shape) {
    return init->kind == LAMINA_INIT_ORTHOGONAL && shape->ndim < 2
               ? "orthogonal needs a weight of two or more dimensions"
               : NULL;
}

lamina_status lamina__init_weight(const lamina_weight *weight, const lamina__init *init,
                                  lamina__stream stream, float *data, lamina_error *error) {
    float *values = lamina__calloc((size_t)lamina__shape_count(&weight->shape), sizeof *values);
    if (values == NULL) {
        return lamina__fail_memory(error, weight->name);
    }
    const lamina_status status = draw(weight, init, stream, values, error);
    if (status == LAMINA_OK) {
        lamina_tensor view;
        lamina__weight_view(&view, weight, data);
        lamina__tensor_from_logical(&view, values);
    }
    lamina__free(values);
    return status;
}
