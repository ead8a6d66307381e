/* concat: the inputs one behind the other along one axis, 2 to 16 of them; y is x_1, then x_2, ...
 *
 *   dx_k = the part of dy that x_k is in
 *
 * The other dimensions must agree. Axes are counted as in the logical shape: 1 is channels (or
 * features), 2 and 3 are an image's height and width. */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

enum { MOST = 16, GRAIN = 16384 }; /* inputs; numbers: less is not worth a thread */

typedef struct concat_config {
    int64_t axis;
} concat_config;

typedef struct concat {
    const concat_config *config;
    int64_t outer;                         /* runs of a sample */
    int64_t run;                           /* numbers of one, of all inputs */
    int64_t begin[MOST + 1], length[MOST]; /* each input's part of it */
    int32_t n_in;
    int32_t threads;
} concat;

#define FIELD(name) offsetof(concat_config, name)

static const lamina_param params[] = {
    {.name = "axis",
     .doc = "Along which: 1 channels or features, 2 height, 3 width.",
     .type = LAMINA_INT,
     .offset = FIELD(axis),
     .min = 1,
     .max = LAMINA_MAX_DIMS - 1,
     .def = "1"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(concat), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    concat *layer = self;
    const int32_t axis = (int32_t)layer->config->axis;
    lamina_shape out = *setup->in[0];

    if (axis >= out.ndim) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "input %s has no axis %d",
                                lamina__dims(&out).text, (int)axis);
    }
    out.dim[axis] = 0;
    for (int32_t k = 0; k < setup->n_in; k++) {
        lamina_shape rest = *setup->in[k];
        if (rest.ndim == out.ndim) {
            rest.dim[axis] = out.dim[axis];
        }
        if (!lamina__same_dims(&rest, &out)) {
            return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                    "input %d is %s and input 1 is %s: they may differ along axis "
                                    "%d alone",
                                    (int)k + 1, lamina__dims(setup->in[k]).text,
                                    lamina__dims(setup->in[0]).text, (int)axis);
        }
        out.dim[axis] += setup->in[k]->dim[axis];
    }
    const lamina__runs runs = lamina__runs_along(&out, axis);
    for (int32_t k = 0; k < setup->n_in; k++) {
        layer->length[k] = setup->in[k]->dim[axis] * runs.inner;
        layer->begin[k + 1] = layer->begin[k] + layer->length[k];
    }
    layer->outer = runs.outer;
    layer->run = out.dim[axis] * runs.inner;
    layer->n_in = setup->n_in;
    layer->threads = setup->threads;
    return call->host->set_output(call, 0, &out);
}

/* One run of one pass, as the threads share it. */
typedef struct work {
    const concat *layer;
    const lamina_io *io;
} work;

/* Runs begin .. end-1, counted through all samples. */
static int32_t forward_runs(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const concat *layer = w->layer;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        lamina_real *y = (lamina_real *)w->io->out[0]->data + r * layer->run;
        for (int32_t k = 0; k < layer->n_in; k++) {
            const lamina_real *x = (const lamina_real *)w->io->in[k]->data + r * layer->length[k];
            memcpy(y + layer->begin[k], x, (size_t)layer->length[k] * sizeof *y);
        }
    }
    return LAMINA_OK;
}

static int32_t backward_runs(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const concat *layer = w->layer;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const lamina_real *dy = (const lamina_real *)w->io->d_out[0]->data + r * layer->run;
        for (int32_t k = 0; k < layer->n_in; k++) {
            if (w->io->d_in[k] != NULL) {
                lamina_real *dx = (lamina_real *)w->io->d_in[k]->data + r * layer->length[k];
                memcpy(dx, dy + layer->begin[k], (size_t)layer->length[k] * sizeof *dy);
            }
        }
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.layer = self, .io = io};
    return lamina__spread(call, w.layer->threads, io->samples * w.layer->outer,
                          GRAIN / w.layer->run + 1, forward_runs, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.layer = self, .io = io};
    return lamina__spread(call, w.layer->threads, io->samples * w.layer->outer,
                          GRAIN / w.layer->run + 1, backward_runs, &w);
}

static const char *const cases[] = {
    "{input: [[3, 7], [3, 2]]}", "{input: [[2, 3, 5, 4], [2, 1, 5, 4], [2, 4, 5, 4]]}",
    "{input: [[2, 3, 5, 4], [2, 3, 1, 4]], params: {axis: 2}}",
    "{input: [[2, 3, 5, 1], [2, 3, 5, 3]], params: {axis: 3}}", NULL};

const lamina_layer_type LAMINA__LAYER(concat) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "concat",
    .doc = "Puts several inputs one behind the other, along the channels or another axis.",
    .state_version = 1,
    .min_in = 2,
    .max_in = MOST,
    .n_out = 1,
    .config_size = sizeof(concat_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
