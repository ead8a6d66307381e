/* Three stretches of steps: to get warm, without the clock, and with it. The first two tell how
 * fast it really is, the last one where the time goes. */
#include "train/profile.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/peak.h"
#include "base/seconds.h"

#include <stdlib.h>

#define WARM_SECONDS    0.3
#define MEASURE_SECONDS 1.0

enum { WARM_STEPS = 3, LEAST_STEPS = 10, MOST_STEPS = 100000 };

typedef struct stretch {
    const lamina__experiment *experiment;
    lamina__net *net;
    lamina__loader *loader;
    lamina__optimizer *optimizer; /* NULL: evaluate */
    int64_t batch;                /* samples of a full one */
    const lamina__batch *kept;    /* of inference */
    int64_t epoch, step;
    double data_wait, work; /* seconds of the last step: of its two parts */
    lamina_error *error;
} stretch;

static lamina_status open_all(stretch *s, const lamina__source *source) {
    const lamina__experiment *experiment = s->experiment;
    const lamina__loader_options options = {
        .batch = experiment->train.batch,
        .seed = (uint64_t)experiment->seed,
        .shuffle = s->optimizer != NULL,
        .normalize = &experiment->normalize,
    };
    s->batch = options.batch < source->count ? options.batch : source->count;
    lamina_status status = lamina__loader_open(source, &options, &s->loader, s->error);
    if (status == LAMINA_OK) {
        lamina__loader_start(s->loader, 0, 0);
    }
    return status;
}

/* Training goes through the data. Inference takes the same batch again and again: what is asked is
 * how fast the network answers, and at batch 1 handing over a sample would be a part of it. */
static const lamina__batch *next_full(stretch *s) {
    if (s->kept != NULL) {
        return s->kept;
    }
    const lamina__batch *batch = lamina__loader_next(s->loader);
    while (batch == NULL || batch->samples < s->batch) {
        lamina__loader_start(s->loader, ++s->epoch, 0);
        batch = lamina__loader_next(s->loader);
    }
    s->kept = s->optimizer == NULL ? batch : NULL;
    return batch;
}

static lamina_status run_net(stretch *s, const lamina__batch *batch) {
    const lamina__experiment *experiment = s->experiment;
    lamina__result result;
    if (s->optimizer == NULL) {
        return lamina__net_evaluate(s->net, batch, &result, s->error);
    }
    const double rate = lamina__optimizer_learning_rate(&experiment->optimizer) *
                        lamina__schedule_factor(&experiment->schedule, s->step, s->epoch);
    lamina__optimizer_begin(s->optimizer, s->step, rate);
    return lamina__net_train_step(s->net, batch, s->step, lamina__optimizer_update, s->optimizer,
                                  &result, s->error);
}

static lamina_status run_step(stretch *s) {
    const double begin = lamina__seconds();
    const lamina__batch *batch = next_full(s);
    const double ready = lamina__seconds();
    const lamina_status status = run_net(s, batch);
    s->data_wait = ready - begin;
    s->work = lamina__seconds() - ready;
    s->step++;
    return status;
}

static lamina_status get_warm(stretch *s) {
    const double begin = lamina__seconds();
    lamina_status status = LAMINA_OK;
    for (int i = 0;
         status == LAMINA_OK && (i < WARM_STEPS || lamina__seconds() - begin < WARM_SECONDS); i++) {
        status = run_step(s);
    }
    return status;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int64_t n) {
    qsort(values, (size_t)n, sizeof *values, compare);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Without the clock. wanted: steps, 0: by time. */
static lamina_status run_plain(stretch *s, int64_t wanted, lamina__profile *profile) {
    const size_t room = (size_t)(wanted > 0 ? wanted : MOST_STEPS);
    const double begin = lamina__seconds();
    double *steps = lamina__calloc(room, sizeof *steps), *net = lamina__calloc(room, sizeof *net);
    int64_t n = 0;
    lamina_status status = LAMINA_OK;
    if (steps == NULL || net == NULL) {
        status = lamina__fail_memory(s->error, "the times of the steps");
    }
    while (status == LAMINA_OK && n < (int64_t)room &&
           (wanted > 0 || n < LEAST_STEPS || lamina__seconds() - begin < MEASURE_SECONDS)) {
        status = run_step(s);
        steps[n] = s->data_wait + s->work;
        net[n++] = s->work;
    }
    if (status == LAMINA_OK) {
        profile->steps = n;
        profile->step_seconds = median(steps, n);
        profile->net_seconds = median(net, n);
    }
    lamina__free(steps);
    lamina__free(net);
    return status;
}

/* As many steps again, with the clock. */
static lamina_status run_timed(stretch *s, lamina__profile *profile) {
    lamina_status status = lamina__net_start_clock(s->net, s->error);
    const double begin = lamina__seconds();
    double data_wait = 0;
    for (int64_t i = 0; status == LAMINA_OK && i < profile->steps; i++) {
        status = run_step(s);
        data_wait += s->data_wait;
    }
    const double n = (double)profile->steps;
    const lamina__net_times sum = lamina__net_times_now(s->net);
    profile->total = (lamina__seconds() - begin) / n;
    profile->data_wait = data_wait / n;
    profile->part = (lamina__net_times){
        .steps = sum.steps,
        .seconds = sum.seconds / n,
        .passes = sum.passes / n,
        .input = sum.input / n,
        .prepare = sum.prepare / n,
        .update = sum.update / n,
        .waiting = sum.waiting / n,
        .other = profile->total - profile->data_wait - (sum.seconds - sum.other) / n,
    };
    return status;
}

static lamina_status prepare(const lamina__experiment *experiment,
                             const lamina__profile_options *options, lamina__profile *profile,
                             lamina__diags *diags, lamina_error *error) {
    const lamina__prepare_options prepare_options = {
        .threads = options->threads,
        .kernels = options->kernels,
        .training = !options->inference,
        .measure = options->measure,
        .cache = options->cache,
        .test_only = options->inference && experiment->data[1].reader != NULL,
    };
    return lamina__experiment_prepare(experiment, &prepare_options, &profile->prepared, diags,
                                      error);
}

lamina_status lamina__profile_run(const lamina__experiment *experiment,
                                  const lamina__profile_options *options, lamina__profile *profile,
                                  lamina__diags *diags, lamina_error *error) {
    stretch s = {.experiment = experiment, .error = error};
    *profile = (lamina__profile){0};
    lamina_status status = prepare(experiment, options, profile, diags, error);
    if (status != LAMINA_OK) {
        goto done;
    }
    s.net = profile->prepared.net;
    if (!options->inference) {
        status = lamina__optimizer_create(&experiment->optimizer, s.net, &s.optimizer, error);
    }
    if (status == LAMINA_OK) {
        status = open_all(&s, profile->prepared.source[profile->prepared.source[0] == NULL]);
    }
    if (status == LAMINA_OK) {
        profile->batch = s.batch;
        status = get_warm(&s);
    }
    if (status == LAMINA_OK) {
        status = run_plain(&s, options->steps, profile);
    }
    if (status == LAMINA_OK) {
        status = run_timed(&s, profile);
    }
    if (status == LAMINA_OK) {
        profile->peak = lamina__measure_peak(lamina__net_threads(s.net));
        status = profile->peak > 0 ? status : lamina__fail_memory(error, "measuring the peak");
    }

done:
    lamina__loader_close(s.loader);
    lamina__optimizer_free(s.optimizer);
    if (status != LAMINA_OK) {
        lamina__profile_free(profile);
    }
    return status;
}

void lamina__profile_free(lamina__profile *profile) {
    lamina__prepared_free(&profile->prepared);
    *profile = (lamina__profile){0};
}

double lamina__profile_pass(const lamina__profile *profile, int32_t layer, int pass) {
    return lamina__net_pass_mean(profile->prepared.net, layer, pass) / (double)profile->steps;
}
