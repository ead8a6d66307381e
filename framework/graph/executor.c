/* Running a net: one training step or one evaluation.
 *
 * A step: weights are repacked for the kernels; each unit's shards go forward and then backward,
 * and between two units the sums of a layer called in stages are joined; the shards' gradients are
 * summed in a fixed tree order, a cache-sized piece at a time, and each piece updates its weights
 * while it is still in cache. The sum's order depends on the number of shards only, so a result
 * does not depend on which thread did what. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/seconds.h"
#include "base/threads.h"
#include "graph/net_impl.h"
#include "graph/reduce.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- The clock, when there is one ---- */

static double begin_time(const lamina__net *net) {
    return net->clock != NULL ? lamina__seconds() : 0;
}

static void mark(lamina__net *net, int32_t thread) {
    if (net->clock != NULL) {
        lamina__clock_mark(net->clock, thread);
    }
}

static void lap(lamina__net *net, int32_t thread, int32_t counter) {
    if (net->clock != NULL) {
        lamina__clock_lap(net->clock, thread, counter);
    }
}

static void lap_all(lamina__net *net, int32_t counter) {
    if (net->clock != NULL) {
        lamina__clock_lap_all(net->clock, counter);
    }
}

/* A layer on the whole batch has all the threads. */
static void lap_pass(lamina__net *net, int32_t thread, int32_t i, int pass) {
    if (net->layers[i].whole) {
        lap_all(net, lamina__clock_pass(i, pass));
    } else {
        lap(net, thread, lamina__clock_pass(i, pass));
    }
}

static void step_end(lamina__net *net, double begin) {
    if (net->clock != NULL) {
        lamina__clock_step_end(net->clock, begin);
    }
}

static void run_region(lamina__net *net, int threads, lamina__thread_fn *fn, void *arg) {
    const double begin = begin_time(net);
    (net->openmp ? lamina__parallel_openmp : lamina__parallel)(threads, fn, arg);
    if (net->clock != NULL) {
        lamina__clock_region_end(net->clock, begin);
    }
}

/* ---- One layer, one lane ---- */

static void add_into(const lamina_tensor *to, const lamina_tensor *from) {
    float *restrict a = to->data;
    const float *restrict b = from->data;
    const int64_t count = lamina__shape_count(&to->shape);
    for (int64_t i = 0; i < count; i++) {
        a[i] += b[i];
    }
}

/* Largest of what the label loss is given of each sample: the first of equals; -1 when one is not a
 * number. */
static void predict(lamina__net *net, const lamina_io *io) {
    const lamina_tensor *scores = io->in[0];
    const int64_t classes = lamina__net_classes(net);
    for (int64_t n = 0; n < io->samples; n++) {
        const float *row = (const float *)scores->data + n * classes;
        int32_t best = 0;
        bool good = true;
        for (int64_t c = 0; c < classes; c++) {
            good = good && row[c] == row[c];
            if (row[c] > row[best]) {
                best = (int32_t)c;
            }
        }
        net->predictions[io->first_sample + n] = good ? best : -1;
    }
}

/* Is a layer left out of the call that was set? */
static bool is_skipped(const lamina__net *net, int32_t i) {
    return net->layers[i].eval_only && net->phase == LAMINA_TRAIN;
}

/* Which half of layer i is in the unit, where it is called in stages. */
static int32_t stage_of(const lamina__net *net, const lamina__unit *unit, int32_t i,
                        bool is_forward) {
    if (!net->layers[i].staged) {
        return LAMINA_STAGE_ALL;
    }
    const bool is_second = i == unit->begin && unit->applies;
    return is_second == is_forward ? LAMINA_STAGE_APPLY : LAMINA_STAGE_SUM;
}

static lamina_status forward_lane(lamina__net *net, const lamina__unit *unit, int32_t i,
                                  int32_t l) {
    lamina__layer *layer = &net->layers[i];
    lamina__lane *lane = &layer->lanes[l];
    if (layer->fused || is_skipped(net, i)) {
        return LAMINA_OK;
    }
    lane->io.stage = stage_of(net, unit, i, true);
    lane->io.calls = lamina__unit_calls(net, unit);
    const lamina_status status = lamina__instance_forward(layer->instance, &lane->call, &lane->io);
    if (status == LAMINA_OK && i == net->label_loss) {
        predict(net, &lane->io);
    }
    return status;
}

static void add_apart(lamina__net *net, const lamina__layer *layer, int32_t l) {
    const int32_t view = layer->whole ? net->pieces - 1 : l;
    for (int32_t k = 0; k < layer->instance->n_in; k++) {
        if (layer->d_in_apart[k].store >= 0) {
            add_into(&net->values[layer->value_in[k]].gradient.view[view],
                     &layer->d_in_apart[k].view[view]);
        }
    }
}

/* A stage of a pass, or all of it. */
static lamina_status backward_pass(lamina__net *net, int32_t i, int32_t l, int pass) {
    lamina__layer *layer = &net->layers[i];
    lamina__lane *lane = &layer->lanes[l];
    const lamina_status status =
        lamina__instance_pass(layer->instance, &lane->call, pass, &lane->io);
    const bool writes = lane->io.stage == LAMINA_STAGE_ALL || lane->io.stage == LAMINA_STAGE_APPLY;
    if (status == LAMINA_OK && pass == 1 && writes) {
        add_apart(net, layer, l);
    }
    return status;
}

/* The pass that does both of a layer called in stages; 0: there is nothing to do. */
static int staged_pass(const lamina__layer *layer, const lamina_io *io) {
    if (lamina__instance_has_pass(layer->instance, 1, io)) {
        return 1;
    }
    return lamina__instance_has_pass(layer->instance, 2, io) ? 2 : 0;
}

/* d_in may be d_out's memory, so backward_data, which writes it, comes last. */
static lamina_status backward_lane(lamina__net *net, const lamina__unit *unit, int32_t i, int32_t l,
                                   int32_t thread) {
    lamina__layer *layer = &net->layers[i];
    lamina_io *io = &layer->lanes[l].io;
    lamina_status status = LAMINA_OK;
    if (layer->fused_backward) {
        return LAMINA_OK;
    }
    io->stage = stage_of(net, unit, i, false);
    io->calls = lamina__unit_calls(net, unit);
    const int only = layer->staged ? staged_pass(layer, io) : 0;
    for (int pass = LAMINA__N_PASSES - 1; status == LAMINA_OK && pass > 0; pass--) {
        if (layer->staged ? pass == only : lamina__instance_has_pass(layer->instance, pass, io)) {
            status = backward_pass(net, i, l, pass);
            lap_pass(net, thread, i, pass);
        }
    }
    return status;
}

/* ---- Units ---- */

typedef struct unit_work {
    lamina__net *net;
    const lamina__unit *unit;
    bool forward, backward;
    const lamina__again *again; /* these layers of the unit go forward a second time; NULL: none */
    int32_t n_again;
} unit_work;

static void fail_lane(lamina__net *net) {
    __atomic_store_n(&net->failed, 1, __ATOMIC_RELAXED);
}

/* The first unit makes the images it is given; a whole-batch one with all threads. */
static void fill(lamina__net *net, int64_t begin, int64_t end, int32_t thread) {
    lamina__batch_fill(net->batch, begin, end);
    lap(net, thread, LAMINA__CLOCK_INPUT);
}

static void fill_thread(void *arg, int thread, int threads) {
    lamina__net *net = arg;
    const int64_t samples = net->batch->samples;
    mark(net, thread);
    fill(net, lamina__part_begin(samples, thread, threads),
         lamina__part_begin(samples, thread + 1, threads), thread);
}

static lamina_status run_forward(const unit_work *work, int32_t l, int32_t thread) {
    lamina__net *net = work->net;
    const lamina__unit *unit = work->unit;
    lamina_status status = LAMINA_OK;
    for (int32_t i = unit->begin; status == LAMINA_OK && i < unit->end; i++) {
        if (!is_skipped(net, i)) {
            status = forward_lane(net, unit, i, l);
            lap_pass(net, thread, i, 0);
        }
    }
    return status;
}

/* Repeats the forward pass of a layer. */
static lamina_status repeat_lane(const unit_work *work, int32_t i, int32_t l, int32_t thread) {
    lamina__net *net = work->net;
    lamina_io *io = &net->layers[i].lanes[l].io;
    io->again = 1;
    const lamina_status status = forward_lane(net, work->unit, i, l);
    io->again = 0;
    lap_pass(net, thread, i, 0);
    return status;
}

/* What the unit did not keep from its forward phase. */
static lamina_status repeat(const unit_work *work, int32_t l, int32_t thread) {
    const lamina__unit *unit = work->unit;
    lamina_status status = LAMINA_OK;
    for (int32_t i = unit->begin; status == LAMINA_OK && i < unit->end; i++) {
        if (work->net->layers[i].repeats) {
            status = repeat_lane(work, i, l, thread);
        }
    }
    return status;
}

static lamina_status repeat_listed(const unit_work *work, int32_t l, int32_t thread) {
    lamina_status status = LAMINA_OK;
    for (int32_t n = 0; status == LAMINA_OK && n < work->n_again; n++) {
        status = repeat_lane(work, work->again[n].layer, l, thread);
    }
    return status;
}

static lamina_status run_backward(const unit_work *work, int32_t l, int32_t thread) {
    lamina__net *net = work->net;
    const lamina__unit *unit = work->unit;
    lamina_status status = work->forward ? LAMINA_OK : repeat(work, l, thread);
    for (int32_t i = unit->end - 1; status == LAMINA_OK && i >= unit->begin; i--) {
        if (net->layers[i].backward) {
            status = backward_lane(net, unit, i, l, thread);
        }
    }
    return status;
}

static void run_lane(const unit_work *work, int32_t l, int32_t thread) {
    lamina__net *net = work->net;
    const lamina__unit *unit = work->unit;
    const lamina_io *first = &net->layers[unit->begin].lanes[l].io;
    if (first->samples == 0) {
        return; /* fewer samples than parts */
    }
    if (work->forward && unit->begin == 0 && !unit->applies && !unit->whole) {
        fill(net, first->first_sample, first->first_sample + first->samples, thread);
    }
    lamina_status status = work->forward ? run_forward(work, l, thread) : LAMINA_OK;
    if (work->again != NULL) {
        status = repeat_listed(work, l, thread);
    }
    if (status == LAMINA_OK && work->backward) {
        status = run_backward(work, l, thread);
    }
    if (status != LAMINA_OK) {
        fail_lane(net);
    }
}

static void unit_thread(void *arg, int thread, int threads) {
    const unit_work *work = arg;
    mark(work->net, thread);
    for (int32_t s = thread; s < work->net->shards; s += threads) {
        const lamina__lanes lanes = lamina__unit_lanes(work->net, work->unit, s);
        for (int32_t l = lanes.begin; l < lanes.end; l++) {
            run_lane(work, l, thread);
        }
    }
}

/* Threads that take shards: no more than there are of either. */
static int region_threads(const lamina__net *net) {
    return net->threads < net->shards ? net->threads : net->shards;
}

/* By all threads, or, on the whole batch, in one call. */
static void run_work(unit_work *work) {
    if (work->unit->whole) {
        mark(work->net, 0);
        run_lane(work, 0, 0);
    } else {
        run_region(work->net, region_threads(work->net), unit_thread, work);
    }
}

/* Between two runs: the sums of a layer called in stages, of all the calls in a unit. */
static void join(lamina__net *net, const lamina__unit *unit, int32_t i, bool is_forward) {
    lamina__layer *layer = &net->layers[i];
    lamina__lane *lane = &layer->lanes[net->pieces - 1];
    const int pass = is_forward ? 0 : staged_pass(layer, &lane->io);
    if (net->failed || is_skipped(net, i) || (!is_forward && (!layer->backward || pass == 0))) {
        return;
    }
    mark(net, 0);
    lane->io.stage = LAMINA_STAGE_JOIN;
    lane->io.calls = lamina__unit_calls(net, unit);
    if (lamina__instance_pass(layer->instance, &lane->call, pass, &lane->io) != LAMINA_OK) {
        fail_lane(net);
    }
    lap_all(net, lamina__clock_pass(i, pass));
}

static void run_unit(lamina__net *net, int32_t u, bool forward, bool backward) {
    unit_work work = {.net = net, .unit = &net->units[u], .forward = forward, .backward = backward};
    const bool idle = work.unit->eval_only && net->phase == LAMINA_TRAIN;
    if (net->failed || (idle && u > 0)) { /* the first one makes the images */
        return;
    }
    if (work.unit->whole && forward && u == 0 && net->batch->pixels != NULL) {
        run_region(net, net->threads, fill_thread, net);
    }
    run_work(&work);
    if (forward && work.unit->sums) {
        join(net, work.unit, work.unit->end - 1, true);
    }
    if (backward && work.unit->applies) {
        join(net, work.unit, work.unit->begin, false);
    }
}

/* Makes again, from entry n of the list on, what the backward phase of unit u needs; returns the
 * first entry of another unit. Layers of one unit in one run, as they may hand each other what is
 * local. */
static int32_t run_again(lamina__net *net, int32_t n, int32_t u) {
    while (n < net->n_again && net->again[n].unit == u && !net->failed) {
        const int32_t of = net->layers[net->again[n].layer].last_unit;
        unit_work work = {.net = net, .unit = &net->units[of], .again = &net->again[n]};
        for (; n < net->n_again && net->again[n].unit == u &&
               net->layers[net->again[n].layer].last_unit == of;
             n++) {
            lamina__net_bind_again(net, net->again[n].layer, true);
            work.n_again++;
        }
        run_work(&work);
    }
    return n;
}

/* What was made again is where the forward phase has it. */
static void begin_forward(lamina__net *net) {
    for (int32_t n = 0; n < net->n_again; n++) {
        lamina__net_bind_again(net, net->again[n].layer, false);
    }
}

/* The first lane that failed, in the order of the layers. */
static lamina_status collect_failure(lamina__net *net, lamina_error *error) {
    net->failed = 0;
    for (int32_t i = 0; i < net->n_layers; i++) {
        for (int32_t l = 0; l < net->layers[i].n_lanes; l++) {
            lamina_error *lane = &net->layers[i].lanes[l].error;
            if (lane->code == LAMINA_OK) {
                continue;
            }
            const lamina_status status = (lamina_status)lane->code;
            if (error != NULL) {
                *error = *lane;
            }
            for (; i < net->n_layers; i++) {
                for (l = 0; l < net->layers[i].n_lanes; l++) {
                    net->layers[i].lanes[l].error = (lamina_error){0};
                }
            }
            return status;
        }
    }
    return lamina__fail(error, LAMINA_ERROR_INTERNAL, "a layer failed without saying why");
}

/* ---- Repacking ---- */

/* Whole-batch layers, whose kernels may use all threads, outside any region; the others by all
 * threads, each with the scratch of a shard of its own: a part of each layer whose kernel can share
 * the work, other layers in turn. */
static void prepare_layer(lamina__net *net, int32_t i, int32_t l, bool theirs) {
    lamina__lane *lane = &net->layers[i].lanes[l];
    if (lamina__instance_prepare_part(net->layers[i].instance, &lane->call, &lane->io, theirs) !=
        LAMINA_OK) {
        fail_lane(net);
    }
}

static bool needs_prepare(const lamina__net *net, const lamina__layer *layer) {
    return lamina__instance_has_prepare(layer->instance) && !(layer->frozen && net->frozen_fresh);
}

static void prepare_thread(void *arg, int thread, int threads) {
    lamina__net *net = arg;
    int32_t turn = 0;
    mark(net, thread);
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        if (layer->whole || !needs_prepare(net, layer)) {
            continue;
        }
        lamina_io *io = &layer->lanes[thread * net->slices].io;
        io->part = thread;
        io->parts = threads;
        prepare_layer(net, i, thread * net->slices, turn++ % threads == thread);
        io->part = 0;
        io->parts = 1;
    }
    lap(net, thread, LAMINA__CLOCK_PREPARE);
}

static void prepare(lamina__net *net) {
    if (net->packed_fresh) {
        return;
    }
    bool by_shard = false;
    mark(net, 0);
    for (int32_t i = 0; i < net->n_layers; i++) {
        if (!needs_prepare(net, &net->layers[i])) {
            continue;
        }
        if (net->layers[i].whole) {
            prepare_layer(net, i, 0, true);
        } else {
            by_shard = true;
        }
    }
    lap_all(net, LAMINA__CLOCK_PREPARE);
    if (by_shard) {
        run_region(net, region_threads(net), prepare_thread, net);
    }
    net->packed_fresh = net->frozen_fresh = !net->failed;
}

void lamina__net_weights_changed(lamina__net *net) {
    net->packed_fresh = net->frozen_fresh = false;
}

/* ---- Forward ---- */

/* A frozen layer with running state is called as in evaluation, so that the state stays. */
static void set_call(lamina__net *net, int32_t step_phase, int64_t step) {
    net->phase = step_phase;
    for (int32_t i = 0; i < net->n_layers; i++) {
        const bool still = net->layers[i].frozen && net->layers[i].instance->n_states > 0;
        const int32_t phase = still ? LAMINA_EVAL : step_phase;
        for (int32_t l = 0; l < net->layers[i].n_lanes; l++) {
            lamina__lane *lane = &net->layers[i].lanes[l];
            lane->io.phase = phase;
            lane->io.step = step;
            lane->call.step = step;
            lane->weight_sum = (double)net->bound_samples;
        }
    }
}

static const float *output_of(const lamina__net *net, int32_t layer) {
    return net->values[net->layers[layer].value_out[0]].data.view[net->pieces - 1].data;
}

static void count_labels(const lamina__net *net, lamina__result *result) {
    for (int64_t n = 0; net->label_loss >= 0 && n < net->bound_samples; n++) {
        const int32_t label = net->batch->labels[n];
        if (lamina__net_counts_label(net, label)) {
            result->labelled++;
            result->correct += net->predictions[n] == label;
        }
    }
}

/* The first lane of a shard that a unit was called with: shards, or slices, may have no samples. */
static int32_t first_lane(const lamina__net *net, const lamina__unit *unit) {
    const lamina__lane *lanes = net->layers[unit->begin].lanes;
    int32_t shard = 0;
    lamina__lanes of = lamina__unit_lanes(net, unit, shard);
    while (lanes[of.begin].io.samples == 0 && !unit->whole) {
        if (++of.begin == of.end) {
            of = lamina__unit_lanes(net, unit, ++shard);
        }
    }
    return of.begin;
}

/* What the batch counts in a loss: as a call of it said. */
static double weight_of(const lamina__net *net, int32_t loss) {
    const lamina__layer *layer = &net->layers[net->losses[loss].layer];
    return layer->lanes[first_lane(net, &net->units[layer->last_unit])].weight_sum;
}

static bool is_weight(double sum) {
    return sum >= 0 && isfinite(sum);
}

static bool sum_losses(const lamina__net *net, lamina__result *result) {
    bool finite = true;
    *result = (lamina__result){.samples = net->bound_samples};
    for (int32_t l = 0; l < net->n_losses; l++) {
        const float *losses = output_of(net, net->losses[l].layer);
        const double samples = (double)net->bound_samples, weight = weight_of(net, l);
        double sum = 0;
        for (int64_t n = 0; n < net->bound_samples; n++) {
            sum += losses[n];
        }
        result->losses[l] = weight == samples ? sum : sum / samples * weight;
        result->weights[l] = weight;
        result->loss_sum += net->losses[l].weight * result->losses[l];
        finite = finite && isfinite(result->losses[l]) && is_weight(weight);
    }
    count_labels(net, result);
    return finite && isfinite(result->loss_sum);
}

/* After an evaluation. */
static void sum_metrics(const lamina__net *net, lamina__result *result) {
    for (int32_t m = 0; m < net->n_metrics; m++) {
        const lamina__layer *layer = &net->layers[net->metrics[m]];
        const lamina__instance *instance = layer->instance;
        const bool ignores = lamina__takes_labels(layer) && instance->ignores_label;
        const float *values = output_of(net, net->metrics[m]);
        for (int64_t n = 0; n < net->bound_samples; n++) {
            if (!ignores || net->batch->labels[n] != instance->ignored_label) {
                result->metrics[m] += values[n];
                result->measured[m]++;
            }
        }
    }
}

/* ---- Numeric failure: cold ---- */

/* Index of the first element that is not finite, -1: none. Views are dense over their samples. */
static int64_t first_bad(const lamina_tensor *tensor) {
    const int64_t count = lamina__shape_count(&tensor->shape);
    const float *data = tensor->data;
    for (int64_t i = 0; tensor->shape.dtype == LAMINA_F32 && i < count; i++) {
        if (!isfinite(data[i])) {
            return i;
        }
    }
    return -1;
}

/* LAMINA_ERROR_NUMERIC, with the layer's name beside the message. */
LAMINA_PRINTF(3, 4)
static lamina_status not_finite(lamina_error *error, const char *layer, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    lamina__fail_va(error, LAMINA_ERROR_NUMERIC, fmt, args);
    va_end(args);
    if (error != NULL) {
        snprintf(error->layer, sizeof error->layer, "%s", layer);
    }
    return LAMINA_ERROR_NUMERIC;
}

static lamina_status name_weight(const lamina__net *net, const char *where, lamina_error *error) {
    for (int32_t w = 0; w < net->n_weights; w++) {
        for (int64_t i = 0; i < net->weights[w].elements; i++) {
            if (!isfinite(net->weights[w].data[i])) {
                return not_finite(error, net->weights[w].layer,
                                  "%s: layer \"%s\": weight \"%s\" is not finite (%g); a smaller "
                                  "learning rate may help",
                                  where, net->weights[w].layer, net->weights[w].weight->name,
                                  (double)net->weights[w].data[i]);
            }
        }
    }
    return LAMINA_OK;
}

static lamina_status name_output(const lamina__net *net, int32_t i, int32_t l, const char *where,
                                 lamina_error *error) {
    const lamina__layer *layer = &net->layers[i];
    const lamina__lane *lane = &layer->lanes[l];
    for (int32_t k = 0; k < layer->instance->n_out; k++) {
        const lamina_tensor *out = lane->io.out[k];
        const int64_t at = first_bad(out);
        if (at < 0) {
            continue;
        }
        const int64_t size = lamina__shape_count(&out->shape) / out->shape.dim[0];
        return not_finite(error, layer->instance->name,
                          "%s: layer \"%s\" (%s): its output is not finite (%g for sample %lld of "
                          "the batch); a smaller learning rate may help",
                          where, layer->instance->name, layer->instance->type->name,
                          (double)((const float *)out->data)[at],
                          (long long)(lane->io.first_sample + at / size));
    }
    return LAMINA_OK;
}

/* Takes one lane through a unit, up to layer `end`; returns the layer whose output is not finite
 * and names it in error, or `end`. */
static int32_t name_in_lane(lamina__net *net, const lamina__unit *unit, int32_t l, int32_t end,
                            const char *where, lamina_status *status, lamina_error *error) {
    for (int32_t i = unit->begin; i < end; i++) {
        if (forward_lane(net, unit, i, l) != LAMINA_OK) {
            *status = collect_failure(net, error);
            return i;
        }
        const bool no_output =
            is_skipped(net, i) || stage_of(net, unit, i, true) == LAMINA_STAGE_SUM;
        const lamina_status named = no_output ? LAMINA_OK : name_output(net, i, l, where, error);
        if (named != LAMINA_OK) {
            *status = named;
            return i;
        }
    }
    return end;
}

/* No number on the way is to blame, as each is finite: their sum is too large, or a weight. */
static lamina_status name_loss(const lamina__net *net, const char *where, lamina_error *error) {
    int32_t i = net->losses[0].layer;
    for (int32_t l = net->n_losses - 1; l >= 0; l--) {
        double sum = 0;
        for (int64_t n = 0; n < net->bound_samples; n++) {
            sum += net->losses[l].weight * output_of(net, net->losses[l].layer)[n];
        }
        i = isfinite(sum) ? i : net->losses[l].layer;
        if (!is_weight(weight_of(net, l))) {
            const lamina__instance *loss = net->layers[net->losses[l].layer].instance;
            return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                "%s: layer \"%s\" (%s): the weights of its samples add up to %g, "
                                "not to 0 or a positive number",
                                where, loss->name, loss->type->name, weight_of(net, l));
        }
    }
    const lamina__instance *loss = net->layers[i].instance;
    return not_finite(error, loss->name, "%s: the loss of layer \"%s\" (%s) is not finite", where,
                      loss->name, loss->type->name);
}

/* The loss is not finite: goes forward again, to find the first layer where that begins. The
 * weights are still those that led to it. Slices share memory, so each goes through its unit by
 * itself. */
static lamina_status name_culprit(lamina__net *net, const char *where, lamina_error *error) {
    lamina_status status = name_weight(net, where, error);
    begin_forward(net);
    for (int32_t u = 0; status == LAMINA_OK && u < net->n_units; u++) {
        const lamina__unit *unit = &net->units[u];
        const lamina__layer *layer = &net->layers[unit->begin];
        int32_t first = unit->end;
        for (int32_t s = 0; s < (unit->whole ? 1 : net->shards); s++) {
            const lamina__lanes lanes = lamina__unit_lanes(net, unit, s);
            for (int32_t l = lanes.begin; l < lanes.end; l++) {
                if (layer->lanes[l].io.samples > 0) {
                    first = name_in_lane(net, unit, l, first, where, &status, error);
                }
            }
        }
        if (status == LAMINA_OK && unit->sums) {
            join(net, unit, unit->end - 1, true);
        }
    }
    if (status == LAMINA_OK) {
        status = name_loss(net, where, error);
    }
    return status;
}

/* ---- Gradients and update ---- */

typedef struct update_work {
    lamina__net *net;
    lamina__update_fn *update;
    void *arg;
} update_work;

static void update_range(const update_work *work, int thread, int32_t w, int64_t begin,
                         int64_t end) {
    lamina__net *net = work->net;
    const lamina__net_gradient *from = &net->gradients[w];
    float *block = net->gradient_block + from->offset;
    float gradient[LAMINA__PIECE];
    for (int64_t at = begin; at < end; at += LAMINA__PIECE) {
        const int64_t count = end - at < LAMINA__PIECE ? end - at : LAMINA__PIECE;
        if (!lamina__take_gradients(block + (at - net->weights[w].offset), from->apart,
                                    from->copies, count, gradient)) {
            net->not_finite[thread].gradient = w;
            continue;
        }
        work->update(work->arg, w, at, at + count, gradient);
        if (!lamina__all_finite(net->weight_block + at, count)) {
            net->not_finite[thread].weight = w;
        }
    }
}

static void update_thread(void *arg, int thread, int threads) {
    const update_work *work = arg;
    lamina__net *net = work->net;
    /* Boundaries fall on 64 bytes, so that threads do not share cache lines. */
    const int64_t lines = net->weight_floats / 16;
    mark(net, thread);
    const int64_t begin = lines * thread / threads * 16, end = lines * (thread + 1) / threads * 16;
    for (int32_t w = 0; w < net->n_weights; w++) {
        const int64_t from = net->weights[w].offset, to = from + net->weights[w].elements;
        if (net->gradients[w].copies == 0) {
            continue; /* frozen */
        }
        update_range(work, thread, w, from > begin ? from : begin, to < end ? to : end);
    }
    lap(net, thread, LAMINA__CLOCK_UPDATE);
}

/* Of all weights with a gradient that is not finite the last is named: backward came there first.
 */
static lamina_status check_update(const lamina__net *net, const char *where, lamina_error *error) {
    int32_t gradient = -1, weight = -1;
    for (int32_t t = 0; t < net->threads; t++) {
        const lamina__not_finite *found = &net->not_finite[t];
        gradient = found->gradient > gradient ? found->gradient : gradient;
        weight = found->weight > weight ? found->weight : weight;
    }
    if (gradient < 0 && weight < 0) {
        return LAMINA_OK;
    }
    const lamina__net_weight *w = &net->weights[gradient >= 0 ? gradient : weight];
    return not_finite(error, w->layer,
                      "%s: layer \"%s\": %s weight \"%s\" is not finite; a smaller learning rate "
                      "may help",
                      where, w->layer, gradient >= 0 ? "the gradient of" : "the updated",
                      w->weight->name);
}

/* ---- Public ---- */

static void discard_gradients(lamina__net *net) {
    memset(net->gradient_block, 0, (size_t)net->gradient_floats * sizeof(float));
}

static lamina_status train_step(lamina__net *net, const lamina__batch *batch, int64_t step,
                                update_work *work, lamina__result *result, lamina_error *error) {
    char where[32];
    snprintf(where, sizeof where, "step %lld", (long long)step + 1);
    lamina__net_bind_batch(net, batch);
    set_call(net, LAMINA_TRAIN, step);
    begin_forward(net);
    prepare(net);
    const int32_t last = net->n_units - 1;
    const bool turn = !net->units[last].whole; /* forward and backward in one region */
    for (int32_t u = 0; u < last; u++) {
        run_unit(net, u, true, false);
    }
    run_unit(net, last, true, turn);
    int32_t again = 0;
    for (int32_t u = turn ? last - 1 : last; u >= 0; u--) {
        again = run_again(net, again, u);
        run_unit(net, u, false, true);
    }
    if (net->failed) {
        discard_gradients(net);
        return collect_failure(net, error);
    }
    if (!sum_losses(net, result)) {
        discard_gradients(net);
        return name_culprit(net, where, error);
    }
    for (int32_t t = 0; t < net->threads; t++) {
        net->not_finite[t] = (lamina__not_finite){-1, -1};
    }
    run_region(net, net->threads, update_thread, work);
    net->packed_fresh = false;
    return check_update(net, where, error);
}

lamina_status lamina__net_train_step(lamina__net *net, const lamina__batch *batch, int64_t step,
                                     lamina__update_fn *update, void *arg, lamina__result *result,
                                     lamina_error *error) {
    update_work work = {net, update, arg};
    const double begin = begin_time(net);
    const unsigned mode = lamina__flush_denormals();
    const lamina_status status = train_step(net, batch, step, &work, result, error);
    lamina__restore_denormals(mode);
    if (status == LAMINA_OK) {
        step_end(net, begin);
    }
    return status;
}

static lamina_status evaluate(lamina__net *net, const lamina__batch *batch, lamina__result *result,
                              lamina_error *error) {
    lamina__net_bind_batch(net, batch);
    set_call(net, LAMINA_EVAL, 0);
    begin_forward(net);
    prepare(net);
    for (int32_t u = 0; u < net->n_units; u++) {
        run_unit(net, u, true, false);
    }
    if (net->failed) {
        return collect_failure(net, error);
    }
    if (!sum_losses(net, result)) {
        return name_culprit(net, "evaluation", error);
    }
    sum_metrics(net, result);
    return LAMINA_OK;
}

lamina_status lamina__net_evaluate(lamina__net *net, const lamina__batch *batch,
                                   lamina__result *result, lamina_error *error) {
    const double begin = begin_time(net);
    const unsigned mode = lamina__flush_denormals();
    const lamina_status status = evaluate(net, batch, result, error);
    lamina__restore_denormals(mode);
    if (status == LAMINA_OK) {
        step_end(net, begin);
    }
    return status;
}
