/* The plan by measurement.
 *
 * A kernel's speed depends on the size of its call, on what its neighbours left in the caches and
 * on what the other cores do. So nothing is timed by itself: trial nets are built and take whole
 * steps on made-up data with all threads, under a clock that knows each layer and pass. In round r
 * every layer has its r-th candidate for each pass; as many rounds as the longest list of
 * candidates, and each pass takes the candidate with the least time. Weights that a kernel wants
 * repacked are part of its time.
 *
 * Then cuts are compared as whole steps, update and all: no layer on the whole batch, where the
 * first cut has large linear layers there; or more layers with many weights, those with the fewest
 * multiply-adds for each weight first; more slices, as long as that pays; fewer shards, likewise;
 * and one shard whose kernels use all threads. A cut that changes the size of calls has rounds of
 * its own, for the layers whose calls they are.
 *
 * Times are the least of some steps: what disturbs a step only makes it longer. On a machine that
 * is busy with something else a step on many threads is longer than one on few, which says nothing
 * of the cut; the system counts how often a thread was put off its processor, so a trial goes on
 * for a while until a step was left in peace, and without one no other cut is taken. Layers that
 * are alike, as in networks of many equal blocks, have the mean of their costs. Of candidates
 * that are as good as equal the first in order of preference is taken, so that a plan is stable. A
 * candidate that fails is out of the choice. */
#include "graph/tune.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/error.h"
#include "base/log.h"
#include "base/philox.h"
#include "base/seconds.h"
#include "base/threads.h"
#include "config/diag.h"
#include "graph/clock.h"
#include "graph/net_impl.h"
#include "graph/plan_cache.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>

enum { MAX_CANDIDATES = 8, LEAST_STEPS = 3, FEW_STEPS = 4, MANY_STEPS = 24 };

/* A trial is over after a long time, after less of it with more steps: the first step is cold. */
static const double longest_trial = 0.5, long_trial = 0.2, trial_seconds = 0.04, short_trial = 0.01;

/* No trial begins so long after the first, and for so many steps more. */
static const double budget_seconds = 1.2, budget_steps = 40, most_budget_seconds = 45;

/* For so long all trials together may wait for a step in peace, and so often a thread may be put
 * off its processor in a second of it. */
static const double patience_seconds = 0.4, put_off = 10;

/* Steps shorter than this are timed in several turns: a disturbance that outlasts one trial is
 * seldom there in all. */
static const double short_step = 0.05;

/* Another kernel or cut must be faster by this factor. */
static const double better_kernel = 0.97, better_cut = 0.98;

/* What is this much slower than the best is not tried again, nor is a cut with as many candidates
 * tuned that is so with its first ones. */
static const double hopeless = 1.3;

/* Layers with at least so many weights may be called on the whole batch: first those with up to the
 * first number of multiply-adds for a weight and sample, then those with up to the next. */
enum { MANY_WEIGHTS = 16384 };
static const double reuses[] = {1, 4, 16, 64};

/* The names of a layer's kernels; NULL: no such pass, or what build.c would choose. */
typedef struct choice {
    const char *kernel[LAMINA__N_PASSES];
    bool whole; /* called once, on the whole batch */
} choice;

typedef struct plan {
    int32_t shards, slices;
    bool by_shard;
    choice *layers;
    double seconds; /* of a step */
    bool in_peace;  /* that step was not disturbed */
} plan;

/* What can be chosen in a layer, and what it was found to cost: seconds of all threads together. */
typedef struct candidates {
    int32_t n_together, n_apart[LAMINA__N_PASSES];
    const char *together[MAX_CANDIDATES], *apart[LAMINA__N_PASSES][MAX_CANDIDATES];
    double together_cost[MAX_CANDIDATES], apart_cost[LAMINA__N_PASSES][MAX_CANDIDATES];
    bool together_first; /* by preference */
    bool failed;         /* in the round that runs: takes its first candidates */
    bool settled;        /* the layer keeps the kernels it has */
} candidates;

/* What decides whether a layer may be called on the whole batch. */
typedef struct heaviness {
    bool many;    /* weights */
    double reuse; /* multiply-adds of a sample for each weight */
} heaviness;

typedef struct tuner {
    const lamina__network *network;
    const lamina__net_options *options;
    int32_t n_layers, threads;
    double begin, deadline, patience;
    lamina__batch batch;
    float *images;
    int32_t *labels;
    float *numbers;                  /* of the targets, where they are no labels */
    float *momentum;                 /* as many as weights */
    lamina__recorded_kernel *record; /* for one trial net; names are not owned */
    candidates *layers;
    int32_t *like; /* the first layer that computes the same, with other numbers */
    heaviness *heavy;
    double *least;  /* (layers, passes, threads): seconds in the trial that ran last */
    double *cost;   /* (layers, passes): of all threads, with repacking */
    int32_t slices; /* to begin with */
    bool told;
} tuner;

/* Is there no more time, or does the caller want it to end? */
static bool is_late(const tuner *t) {
    return lamina__net_is_stopped(t->options) || lamina__seconds() > t->deadline;
}

/* ---- A trial ---- */

/* What an optimizer reads and writes. */
typedef struct slots {
    float *weights, *momentum;
} slots;

/* Reads and writes what an optimizer would, and changes nothing. */
LAMINA__VECTOR_CLONES
static void update_nothing(void *arg, int32_t weight, int64_t begin, int64_t end,
                           const float *gradient) {
    const slots *s = arg;
    float *restrict w = s->weights + begin, *restrict v = s->momentum + begin;
    (void)weight;
    for (int64_t i = 0; i < end - begin; i++) {
        v[i] += 0.0f * gradient[i];
        w[i] -= 0.0f * v[i];
    }
}

static lamina_status take_step(tuner *t, lamina__net *net, lamina_error *error) {
    lamina__result result;
    slots arg = {lamina__net_weight_block(net), t->momentum};
    return t->options->training
               ? lamina__net_train_step(net, &t->batch, 0, update_nothing, &arg, &result, error)
               : lamina__net_evaluate(net, &t->batch, &result, error);
}

static void make_data(tuner *t, const lamina__net *net) {
    int64_t classes = 0, outputs = 0;
    while (classes < t->options->batch &&
           lamina__net_refuses_label(net, (int32_t)classes, &outputs) < 0) {
        classes++;
    }
    for (int64_t i = 0; i < t->options->batch; i++) {
        t->labels[i] = classes > 0 ? (int32_t)(i % classes) : 0;
    }
}

/* For each layer, pass and thread the least seconds so far: a thread that was disturbed in one step
 * may not be in another. */
static void read_clock(tuner *t, lamina__net *net) {
    for (int32_t i = 0; i < t->n_layers; i++) {
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            for (int32_t thread = 0; thread < t->threads; thread++) {
                double *least = &t->least[(i * LAMINA__N_PASSES + pass) * t->threads + thread];
                *least = fmin(*least, lamina__net_pass_seconds(net, i, pass, thread));
            }
        }
    }
    lamina__net_clear_clock(net);
}

static void sum_threads(tuner *t) {
    for (int32_t i = 0; i < t->n_layers * LAMINA__N_PASSES; i++) {
        t->cost[i] = 0;
        for (int32_t thread = 0; thread < t->threads; thread++) {
            t->cost[i] += t->least[i * t->threads + thread];
        }
    }
}

/* Seconds of all threads that repacking a layer's weights takes: of one by shard; on the whole
 * batch the others wait. */
static double prepare_seconds(lamina__layer *layer, int32_t threads) {
    double least = INFINITY;
    for (int i = 0; i < 2; i++) {
        const double begin = lamina__seconds();
        lamina__lane *lane = &layer->lanes[0];
        if (lamina__instance_prepare(layer->instance, &lane->call, &lane->io) != LAMINA_OK) {
            return INFINITY;
        }
        least = fmin(least, lamina__seconds() - begin);
    }
    return layer->whole ? threads * least : least;
}

/* Repacking is shared out among the passes whose kernels want it. */
static void add_prepare(tuner *t, lamina__net *net) {
    for (int32_t i = 0; i < t->n_layers && t->options->training; i++) {
        const lamina__instance *instance = net->layers[i].instance;
        bool packs[LAMINA__N_PASSES] = {false};
        int n = 0;
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const int32_t k = instance->pass_kernel[pass];
            packs[pass] = k >= 0 && instance->bound[k].kernel->prepare != NULL;
            n += packs[pass];
        }
        const double seconds = n > 0 ? prepare_seconds(&net->layers[i], t->threads) / n : 0;
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            t->cost[i * LAMINA__N_PASSES + pass] += packs[pass] ? seconds : 0;
        }
    }
}

static lamina__net *build_trial(tuner *t, const plan *p, lamina_error *error) {
    lamina__net_options options = *t->options;
    lamina__diags unseen = {0};
    options.trial = true;
    lamina__net *net = NULL;
    for (int32_t i = 0; i < t->n_layers; i++) {
        t->record[i].layer = t->network->layers[i].name;
        t->record[i].whole = p->layers[i].whole;
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            t->record[i].kernel[pass] = (char *)(uintptr_t)p->layers[i].kernel[pass];
        }
    }
    const lamina__plan_record record = {.shards = p->shards,
                                        .slices = p->slices,
                                        .by_shard = p->by_shard,
                                        .kernels = t->record,
                                        .count = (size_t)t->n_layers};
    if (lamina__net_make(t->network, &options, &record, &net, &unseen, error) != LAMINA_OK &&
        error->message[0] == '\0') {
        lamina__diags_error(&unseen, error);
    }
    lamina__diags_free(&unseen);
    return net;
}

/* How often a thread of this process was put off its processor so far. */
static double times_put_off(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_nivcsw : 0;
}

/* Step n of a trial. The fastest counts, of those in peace if there are any; the first is cold and
 * counts only until there is another. */
static void note_step(plan *p, int n, double seconds, bool in_peace) {
    in_peace = in_peace && n > 0;
    if (n <= 1 || in_peace > p->in_peace || (in_peace == p->in_peace && seconds < p->seconds)) {
        p->seconds = seconds;
        p->in_peace = in_peace;
    }
}

/* After n steps that took so long. */
static bool is_enough(tuner *t, const plan *p, int n, double seconds) {
    const bool enough = seconds > longest_trial || (n >= LEAST_STEPS && seconds > long_trial) ||
                        (n >= FEW_STEPS && seconds > trial_seconds) ||
                        (n >= MANY_STEPS && seconds > short_trial);
    if (!enough || p->in_peace || seconds > longest_trial) {
        return enough;
    }
    t->patience -= p->seconds;
    return t->patience < 0;
}

/* Takes steps; p->seconds: the least of one. With a clock the costs of the passes, too. */
static lamina_status run_trial(tuner *t, lamina__net *net, bool clock, plan *p,
                               lamina_error *error) {
    lamina_status status = clock ? lamina__net_start_clock(net, error) : LAMINA_OK;
    const double begin = lamina__seconds();
    double end = begin;
    make_data(t, net);
    p->seconds = INFINITY;
    p->in_peace = false;
    for (int32_t i = 0; clock && i < t->n_layers * LAMINA__N_PASSES * t->threads; i++) {
        t->least[i] = INFINITY;
    }
    for (int n = 0; status == LAMINA_OK && !is_enough(t, p, n, end - begin); n++) {
        const double now = end, before = times_put_off();
        status = take_step(t, net, error);
        end = lamina__seconds();
        const double allowed = floor(put_off * net->threads * (end - now));
        note_step(p, n, end - now, times_put_off() - before <= allowed);
        if (clock) {
            read_clock(t, net);
            end = lamina__seconds();
        }
        if (is_late(t)) {
            break;
        }
    }
    if (status == LAMINA_OK && clock) {
        sum_threads(t);
        add_prepare(t, net);
    }
    return status;
}

static void log_trial(const tuner *t, const plan *p, const char *what, const lamina_error *error) {
    if (error->code != LAMINA_OK) {
        lamina__log(LAMINA_LOG_DEBUG, "plan: %s: %s", what, error->message);
        return;
    }
    int whole = 0;
    for (int32_t i = 0; i < t->n_layers; i++) {
        whole += p->layers[i].whole;
    }
    lamina__log(LAMINA_LOG_DEBUG,
                "plan: %s: %d shards of %d slices%s, %d layers on the whole batch: %.3f ms%s", what,
                (int)p->shards, (int)p->slices, p->by_shard ? " on one thread" : "", whole,
                1e3 * p->seconds, p->in_peace ? "" : ", disturbed");
}

/* A plan's whole step. False when it cannot run here, or there is no time to find out. */
static bool time_step(tuner *t, plan *p) {
    lamina_error error = {0};
    if (is_late(t)) {
        return false;
    }
    lamina__net *net = build_trial(t, p, &error);
    /* It may be cut less finely than it was told. */
    const bool same = net != NULL && net->shards == p->shards && net->slices == p->slices;
    const bool ran = same && run_trial(t, net, false, p, &error) == LAMINA_OK;
    lamina__net_free(net);
    if (net == NULL || same) {
        log_trial(t, p, "a step", &error);
    }
    return ran;
}

/* ---- Candidates ---- */

static bool is_forced(const tuner *t, int32_t i) {
    const char *kernels = t->network->layers[i].kernels;
    return kernels != NULL && strcmp(kernels, "auto") != 0;
}

static void list_candidates(tuner *t, const lamina__net *net) {
    const lamina_kernel *list[MAX_CANDIDATES];
    for (int32_t i = 0; i < t->n_layers; i++) {
        candidates *c = &t->layers[i];
        *c = (candidates){.settled = c->settled || is_forced(t, i)};
        for (int pass = 0; !c->settled && pass < LAMINA__N_PASSES; pass++) {
            const int32_t n =
                lamina__instance_candidates(net->layers[i].instance, pass, list, MAX_CANDIDATES);
            for (int32_t k = 0; k < n; k++) {
                if ((list[k]->flags & LAMINA_KERNEL_TOGETHER) != 0) {
                    c->together_first = c->together_first || k == 0;
                    c->together_cost[c->n_together] = INFINITY;
                    c->together[c->n_together++] = list[k]->name;
                } else {
                    c->apart_cost[pass][c->n_apart[pass]] = INFINITY;
                    c->apart[pass][c->n_apart[pass]++] = list[k]->name;
                }
            }
        }
    }
}

/* First the kernels that take all passes, one a round, then the others side by side. */
static int32_t rounds_of(const candidates *c) {
    int32_t most = c->n_apart[0];
    for (int pass = 1; c->n_apart[0] > 0 && pass < LAMINA__N_PASSES; pass++) {
        most = c->n_apart[pass] > most ? c->n_apart[pass] : most;
    }
    return c->n_together + most;
}

static int32_t cheapest(const double *cost, int32_t n) {
    int32_t best = 0;
    for (int32_t k = 1; k < n; k++) {
        best = cost[k] < better_kernel * cost[best] ? k : best;
    }
    return best;
}

/* Is candidate k worth a trial: has it had none, or one that was not far behind the best? */
static bool is_open(int32_t k, const double *cost, int32_t n) {
    return k >= 0 && k < n && (isinf(cost[k]) || cost[k] <= hopeless * cost[cheapest(cost, n)]);
}

/* Candidate k, or the best so far. */
static int32_t candidate(int32_t k, const double *cost, int32_t n) {
    return is_open(k, cost, n) ? k : cheapest(cost, n);
}

/* Is a layer's candidate for any pass worth this round? */
static bool is_worth(const candidates *c, int32_t round) {
    bool worth = is_open(round, c->together_cost, c->n_together);
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        worth = worth || is_open(round - c->n_together, c->apart_cost[pass], c->n_apart[pass]);
    }
    return worth;
}

/* The kernels of a layer in a round. */
static choice choice_of(const candidates *c, int32_t round) {
    choice made = {.whole = false};
    if (round < c->n_together || c->n_apart[0] == 0) {
        for (int pass = 0; pass < LAMINA__N_PASSES && c->n_together > 0; pass++) {
            made.kernel[pass] = c->together[candidate(round, c->together_cost, c->n_together)];
        }
        return made;
    }
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        if (c->n_apart[pass] > 0) {
            made.kernel[pass] = c->apart[pass][candidate(round - c->n_together, c->apart_cost[pass],
                                                         c->n_apart[pass])];
        }
    }
    return made;
}

/* Gives a layer other kernels. */
static void take_kernels(const candidates *c, choice *to, choice made) {
    if (!c->settled) {
        memcpy(to->kernel, made.kernel, sizeof made.kernel);
    }
}

/* The round in which a layer has the candidates that build.c would choose. */
static int32_t first_round(const candidates *c) {
    return c->together_first ? 0 : c->n_together;
}

/* Gives layers that are alike the mean of their costs. */
static void share_costs(tuner *t) {
    for (int32_t leader = 0; leader < t->n_layers; leader++) {
        double sum[LAMINA__N_PASSES] = {0};
        int32_t n = 0;
        for (int32_t i = leader; t->like[leader] == leader && i < t->n_layers; i++) {
            for (int pass = 0; t->like[i] == leader && pass < LAMINA__N_PASSES; pass++) {
                sum[pass] += t->cost[i * LAMINA__N_PASSES + pass];
            }
            n += t->like[i] == leader;
        }
        for (int32_t i = leader; n > 1 && i < t->n_layers; i++) {
            for (int pass = 0; t->like[i] == leader && pass < LAMINA__N_PASSES; pass++) {
                t->cost[i * LAMINA__N_PASSES + pass] = sum[pass] / n;
            }
        }
    }
}

static void note_costs(tuner *t, int32_t round) {
    share_costs(t);
    for (int32_t i = 0; i < t->n_layers; i++) {
        candidates *c = &t->layers[i];
        const double *cost = &t->cost[i * LAMINA__N_PASSES];
        if (c->failed) {
            continue;
        }
        if (round < c->n_together) {
            if (is_open(round, c->together_cost, c->n_together)) {
                c->together_cost[round] =
                    fmin(c->together_cost[round], cost[0] + cost[1] + cost[2]);
            }
            continue;
        }
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const int32_t k = round - c->n_together;
            if (is_open(k, c->apart_cost[pass], c->n_apart[pass])) { /* else it had no trial */
                c->apart_cost[pass][k] = fmin(c->apart_cost[pass][k], cost[pass]);
            }
        }
    }
}

static choice best_choice(const candidates *c) {
    const int32_t together = cheapest(c->together_cost, c->n_together);
    double one = c->n_together > 0 ? c->together_cost[together] : INFINITY;
    double apart = c->n_apart[0] > 0 ? 0 : INFINITY;
    choice made = {.whole = false};
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        if (c->n_apart[pass] > 0) {
            const int32_t k = cheapest(c->apart_cost[pass], c->n_apart[pass]);
            made.kernel[pass] = c->apart[pass][k];
            apart += c->apart_cost[pass][k];
        }
    }
    one *= c->together_first ? better_kernel : 1;
    apart *= c->together_first ? 1 : better_kernel;
    const bool tie = one == apart && c->together_first;
    return one < apart || tie || c->n_apart[0] == 0 ? choice_of(c, together) : made;
}

/* ---- Rounds ---- */

static candidates *layer_named(tuner *t, const char *name) {
    for (int32_t i = 0; i < t->n_layers; i++) {
        if (strcmp(t->network->layers[i].name, name) == 0) {
            return &t->layers[i];
        }
    }
    return NULL;
}

/* Runs a round. A layer whose candidates fail takes its first ones instead, and the others go on.
 */
static bool run_round(tuner *t, const plan *cut, int32_t round) {
    plan p = *cut;
    for (int32_t i = 0; i < t->n_layers; i++) {
        t->layers[i].failed = false;
    }
    for (int32_t attempt = 0; attempt <= t->n_layers; attempt++) {
        lamina_error error = {0};
        for (int32_t i = 0; i < t->n_layers; i++) {
            const candidates *c = &t->layers[i];
            take_kernels(c, &p.layers[i], choice_of(c, c->failed ? first_round(c) : round));
        }
        lamina__net *net = build_trial(t, &p, &error);
        const bool ran = net != NULL && run_trial(t, net, true, &p, &error) == LAMINA_OK;
        lamina__net_free(net);
        log_trial(t, &p, "a round", &error);
        candidates *culprit = ran ? NULL : layer_named(t, error.layer);
        if (ran || culprit == NULL || culprit->failed) {
            return ran;
        }
        culprit->failed = true;
    }
    return false;
}

static bool same_parameters(const lamina_layer_type *type, const void *a, const void *b) {
    lamina__text one = {0}, other = {0};
    const lamina__table table = lamina__type_table(type);
    lamina__params_write(table, a, &one);
    lamina__params_write(table, b, &other);
    const bool same = !one.failed && !other.failed && one.length == other.length &&
                      (one.length == 0 || memcmp(one.data, other.data, one.length) == 0);
    lamina__text_free(&one);
    lamina__text_free(&other);
    return same;
}

static bool same_next(const lamina__instance *a, const lamina__instance *b) {
    return a == NULL || b == NULL
               ? a == b
               : a->entry == b->entry && same_parameters(a->type, a->config, b->config);
}

/* The same computation: type, parameters, shapes, what is wanted, and what follows in place. */
static bool are_alike(const lamina__net *net, int32_t a, int32_t b) {
    const lamina__layer *one = &net->layers[a], *other = &net->layers[b];
    const lamina__instance *x = one->instance, *y = other->instance;
    bool same = one->spec->entry == other->spec->entry && x->n_in == y->n_in &&
                one->whole == other->whole && one->backward == other->backward &&
                one->frozen == other->frozen && same_next(x->next, y->next);
    for (int32_t k = 0; same && k < x->n_in; k++) {
        same = memcmp(&x->in[k], &y->in[k], sizeof x->in[k]) == 0 &&
               net->values[one->value_in[k]].needs_gradient ==
                   net->values[other->value_in[k]].needs_gradient;
    }
    return same && same_parameters(x->type, one->spec->config, other->spec->config);
}

/* Of a net of the same network, before any other. */
static bool weigh_layers(tuner *t) {
    lamina__net_options options = *t->options;
    lamina__diags unseen = {0};
    lamina__net *net = NULL;
    options.shapes_only = true;
    const bool made =
        lamina__net_make(t->network, &options, NULL, &net, &unseen, NULL) == LAMINA_OK;
    lamina__diags_free(&unseen);
    for (int32_t i = 0; made && i < t->n_layers; i++) {
        const lamina__instance *instance = net->layers[i].instance;
        double weights = 0;
        for (int32_t k = 0; k < instance->n_weights; k++) {
            weights += (double)instance->weights[k].elements;
        }
        t->heavy[i] = (heaviness){.many = weights >= MANY_WEIGHTS,
                                  .reuse = weights > 0 ? instance->multiply_adds / weights : 0};
        t->like[i] = 0;
        while (t->like[i] < i && !are_alike(net, t->like[i], i)) {
            t->like[i]++;
        }
    }
    if (made) {
        t->momentum = lamina__calloc((size_t)lamina__net_weight_floats(net) + 1, sizeof(float));
    }
    t->slices = made ? lamina__likely_slices(net) : 1;
    lamina__net_free(net);
    return t->momentum != NULL;
}

/* Layers whose calls a cut leaves as they are may be settled: they keep their kernels. */
static void settle_all(tuner *t, bool settled) {
    for (int32_t i = 0; i < t->n_layers; i++) {
        t->layers[i].settled = settled;
    }
}

/* Builds the net of a cut as it would be without measuring, but for what is settled, for its
 * candidates, and has a first round with it. False: it cannot be. */
static bool begin_cut(tuner *t, plan *p) {
    lamina_error error = {0};
    for (int32_t i = 0; i < t->n_layers; i++) {
        take_kernels(&t->layers[i], &p->layers[i], (choice){.whole = false});
    }
    lamina__net *net = build_trial(t, p, &error);
    if (net == NULL) {
        log_trial(t, p, "a cut", &error);
        return false;
    }
    p->shards = net->shards;
    p->slices = net->slices;
    if (!t->told) {
        lamina__log(LAMINA_LOG_INFO, "measuring kernels for this machine (once)...");
        t->told = true;
    }
    list_candidates(t, net);
    const bool ran = run_trial(t, net, false, p, &error) == LAMINA_OK;
    t->deadline = fmin(t->deadline, t->begin + budget_seconds + budget_steps * p->seconds);
    lamina__net_free(net);
    log_trial(t, p, "a cut", &error);
    return ran;
}

/* The best kernels of a cut that has begun, and its time with them. */
static bool choose_kernels(tuner *t, plan *p) {
    int32_t rounds = 1;
    for (int32_t i = 0; i < t->n_layers; i++) {
        const int32_t n = rounds_of(&t->layers[i]);
        rounds = n > rounds ? n : rounds;
    }
    const int32_t trials = p->seconds < short_step ? 2 * rounds : rounds; /* A B C A B C */
    for (int32_t r = 0; rounds > 1 && r < trials && !is_late(t); r++) {
        bool worth = false;
        for (int32_t i = 0; i < t->n_layers; i++) {
            worth = worth || is_worth(&t->layers[i], r % rounds);
        }
        if (worth && run_round(t, p, r % rounds)) {
            note_costs(t, r % rounds);
        }
    }
    for (int32_t i = 0; i < t->n_layers; i++) {
        take_kernels(&t->layers[i], &p->layers[i], best_choice(&t->layers[i]));
    }
    p->in_peace = p->in_peace && rounds == 1; /* that was with other kernels */
    return rounds == 1 || is_late(t) || time_step(t, p);
}

/* ---- Cuts ---- */

static void copy_plan(const tuner *t, plan *to, const plan *from) {
    choice *layers = to->layers;
    memcpy(layers, from->layers, (size_t)t->n_layers * sizeof *layers);
    *to = *from;
    to->layers = layers;
}

/* Is a plan faster than the best so far? Then that one is timed again: what else the machine did
 * may have been all there was to it. */
static bool is_better(tuner *t, const plan *p, plan *best) {
    const int again = best->seconds < short_step ? 2 : 1;
    for (int i = 0; i < again && p->in_peace && p->seconds < better_cut * best->seconds; i++) {
        const plan before = *best;
        const bool ran = time_step(t, best);
        if (!ran || before.in_peace > best->in_peace ||
            (before.in_peace == best->in_peace && before.seconds < best->seconds)) {
            *best = before;
        }
    }
    return p->in_peace && best->in_peace && p->seconds < better_cut * best->seconds;
}

/* Begins a cut some of whose layers are settled; is it better than the best? */
static bool try_begun(tuner *t, plan *other, plan *best) {
    if (is_late(t) || !begin_cut(t, other) || other->seconds > hopeless * best->seconds ||
        !choose_kernels(t, other) || !is_better(t, other, best)) {
        return false;
    }
    copy_plan(t, best, other);
    return true;
}

/* Tries a cut with the best plan's kernels. */
static bool try_cut(tuner *t, plan *other, plan *best, int32_t shards, int32_t slices) {
    copy_plan(t, other, best);
    other->shards = shards;
    other->slices = slices;
    other->by_shard = shards == 1;
    if (!time_step(t, other) || !is_better(t, other, best)) {
        return false;
    }
    copy_plan(t, best, other);
    return true;
}

/* More slices and fewer shards, as long as that pays; then kernels for the new size of a call. */
static void refine_cut(tuner *t, plan *other, plan *best) {
    const int32_t shards = best->shards, slices = best->slices;
    while (try_cut(t, other, best, best->shards, 2 * best->slices)) {
    }
    while (best->shards > 1 && try_cut(t, other, best, best->shards / 2, best->slices)) {
    }
    if (best->shards == shards && best->slices == slices) {
        return;
    }
    copy_plan(t, other, best);
    settle_all(t, false);
    (void)try_begun(t, other, best);
}

/* Calls another layer on the whole batch, and with it what follows it in place: their kernels may
 * do both at once. */
static void make_whole(tuner *t, plan *p, int32_t layer) {
    p->layers[layer].whole = true;
    t->layers[layer].settled = false;
    for (int32_t i = layer + 1; i < t->n_layers; i++) {
        const lamina__layer_spec *spec = &t->network->layers[i];
        if (spec->n_from == 1 && spec->from[0] == layer &&
            (spec->entry->type->flags & LAMINA_IN_PLACE) != 0) {
            p->layers[i].whole = true;
            t->layers[i].settled = false;
        }
    }
}

/* Calls further layers on the whole batch: those with many weights and at most so many
 * multiply-adds for each. False: there are none. */
static bool add_heavy(tuner *t, plan *p, double reuse) {
    bool any = false;
    settle_all(t, true);
    for (int32_t i = 0; i < t->n_layers; i++) {
        if (t->heavy[i].many && t->heavy[i].reuse <= 1.1 * reuse && !p->layers[i].whole) {
            make_whole(t, p, i);
            any = true;
        }
    }
    return any;
}

/* No layer on the whole batch by plan: those that are get kernels for calls by shard. */
static bool try_light(tuner *t, plan *other, plan *best) {
    bool any = false;
    copy_plan(t, other, best);
    for (int32_t i = 0; i < t->n_layers; i++) {
        t->layers[i].settled = !other->layers[i].whole;
        any = any || other->layers[i].whole;
        other->layers[i].whole = false;
    }
    return any && try_begun(t, other, best);
}

/* More layers on the whole batch, as long as that pays. */
static void try_heavy(tuner *t, plan *other, plan *best) {
    bool pays = t->threads > 1 || best->slices > 1;
    for (size_t r = 0; pays && r < sizeof reuses / sizeof reuses[0]; r++) {
        copy_plan(t, other, best);
        pays = !add_heavy(t, other, reuses[r]) || try_begun(t, other, best);
    }
}

/* One shard, whole-batch kernels. */
static void try_whole(tuner *t, plan *other, plan *best) {
    other->shards = other->slices = 1;
    other->by_shard = false;
    settle_all(t, false);
    for (int32_t i = 0; i < t->n_layers; i++) {
        other->layers[i].whole = false;
    }
    (void)try_begun(t, other, best);
}

static bool measure(tuner *t, plan *best, plan *other) {
    best->shards = t->threads < t->options->batch ? t->threads : (int32_t)t->options->batch;
    if (!weigh_layers(t)) {
        return false;
    }
    best->slices = t->slices;
    best->by_shard = best->shards == 1;
    if (t->options->training && t->threads > 1) { /* likely, and for a busy machine the last word */
        (void)add_heavy(t, best, reuses[0]);
    }
    settle_all(t, false);
    if (!begin_cut(t, best) || !choose_kernels(t, best)) {
        return false;
    }
    if (best->in_peace || (time_step(t, best) && best->in_peace)) {
        if (!try_light(t, other, best)) {
            try_heavy(t, other, best);
        }
        refine_cut(t, other, best);
        if (t->threads > 1) {
            try_whole(t, other, best);
        }
    }
    log_trial(t, best, "chosen", &(lamina_error){0});
    return true;
}

/* ---- The whole ---- */

/* Of one sample; 0: it has a label. */
static int64_t target_numbers(const lamina__net_options *options) {
    int64_t numbers = options->target.ndim > 0 ? 1 : 0;
    for (int32_t i = 1; i < options->target.ndim; i++) {
        numbers *= options->target.dim[i];
    }
    return numbers;
}

static bool allocate(tuner *t, plan *best, plan *other) {
    const lamina__net_options *options = t->options;
    const size_t n = (size_t)t->n_layers;
    const int64_t pixels = options->batch * options->channels * options->height * options->width;
    t->images = lamina__calloc((size_t)pixels, sizeof *t->images);
    t->labels = lamina__calloc((size_t)options->batch, sizeof *t->labels);
    t->numbers =
        lamina__calloc((size_t)(options->batch * target_numbers(options)) + 1, sizeof *t->numbers);
    t->record = lamina__calloc(n, sizeof *t->record);
    t->layers = lamina__calloc(n, sizeof *t->layers);
    t->heavy = lamina__calloc(n, sizeof *t->heavy);
    t->like = lamina__calloc(n, sizeof *t->like);
    t->least = lamina__calloc(n * LAMINA__N_PASSES * (size_t)t->threads, sizeof *t->least);
    t->cost = lamina__calloc(n * LAMINA__N_PASSES, sizeof *t->cost);
    best->layers = lamina__calloc(n, sizeof *best->layers);
    other->layers = lamina__calloc(n, sizeof *other->layers);
    if (t->images == NULL || t->labels == NULL || t->numbers == NULL || t->record == NULL ||
        t->layers == NULL || t->heavy == NULL || t->like == NULL || t->least == NULL ||
        t->cost == NULL || best->layers == NULL || other->layers == NULL) {
        return false;
    }
    const lamina__stream stream = lamina__stream_make(1, LAMINA__RANDOM_INIT, 0, 0);
    lamina__stream_uniform(stream, 0, t->images, (size_t)pixels);
    for (int64_t i = 0, size = target_numbers(options); i < options->batch * size; i++) {
        t->numbers[i] = 1 / (float)size; /* which may also be probabilities */
    }
    t->batch = (lamina__batch){
        .images = t->images, .labels = t->labels, .numbers = t->numbers, .samples = options->batch};
    return true;
}

/* Names of its own. */
static bool write_record(const tuner *t, const plan *p, lamina__plan_record *record) {
    bool copied = true;
    *record = (lamina__plan_record){
        .shards = p->shards, .slices = p->slices, .by_shard = p->by_shard && p->shards == 1};
    record->kernels = lamina__calloc((size_t)t->n_layers, sizeof *record->kernels);
    if (record->kernels == NULL) {
        return false;
    }
    record->count = (size_t)t->n_layers;
    for (int32_t i = 0; i < t->n_layers; i++) {
        lamina__recorded_kernel *to = &record->kernels[i];
        to->layer = lamina__strdup(t->network->layers[i].name);
        to->whole = p->layers[i].whole;
        copied = copied && to->layer != NULL;
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const char *name = p->layers[i].kernel[pass];
            to->kernel[pass] = name != NULL ? lamina__strdup(name) : NULL;
            copied = copied && (name == NULL || to->kernel[pass] != NULL);
        }
    }
    if (!copied) {
        lamina__plan_record_free(record);
    }
    return copied;
}

static bool measure_plan(const lamina__network *network, const lamina__net_options *options,
                         lamina__plan_record *record) {
    const int threads = options->threads > 0 ? options->threads : lamina__default_threads();
    tuner t = {.network = network,
               .options = options,
               .n_layers = (int32_t)network->count,
               .threads = threads,
               .begin = lamina__seconds(),
               .patience = patience_seconds};
    t.deadline = t.begin + most_budget_seconds;
    plan best = {0}, other = {0};
    const bool measured = allocate(&t, &best, &other) && measure(&t, &best, &other) &&
                          !lamina__net_is_stopped(options) && write_record(&t, &best, record);
    lamina__free(t.images);
    lamina__free(t.labels);
    lamina__free(t.numbers);
    lamina__free(t.momentum);
    lamina__free(t.record);
    lamina__free(t.layers);
    lamina__free(t.heavy);
    lamina__free(t.like);
    lamina__free(t.least);
    lamina__free(t.cost);
    lamina__free(best.layers);
    lamina__free(other.layers);
    return measured;
}

bool lamina__tune(const lamina__network *network, const lamina__net_options *options,
                  lamina__plan_record *record) {
    lamina__text key = {0};
    bool found = false;
    *record = (lamina__plan_record){0};
    const bool forced = options->kernels != NULL && strcmp(options->kernels, "auto") != 0;
    if ((options->cache == NULL && !options->measure) || forced || options->shards > 0 ||
        options->slices > 0) {
        return false;
    }
    lamina__plan_key(network, options, &key);
    if (options->cache != NULL && !key.failed) {
        const int threads = options->threads > 0 ? options->threads : lamina__default_threads();
        found = lamina__plan_cache_read(options->cache, key.data, network, threads, record);
    }
    if (!found && options->measure) {
        found = measure_plan(network, options, record);
        if (found && options->cache != NULL && !key.failed) {
            lamina__plan_cache_write(options->cache, key.data, record);
        }
    }
    lamina__text_free(&key);
    return found;
}
