/* Random networks in which any layer may follow any, for tests that compare ways to compute the
 * same: values with several readers near and far, layers that read their input or output backward,
 * or neither, with several inputs or outputs, frozen, on the whole batch, or without a backward
 * pass; several losses, and what only evaluations run. */
#ifndef LAMINA_TESTS_TANGLE_H
#define LAMINA_TESTS_TANGLE_H

#include "base/philox.h"
#include "net_support.h"

enum { MOST_VALUES = 192, MOST_TANGLE_LOSSES = 6 };

typedef struct tangle_value {
    char name[16];
    int filters, side;
    int uses; /* by layers that a training step runs */
} tangle_value;

typedef struct tangle {
    lamina__stream stream;
    uint64_t next;
    lamina__text text;
    const char *norm_kernels; /* "", or a key of all batch_norms */
    int classes;
    tangle_value values[MOST_VALUES];
    int n, layers, losses;
    int norm, norm_filters; /* the last batch_norm with weights of its own, -1: none */
} tangle;

static int tangle_draw(tangle *t, int n) {
    return (int)lamina__stream_below(t->stream, t->next++, (uint64_t)n);
}

/* Often the last one, at times one that nobody reads yet, else any. */
static int tangle_pick(tangle *t) {
    const int how = tangle_draw(t, 8), any = tangle_draw(t, t->n);
    for (int v = 0; how == 0 && v < t->n; v++) {
        if (t->values[v].uses == 0) {
            return v;
        }
    }
    return how < 6 ? t->n - 1 : any;
}

/* A value of the same side, and where asked with as many filters: v itself, if there is no other.
 */
static int tangle_like(tangle *t, int v, bool filters) {
    const int first = tangle_draw(t, t->n);
    for (int k = 0; k < t->n; k++) {
        const tangle_value *other = &t->values[(first + k) % t->n];
        if ((first + k) % t->n != v && other->side == t->values[v].side &&
            (!filters || other->filters == t->values[v].filters)) {
            return (first + k) % t->n;
        }
    }
    return v;
}

static tangle_value *tangle_add(tangle *t, int filters, int side) {
    tangle_value *value = &t->values[t->n++];
    *value = (tangle_value){.filters = filters, .side = side};
    snprintf(value->name, sizeof value->name, "v%d", ++t->layers);
    return value;
}

/* A layer of one input: `rest` is what its mapping says besides name and from. */
static void tangle_layer(tangle *t, const char *type, int v, int filters, int side,
                         const char *rest) {
    tangle_value *in = &t->values[v];
    const tangle_value *out = tangle_add(t, filters, side);
    lamina__text_add(&t->text, "- %s: {name: %s, from: %s%s}\n", type, out->name, in->name, rest);
    in->uses++;
}

/* One that leaves the shape. */
static void tangle_same(tangle *t, const char *type, int v, const char *rest) {
    tangle_layer(t, type, v, t->values[v].filters, t->values[v].side, rest);
}

static void tangle_pair(tangle *t, const char *type, int v, int other, int filters) {
    const tangle_value *out = tangle_add(t, filters, t->values[v].side);
    lamina__text_add(&t->text, "- %s: {name: %s, from: [%s, %s]}\n", type, out->name,
                     t->values[v].name, t->values[other].name);
    t->values[v].uses++;
    t->values[other].uses++;
}

static void tangle_conv(tangle *t, int v) {
    static const int sizes[] = {3, 8, 16, 16, 24, 40, 64};
    const int side = t->values[v].side, filters = sizes[tangle_draw(t, 7)];
    const int kernel = tangle_draw(t, 2) == 0 ? 3 : 1;
    const int stride = side >= 8 && tangle_draw(t, 4) == 0 ? 2 : 1;
    char rest[96];
    snprintf(rest, sizeof rest, ", filters: %d, kernel: %d, padding: %d, stride: %d%s", filters,
             kernel, kernel / 2, stride, tangle_draw(t, 12) == 0 ? ", frozen: true" : "");
    tangle_layer(t, "conv", v, filters, side / stride, rest);
}

static void tangle_depthwise(tangle *t, int v) {
    const int filters = t->values[v].filters;
    char rest[96];
    snprintf(rest, sizeof rest, ", filters: %d, groups: %d, kernel: 3, padding: 1", filters,
             filters);
    tangle_layer(t, "conv", v, filters, t->values[v].side, rest);
}

static void tangle_norm(tangle *t, int v) {
    static const char *const kinds[] = {
        "", "", "", ", momentum: 0.4", ", affine: false", ", frozen: true", ", kernels: reference"};
    const int kind = tangle_draw(t, 7);
    char rest[96];
    if (kind < 2 && t->norm >= 0 && t->norm_filters == t->values[v].filters) {
        snprintf(rest, sizeof rest, ", eps: 0.01, share: v%d%s", t->norm, t->norm_kernels);
        tangle_same(t, "batch_norm", v, rest);
        return;
    }
    snprintf(rest, sizeof rest, ", eps: 0.01%s%s", kinds[kind], kind == 6 ? "" : t->norm_kernels);
    tangle_same(t, "batch_norm", v, rest);
    if (kind < 4) {
        t->norm = t->layers;
        t->norm_filters = t->values[v].filters;
    }
}

static void tangle_activation(tangle *t, int v) {
    static const char *const kinds[][2] = {{"relu", ""},
                                           {"relu", ""},
                                           {"clip", ", min: -0.5, max: 1"},
                                           {"sigmoid", ""},
                                           {"elu", ""},
                                           {"prelu", ""},
                                           {"gelu", ""},
                                           {"dropout", ", p: 0.2"},
                                           {"dropout2d", ", p: 0.2"},
                                           {"test_noise", ""},
                                           {"test_center", ""},
                                           {"test_pack", ""},
                                           {"layer_norm", ""},
                                           {"group_norm", ", groups: 1"},
                                           {"instance_norm", ""},
                                           {"max_pool", ", kernel: 3, stride: 1, padding: 1"},
                                           {"avg_pool", ", kernel: 3, stride: 1, padding: 1"}};
    const int kind = tangle_draw(t, (int)(sizeof kinds / sizeof *kinds));
    tangle_same(t, kinds[kind][0], v, kinds[kind][1]);
}

/* A convolution, often with a norm and an activation behind it. */
static void tangle_block(tangle *t, int v) {
    tangle_conv(t, v);
    if (tangle_draw(t, 3) > 0) {
        tangle_norm(t, t->n - 1);
        if (tangle_draw(t, 2) == 0) {
            tangle_activation(t, t->n - 1);
        }
    }
}

static void tangle_resize(tangle *t, int v) {
    static const char *const pools[] = {"max_pool", "avg_pool"};
    const int side = t->values[v].side, filters = t->values[v].filters;
    if (side >= 8) {
        tangle_layer(t, pools[tangle_draw(t, 2)], v, filters, side / 2, ", kernel: 2");
    } else {
        tangle_layer(t, "upsample", v, filters, side * 2,
                     tangle_draw(t, 2) == 0 ? ", scale: 2" : ", scale: 2, mode: bilinear");
    }
}

static void tangle_cut(tangle *t, int v) {
    const int filters = t->values[v].filters, side = t->values[v].side;
    char rest[96];
    if (filters < 2 || filters % 2 != 0 || tangle_draw(t, 2) == 0) {
        snprintf(rest, sizeof rest, ", begin: %d", filters / 3);
        tangle_layer(t, "slice", v, filters - filters / 3, side, rest);
        return;
    }
    tangle_layer(t, "test_split", v, filters / 2, side, "");
    tangle_value *second = &t->values[t->n];
    *second = t->values[t->n - 1];
    snprintf(second->name, sizeof second->name, "v%d:1", t->layers);
    t->n++;
}

static void tangle_join(tangle *t, int v) {
    const int filters = t->values[v].filters, kind = tangle_draw(t, 5);
    const int other = tangle_like(t, v, kind > 0);
    if (kind == 0) {
        tangle_pair(t, "concat", v, other, filters + t->values[other].filters);
    } else if (kind == 1) {
        tangle_pair(t, "multiply", v, other, filters);
        tangle_same(t, "clip", t->n - 1, ", min: -2, max: 2");
    } else {
        const bool swapped = tangle_draw(t, 2) == 0;
        tangle_pair(t, "add", swapped ? other : v, swapped ? v : other, filters);
    }
}

/* ---- What ends a network ---- */

static void tangle_classify(tangle *t, int v, const char *weight) {
    const char *name = t->values[v].name;
    const int n = ++t->layers;
    lamina__text_add(&t->text, "- linear: {name: v%d, from: %s, units: %d}\n", n, name, t->classes);
    lamina__text_add(&t->text, "- softmax_loss: {from: v%d%s}\n", n, weight);
    if (tangle_draw(t, 2) == 0) {
        lamina__text_add(&t->text, "- accuracy: {from: v%d}\n", n);
    }
    t->values[v].uses++;
    t->losses++;
}

/* What only an evaluation runs. */
static void tangle_metric(tangle *t, int v) {
    static const char *const kinds[] = {"relu", "batch_norm", "max_pool", "gelu", "test_noise"};
    const int kind = tangle_draw(t, 5), n = ++t->layers;
    const char *rest = kind == 1   ? ", frozen: true"
                       : kind == 2 ? ", kernel: 3, stride: 1, padding: 1"
                                   : "";
    lamina__text_add(&t->text, "- %s: {name: v%d, from: %s%s}\n", kinds[kind], n, t->values[v].name,
                     rest);
    lamina__text_add(&t->text, "- mean_absolute_error: {from: [v%d, %s]}\n", n, t->values[v].name);
}

static void tangle_side_branch(tangle *t, int v) {
    if (v == 0) {
        return;
    }
    if (t->losses >= MOST_TANGLE_LOSSES || tangle_draw(t, 2) == 0) {
        tangle_metric(t, v);
    } else if (tangle_draw(t, 2) == 0) {
        tangle_classify(t, v, ", loss_weight: 0.2");
    } else {
        const int other = tangle_like(t, v, true);
        lamina__text_add(&t->text, "- mse_loss: {from: [%s, %s], loss_weight: 0.1}\n",
                         t->values[v].name, t->values[other].name);
        t->values[v].uses++;
        t->values[other].uses++;
        t->losses++;
    }
}

/* All that nobody reads goes into one vector for each sample. */
static void tangle_end(tangle *t) {
    const int n = t->n;
    int last = -1;
    for (int v = 1; v < n; v++) {
        if (t->values[v].uses > 0 && (v < n - 1 || last >= 0)) {
            continue;
        }
        tangle_layer(t, "global_avg_pool", v, t->values[v].filters, 1, "");
        const int mean = t->n - 1;
        if (last >= 0) {
            tangle_pair(t, "concat", last, mean, t->values[last].filters + t->values[mean].filters);
        }
        last = t->n - 1;
    }
    if (tangle_draw(t, 3) == 0) {
        tangle_norm(t, last);
        last = t->n - 1;
    }
    tangle_classify(t, last, "");
    if (tangle_draw(t, 3) == 0) {
        tangle_metric(t, last);
    }
}

/* For images of one channel, `side` x `side`. lamina__text_free. */
static lamina__text random_tangle(uint64_t seed, int side, int classes, const char *norm_kernels) {
    tangle t = {.stream = lamina__stream_make(seed, LAMINA__RANDOM_CHECK, 2, 0),
                .norm_kernels = norm_kernels,
                .classes = classes,
                .values = {{"data", 1, side, 0}},
                .n = 1,
                .norm = -1};
    for (int layers = 4 + tangle_draw(&t, 14); layers > 0; layers--) {
        const int v = tangle_pick(&t), kind = tangle_draw(&t, 16);
        if (kind < 6) {
            tangle_block(&t, v);
        } else if (kind < 8) {
            tangle_norm(&t, v);
        } else if (kind < 11) {
            tangle_activation(&t, v);
        } else if (kind < 13) {
            tangle_join(&t, v);
        } else if (kind == 13) {
            tangle_resize(&t, v);
        } else if (kind == 14) {
            tangle_draw(&t, 2) == 0 ? tangle_cut(&t, v) : tangle_depthwise(&t, v);
        } else {
            tangle_side_branch(&t, v);
        }
    }
    tangle_end(&t);
    return t.text;
}

#endif
