/* Layers called in stages, in random networks: units that cut their shards finely or not, values
 * that live in one run, activations that a unit makes again. The same network with everything kept,
 * by other numbers of threads, and with the layer on the whole batch must compute the same.
 *
 * The arena is filled with numbers that are not, before every step, so that whoever reads what is
 * not there shows it. */
#include "base/philox.h"
#include "graph/net_impl.h"
#include "net_support.h"
#include "tangle.h"

enum { SIDE = 32, BATCH = 12, CLASSES = 5, NETS = 60, STEPS = 3 };

/* ---- A random network ---------------------------------------------------------------------- */

typedef struct writer {
    lamina__stream stream;
    uint64_t next;
    lamina__text text;
    const char *norm_kernels; /* "", or a key of all batch_norms */
    int n, side, filters;
    int value, shortcut, shortcut_filters, shortcut_side; /* the last value, and an earlier one */
} writer;

static int draw(writer *w, int n) {
    return (int)lamina__stream_below(w->stream, w->next++, (uint64_t)n);
}

static void add_norm(writer *w) {
    static const char *const kinds[] = {
        "", "", "", ", momentum: 0.4", ", affine: false", ", frozen: true"};
    lamina__text_add(&w->text, "- batch_norm: {name: v%d, eps: 0.01%s%s}\n", ++w->n,
                     kinds[draw(w, 6)], w->norm_kernels);
}

static void add_activation(writer *w) {
    static const char *const kinds[] = {
        "relu: {name: v%d}",    "clip: {name: v%d, min: -0.5, max: 1}",
        "sigmoid: {name: v%d}", "leaky_relu: {name: v%d}",
        "gelu: {name: v%d}",    "dropout: {name: v%d, p: 0.2}"};
    const int kind = draw(w, 9);
    if (kind < 6) {
        lamina__text_add(&w->text, "- ");
        lamina__text_add(&w->text, kinds[kind], ++w->n);
        lamina__text_add(&w->text, "\n");
    }
}

static void add_conv(writer *w, int filters, int stride) {
    static const int kernels[] = {1, 3, 1};
    const int kernel = kernels[draw(w, 3)];
    lamina__text_add(&w->text,
                     "- conv: {name: v%d, filters: %d, kernel: %d, padding: %d, stride: %d}\n",
                     ++w->n, filters, kernel, kernel / 2, stride);
    w->filters = filters;
    w->side = (w->side + stride - 1) / stride;
}

/* Adds an earlier value, by way of a convolution and a norm where it has another shape. */
static void add_residual(writer *w) {
    const int value = w->n;
    int other = w->shortcut;
    if (w->shortcut_filters != w->filters || w->shortcut_side != w->side) {
        lamina__text_add(&w->text,
                         "- conv: {name: v%d, from: v%d, filters: %d, kernel: 1, stride: %d}\n",
                         w->n + 1, w->shortcut, w->filters, w->shortcut_side / w->side);
        w->n++;
        if (draw(w, 2) == 0) {
            add_norm(w);
        }
        other = w->n;
    }
    const int first = draw(w, 2) == 0 ? value : other;
    lamina__text_add(&w->text, "- add: {name: v%d, from: [v%d, v%d]}\n", w->n + 1, first,
                     value + other - first);
    w->n++;
}

static void add_block(writer *w, bool residual) {
    static const int sizes[] = {3, 8, 16, 24, 40, 64};
    const int stride = w->side >= 8 && draw(w, 3) == 0 ? 2 : 1;
    w->shortcut = w->n;
    w->shortcut_filters = w->filters;
    w->shortcut_side = w->side;
    add_conv(w, sizes[draw(w, 6)], stride);
    if (draw(w, 5) > 0) {
        add_norm(w);
    }
    if (draw(w, 8) == 0) {
        add_norm(w);
    }
    add_activation(w);
    if (residual) {
        add_residual(w);
        add_activation(w);
    }
}

static lamina__text random_network(uint64_t seed, const char *norm_kernels) {
    writer w = {.stream = lamina__stream_make(seed, LAMINA__RANDOM_CHECK, 1, 0),
                .norm_kernels = norm_kernels,
                .side = SIDE,
                .filters = 1};
    if (draw(&w, 4) == 0) {
        add_norm(&w);
    }
    add_conv(&w, 16 + 16 * draw(&w, 4), 1);
    for (int blocks = 1 + draw(&w, 5); blocks > 0; blocks--) {
        add_block(&w, draw(&w, 2) == 0);
    }
    if (draw(&w, 2) == 0) {
        lamina__text_add(&w.text, "- global_avg_pool\n");
    }
    if (draw(&w, 3) == 0) {
        add_norm(&w);
    }
    lamina__text_add(&w.text, "- linear: {units: %d}\n", CLASSES);
    if (draw(&w, 4) == 0) {
        add_norm(&w);
    }
    lamina__text_add(&w.text, "- softmax_loss\n");
    return w.text;
}

/* ---- Running it ---------------------------------------------------------------------------- */

typedef struct cut {
    int threads, shards, slices;
    bool keep_all;
    double recompute; /* share; 0: none */
} cut;

typedef struct outcome {
    lamina_status status; /* of the last step that was done */
    lamina_error error;
    lamina__result results[STEPS + 1];
    double losses[STEPS + 1];
    float *weights, *states;
    size_t n_weights, n_states;
    int repeats, again, sliced, unsliced, local, far;
} outcome;

static void look_at(const lamina__net *net, outcome *o) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        o->repeats += net->layers[i].repeats;
    }
    o->again = net->n_again;
    for (int32_t u = 0; u < net->n_units; u++) {
        o->sliced += net->units[u].sliced;
        o->unsliced += !net->units[u].sliced;
    }
    for (int32_t s = 0; s < net->n_stores; s++) {
        o->local += net->stores[s].place == LAMINA__PLACE_LOCAL;
    }
}

static float *copy_of(const float *from, size_t n) {
    float *copy = lamina__calloc(n + 1, sizeof *copy);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, from, n * sizeof *copy);
    return copy;
}

static lamina__net_options options_for(cut c) {
    return (lamina__net_options){.channels = 1,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .batch = BATCH,
                                 .partial = {7, 5},
                                 .classes = CLASSES,
                                 .threads = c.threads,
                                 .shards = c.shards,
                                 .slices = c.slices,
                                 .by_shard = true,
                                 .keep_all = c.keep_all,
                                 .recompute = c.recompute > 0,
                                 .recompute_share = c.recompute,
                                 .training = true,
                                 .seed = 7};
}

static outcome run(const char *layers, cut c) {
    static test_batch b;
    static const int64_t sizes[STEPS + 1] = {BATCH, BATCH, 7, 5};
    const lamina__net_options options = options_for(c);
    outcome o;
    memset(&o, 0, sizeof o); /* the gaps in it, too: it is compared as bytes */
    test_net t = test_net_make(layers, &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const size_t arena = lamina__net_memory(t.net).activations;
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.02f};
    for (int i = 0; i <= STEPS && o.status == LAMINA_OK; i++) {
        test_batch_fill(&b, sizes[i], SIDE * SIDE, CLASSES, (uint64_t)i);
        memset(t.net->arena, 0xff, arena);
        o.status = i == STEPS ? lamina__net_evaluate(t.net, &b.batch, &o.results[i], &o.error)
                              : lamina__net_train_step(t.net, &b.batch, i, test_update, &descent,
                                                       &o.results[i], &o.error);
        o.losses[i] = o.results[i].loss_sum;
    }
    look_at(t.net, &o);
    o.n_weights = (size_t)lamina__net_weight_floats(t.net);
    o.n_states = (size_t)t.net->state_floats;
    o.weights = copy_of(t.net->weight_block, o.n_weights);
    o.states = copy_of(t.net->state_block, o.n_states);
    test_net_free(&t);
    return o;
}

static void free_outcome(outcome *o) {
    lamina__free(o->weights);
    lamina__free(o->states);
}

static bool same_bits(const outcome *a, const outcome *b) {
    return a->status == b->status && strcmp(a->error.message, b->error.message) == 0 &&
           memcmp(a->results, b->results, sizeof a->results) == 0 &&
           memcmp(a->weights, b->weights, a->n_weights * sizeof(float)) == 0 &&
           memcmp(a->states, b->states, a->n_states * sizeof(float)) == 0;
}

static double apart(const float *a, const float *b, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]) / (1 + fabs((double)b[i]));
        largest = isnan(d) || d > largest ? d : largest;
    }
    return largest;
}

/* The largest difference of weights, running statistics and losses. */
static double distance(const outcome *a, const outcome *b) {
    double losses = 0;
    for (int i = 0; i <= STEPS; i++) {
        const double d = fabs(a->losses[i] - b->losses[i]) / (1 + fabs(b->losses[i]));
        losses = isnan(d) || d > losses ? d : losses;
    }
    return fmax(losses, fmax(apart(a->weights, b->weights, a->n_weights),
                             apart(a->states, b->states, a->n_states)));
}

static void expect(bool good, uint64_t seed, const char *what, const char *layers) {
    CU_ASSERT(good);
    if (!good) {
        printf("\nnetwork %d, %s:\n%s", (int)seed, what, layers);
    }
}

/* ---- Tests --------------------------------------------------------------------------------- */

typedef lamina__text make_fn(uint64_t seed, const char *norm_kernels);

static lamina__text make_tangle(uint64_t seed, const char *norm_kernels) {
    return random_tangle(seed, SIDE, CLASSES, norm_kernels);
}

static void expect_same(const outcome *plain, const char *layers, cut c, uint64_t seed,
                        const char *what) {
    outcome o = run(layers, c);
    expect(same_bits(plain, &o), seed, what, layers);
    free_outcome(&o);
}

/* One network by several cuts. Rounding can move a value from one side of a kink (relu, clip) to
 * the other, so that two kernels differ visibly now and then. */
static void compare_cuts(uint64_t seed, make_fn *make, outcome *seen) {
    static const cut cuts[] = {
        {.shards = 1, .slices = 1}, {.shards = 1, .slices = 4}, {.shards = 1, .slices = 12},
        {.shards = 2, .slices = 1}, {.shards = 2, .slices = 2}, {.shards = 2, .slices = 6},
        {.shards = 3, .slices = 4}, {.shards = 5, .slices = 2}, {.shards = 12, .slices = 1}};
    lamina__text layers = make(seed, ""), whole = make(seed, ", kernels: reference");
    cut c = cuts[seed % (sizeof cuts / sizeof *cuts)];
    c.threads = 1;
    outcome on_whole = run(whole.data, (cut){.threads = 1, .shards = 2, .slices = 1});
    outcome plain = run(layers.data, c);
    const double d = distance(&plain, &on_whole);
    expect(d < 0.1, seed, "not as on the whole batch", layers.data);
    seen->far += d > 1e-3;
    c.keep_all = true;
    expect_same(&plain, layers.data, c, seed, "other bits when all is kept");
    c.keep_all = false;
    c.threads = 2 + (int)(seed % 2);
    expect_same(&plain, layers.data, c, seed, "other bits on several threads");
    for (int i = 0; i < 2; i++) {
        c.recompute = (double[]){1e-9, 0.1, 1}[(seed + (uint64_t)i) % 3];
        outcome again = run(layers.data, c);
        expect(same_bits(&plain, &again), seed, "other bits when more is made again", layers.data);
        seen->again += again.again;
        free_outcome(&again);
    }
    seen->repeats += plain.repeats;
    seen->sliced += plain.sliced > 0 && plain.unsliced > 0;
    seen->local += plain.local;
    free_outcome(&on_whole);
    free_outcome(&plain);
    lamina__text_free(&layers);
    lamina__text_free(&whole);
}

/* mixed: of so many networks at least some units are sliced and others are not. */
static void compare_nets(make_fn *make, int mixed) {
    outcome seen = {.repeats = 0};
    for (uint64_t seed = 1; seed <= NETS; seed++) {
        compare_cuts(seed, make, &seen);
    }
    CU_ASSERT(seen.repeats > NETS); /* the tests do look at what they are for */
    CU_ASSERT(seen.again > NETS);
    CU_ASSERT(seen.sliced > mixed);
    CU_ASSERT(seen.local > NETS);
    CU_ASSERT(seen.far < NETS / 10);
}

static void cuts_agree(void) {
    compare_nets(random_network, NETS / 4);
}

static void tangles_agree(void) {
    compare_nets(make_tangle, NETS / 8);
}

static const char *const branches[] = {
    /* x is read in the backward phase long before `a` is, which could be made from it. */
    "- conv: {filters: 16, kernel: 3, padding: 1}\n"
    "- batch_norm\n"
    "- relu: {name: x}\n"
    "- avg_pool: {name: a, kernel: 3, stride: 1, padding: 1}\n"
    "- conv: {filters: 16, kernel: 1}\n"
    "- batch_norm\n"
    "- relu\n"
    "- conv: {filters: 24, kernel: 1}\n"
    "- batch_norm\n"
    "- relu: {name: r}\n"
    "- conv: {from: x, filters: 24, kernel: 1}\n"
    "- batch_norm: {name: b}\n"
    "- add: {from: [b, r]}\n"
    "- global_avg_pool\n"
    "- linear: {units: 5}\n"
    "- softmax_loss\n",
    /* `near` and `far`, needed at different times, are both made from x, which is local. */
    "- conv: {filters: 8, kernel: 3, padding: 1}\n"
    "- batch_norm\n"
    "- relu: {name: x}\n"
    "- conv: {name: far, filters: 16, kernel: 1}\n"
    "- conv: {name: near, from: x, filters: 16, kernel: 1}\n"
    "- batch_norm\n"
    "- relu\n"
    "- conv: {filters: 24, kernel: 3, padding: 1}\n"
    "- batch_norm\n"
    "- relu\n"
    "- conv: {filters: 16, kernel: 3, padding: 1}\n"
    "- batch_norm\n"
    "- relu: {name: r}\n"
    "- gelu: {name: g, from: far}\n"
    "- add: {from: [g, r]}\n"
    "- conv: {filters: 16, kernel: 3, padding: 1}\n"
    "- batch_norm\n"
    "- global_avg_pool\n"
    "- linear: {units: 5}\n"
    "- softmax_loss\n"};

/* What is made again is made from what is there then. */
static void made_in_time(void) {
    static const double shares[] = {1e-9, 0.02, 0.05, 0.1, 1};
    for (size_t n = 0; n < sizeof branches / sizeof *branches; n++) {
        cut c = {.threads = 2, .shards = 2, .slices = 2};
        outcome plain = run(branches[n], c);
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
            c.recompute = shares[i];
            expect_same(&plain, branches[n], c, n, "other bits when more is made again");
        }
        free_outcome(&plain);
    }
}

/* test_watch: y = x, but a NaN for sample 9 of the second step; the input of that step must be the
 * same whenever it is called in it. */
enum { WATCHED = 9 };
static float watched_input[BATCH * SIDE * SIDE * 64];
static int64_t watched_samples;
static int watched_others;

static int32_t watch_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

static int32_t watch_forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t size = tensor_count(io->in[0]) / io->samples;
    const size_t bytes = (size_t)tensor_count(io->in[0]) * sizeof(float);
    float *seen = watched_input + io->first_sample * size, *y = io->out[0]->data;
    (void)self;
    (void)call;
    memcpy(y, io->in[0]->data, bytes);
    if (io->step != 1 || io->phase != LAMINA_TRAIN) {
        return LAMINA_OK;
    }
    if (watched_samples < BATCH) { /* for the first time */
        memcpy(seen, y, bytes);
    } else {
        watched_others += memcmp(seen, y, bytes) != 0;
    }
    watched_samples += io->samples;
    if (io->first_sample <= WATCHED && io->first_sample + io->samples > WATCHED) {
        y[(WATCHED - io->first_sample) * size] = NAN;
    }
    return LAMINA_OK;
}

static int32_t watch_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    memcpy(io->d_in[0]->data, io->d_out[0]->data,
           (size_t)tensor_count(io->d_out[0]) * sizeof(float));
    return LAMINA_OK;
}

static const lamina_layer_type test_watch_type = {.struct_size = sizeof(lamina_layer_type),
                                                  .name = "test_watch",
                                                  .doc = "makes a NaN, once",
                                                  .state_version = 1,
                                                  .min_in = 1,
                                                  .max_in = 1,
                                                  .n_out = 1,
                                                  .param_stride = sizeof(lamina_param),
                                                  .setup = watch_setup,
                                                  .forward = watch_forward,
                                                  .backward = watch_backward};
static const lamina_layer_type *const watch_types[] = {&test_watch_type, NULL};

/* The layer that makes a number that is not one is named when the step has come to its end, where
 * values lie in the places in which they were made again. */
static void culprit_is_named(void) {
    test_more_types = watch_types;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        lamina__text layers = random_network(seed, "");
        const cut c = {.threads = 1, .shards = 2, .slices = 2, .recompute = (double)(seed % 3) / 2};
        char *end = strstr(layers.data, "- linear");
        lamina__text watched = {0};
        lamina__text_add(&watched, "%.*s- test_watch: {name: watch}\n%s", (int)(end - layers.data),
                         layers.data, end);
        watched_samples = watched_others = 0;
        outcome o = run(watched.data, c);
        CU_ASSERT_EQUAL(o.status, LAMINA_ERROR_NUMERIC);
        TEST_CONTAINS(o.error.message, "step 2: layer \"watch\" (test_watch): its output is not "
                                       "finite (nan for sample 9 of the batch)");
        TEST_TEXT(o.error.layer, "watch");
        CU_ASSERT(watched_samples > BATCH);
        expect(watched_others == 0, seed, "other values when gone through again", watched.data);
        free_outcome(&o);
        lamina__text_free(&layers);
        lamina__text_free(&watched);
    }
    test_more_types = NULL;
}

static void failing_allocations_are_clean(void) {
    const lamina__net_options options =
        options_for((cut){.threads = 2, .shards = 2, .slices = 2, .recompute = 0.1});
    /* A kernel of oneDNN's that cannot be made leaves its layer to another. */
    test_net_allocations(test_net_make, branches[1], &options, true);
}

LAMINA_TESTS({"cuts agree", cuts_agree}, {"tangles agree", tangles_agree},
             {"made again in time", made_in_time}, {"the culprit is named", culprit_is_named},
             {"failing allocations are clean", failing_allocations_are_clean})
