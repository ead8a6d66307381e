/* slice: places begin .. end-1 along one axis, all of the others; begin and end count from the end
 * when they are negative, as in Python's x[:, begin:end].
 *
 *   dx = dy at the places taken, 0 elsewhere
 *
 * Axes are counted as in the logical shape: 1 is channels (or features), 2 and 3 are an image's
 * height and width. Several slices of one layer, each with `from`, split it. */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <inttypes.h>
#include <string.h>

enum { GRAIN = 16384 }; /* numbers: less is not worth a thread */

typedef struct slice_config {
    int64_t axis, begin;
    lamina_int_list end;
} slice_config;

typedef struct slice {
    const slice_config *config;
    int64_t outer;         /* runs of a sample */
    int64_t run;           /* numbers of one */
    int64_t first, length; /* those taken */
    int32_t threads;
} slice;

#define FIELD(name) offsetof(slice_config, name)

static const char *const end_words[] = {"end", NULL};

static const lamina_param params[] = {
    {.name = "axis",
     .doc = "Along which: 1 channels or features, 2 height, 3 width.",
     .type = LAMINA_INT,
     .offset = FIELD(axis),
     .min = 1,
     .max = LAMINA_MAX_DIMS - 1,
     .def = "1"},
    {.name = "begin",
     .doc = "The first place taken, from 0; negative: counted from the end.",
     .type = LAMINA_INT,
     .offset = FIELD(begin),
     .def = "0"},
    {.name = "end",
     .doc = "The place behind the last one taken; negative: counted from the end; `end`: all that "
            "are left.",
     .type = LAMINA_INT_LIST,
     .offset = FIELD(end),
     .max_count = 1,
     .choices = end_words,
     .def = "end"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(slice), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    slice *layer = self;
    const slice_config *config = layer->config;
    const int32_t axis = (int32_t)config->axis;
    lamina_shape out = *setup->in[0];

    if (axis >= out.ndim) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "input %s has no axis %d",
                                lamina__dims(&out).text, (int)axis);
    }
    const int64_t size = out.dim[axis];
    const int64_t given = config->end.word >= 0 ? size : config->end.value[0];
    const int64_t begin = config->begin < 0 ? config->begin + size : config->begin;
    const int64_t end = given < 0 ? given + size : given;
    if (begin < 0 || end > size || begin >= end) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "begin %" PRId64 " and end %" PRId64 " leave nothing, or more than "
                                "there is, of the %" PRId64 " places along axis %d",
                                config->begin, given, size, (int)axis);
    }
    const lamina__runs runs = lamina__runs_along(&out, axis);
    layer->outer = runs.outer;
    layer->run = size * runs.inner;
    layer->first = begin * runs.inner;
    layer->length = (end - begin) * runs.inner;
    layer->threads = setup->threads;
    out.dim[axis] = end - begin;
    return call->host->set_output(call, 0, &out);
}

/* One run of one pass, as the threads share it. */
typedef struct work {
    const slice *layer;
    const lamina_real *from;
    lamina_real *to;
} work;

/* Runs begin .. end-1, counted through all samples. */
static int32_t forward_runs(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const slice *layer = w->layer;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        memcpy(w->to + r * layer->length, w->from + r * layer->run + layer->first,
               (size_t)layer->length * sizeof *w->to);
    }
    return LAMINA_OK;
}

static int32_t backward_runs(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const slice *layer = w->layer;
    const int64_t behind = layer->first + layer->length;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        lamina_real *dx = w->to + r * layer->run;
        memset(dx, 0, (size_t)layer->first * sizeof *dx);
        memcpy(dx + layer->first, w->from + r * layer->length, (size_t)layer->length * sizeof *dx);
        memset(dx + behind, 0, (size_t)(layer->run - behind) * sizeof *dx);
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.layer = self, .from = io->in[0]->data, .to = io->out[0]->data};
    return lamina__spread(call, w.layer->threads, io->samples * w.layer->outer,
                          GRAIN / w.layer->run + 1, forward_runs, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.layer = self, .from = io->d_out[0]->data};
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    w.to = io->d_in[0]->data;
    return lamina__spread(call, w.layer->threads, io->samples * w.layer->outer,
                          GRAIN / w.layer->run + 1, backward_runs, &w);
}

static const char *const cases[] = {"{input: [3, 7], params: {begin: 2, end: 5}}",
                                    "{input: [2, 6, 5, 4], params: {begin: 1, end: 4}}",
                                    "{input: [2, 3, 5, 4], params: {axis: 2, begin: -2}}",
                                    "{input: [2, 3, 5, 4], params: {axis: 3, begin: 1, end: -1}}",
                                    NULL};

const lamina_layer_type LAMINA__LAYER(slice) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "slice",
    .doc = "Some of the channels, features, lines or columns.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(slice_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
