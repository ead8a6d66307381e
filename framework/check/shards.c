/* The checks of the cut: shards one by one and at once, partial batches, several threads in a call.
 * For all of them the truth is the whole batch in one call on one thread. */
#include "check/checker.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A rig of this kernel for another batch or cut. *rig stays NULL when the layer refuses; then the
 * line says so. */
static lamina_status make_rig(lamina__checker *checker, const lamina__rig_options *options,
                              lamina__rig **rig, lamina__check_line *line) {
    lamina_status status = lamina__rig_create(checker->entry, &checker->from, checker->options.seed,
                                              options, rig, checker->error);
    if (status != LAMINA_OK && status != LAMINA_ERROR_MEMORY) {
        lamina__line_fail(line, "set up for batch %lld, %d shards, %d threads: %.400s",
                          (long long)options->batch, (int)options->shards, (int)options->threads,
                          checker->error->message);
        return LAMINA_OK;
    }
    if (status == LAMINA_OK && !lamina__rig_draw(*rig, checker->options.seed, &checker->from)) {
        status = lamina__fail_memory(checker->error, "check");
    }
    return status;
}

static bool fine(bool ok, const lamina__fault *fault, lamina__check_line *line) {
    if (!ok) {
        lamina__line_fail(line, "%s", fault->text);
    }
    return ok;
}

static void zero_gradients(lamina__rig *rig) {
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_D_WEIGHT]; i++) {
        lamina__field_zero(lamina__rig_field(rig, LAMINA__ROLE_D_WEIGHT, i));
    }
}

static void poison(lamina__rig *rig, lamina__role role) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        lamina__field_poison(lamina__rig_field(rig, role, i));
    }
}

/* forward() and backward() in one go, results into `result`. False in *ok: the line has failed. */
static lamina_status run_whole(lamina__checker *checker, lamina__rig *rig,
                               const lamina__rig_call *call, lamina__snapshot *result, bool *ok,
                               lamina__check_line *line) {
    lamina__fault fault;
    const bool backward = lamina__has_backward(rig);
    zero_gradients(rig);
    *ok = fine(lamina__rig_forward(rig, call, &fault), &fault, line) &&
          (!backward || fine(lamina__rig_backward(rig, call, &fault), &fault, line));
    return *ok ? lamina__snapshot_take(rig, backward, false, result, checker->error) : LAMINA_OK;
}

/* The largest number in any shard's d_weight: their sum may be far smaller, its rounding is not. */
static double largest_part(const lamina__rig *rig, int32_t weight) {
    double largest = 0;
    for (int32_t s = 0; s < rig->instance->shards; s++) {
        const lamina__field *field = lamina__rig_d_weight(rig, s, weight);
        for (int64_t i = 0; i < field->count; i++) {
            largest = fmax(largest, fabs(lamina__field_get(field, i)));
        }
    }
    return largest;
}

/* Compares the first `samples` samples of out and d_in, and d_weight when asked to. */
static bool same_samples(const lamina__checker *checker, const lamina__rig *rig,
                         const lamina__snapshot *got, const lamina__snapshot *expected,
                         int64_t samples, bool weights, const char *what,
                         lamina__check_line *line) {
    const struct {
        lamina__role role;
        double *const *got, *const *expected;
        int32_t n;
    } kinds[] = {
        {LAMINA__ROLE_OUT, got->out, expected->out, rig->instance->n_out},
        {LAMINA__ROLE_D_IN, got->d_in, expected->d_in, rig->instance->n_in},
        {LAMINA__ROLE_D_WEIGHT, got->d_weight, expected->d_weight,
         weights ? rig->instance->n_weights : 0},
    };
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        const bool sum = kinds[k].role == LAMINA__ROLE_D_WEIGHT;
        const bool exact = !sum && !checker->library;
        const double tolerance = exact ? 0 : lamina__rounding(checker, rig, kinds[k].role);
        for (int32_t i = 0; i < kinds[k].n; i++) {
            const lamina__field *field = lamina__rig_field(rig, kinds[k].role, i);
            const int64_t count = sum ? field->count : samples * lamina__field_per_sample(field);
            const double least = sum ? largest_part(rig, i) : 0;
            if (kinds[k].got[i] != NULL && kinds[k].expected[i] != NULL &&
                !lamina__compare(field, kinds[k].got[i], kinds[k].expected[i], count, tolerance,
                                 least, what, line)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- One by one ---------------------------------------------------------------------------- */

/* Outside samples first .. first+n-1, is everything still poison? */
static bool kept_to_its_part(const lamina__rig *rig, lamina__role role, int64_t first, int64_t n,
                             const char *function, lamina__check_line *line) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        const lamina__field *field = lamina__rig_field(rig, role, i);
        const int64_t each = lamina__field_per_sample(field);
        for (int64_t k = 0; field->item >= 4 && k < field->count; k++) {
            const bool own = k >= first * each && k < (first + n) * each;
            if (own || lamina__field_poisoned(field, k)) {
                continue;
            }
            char place[128];
            lamina__field_place(field, k, place, sizeof(place));
            lamina__line_fail(line, "%s of one shard writes %s at %s, another shard's sample",
                              function, field->label, place);
            return false;
        }
    }
    return true;
}

static void poison_results(lamina__rig *rig) {
    poison(rig, LAMINA__ROLE_OUT);
    poison(rig, LAMINA__ROLE_SAVED);
    poison(rig, LAMINA__ROLE_D_IN);
    zero_gradients(rig);
}

/* Each shard as if it were the only one. */
static bool keeps_to_itself(lamina__rig *rig, lamina__rig_call call, lamina__check_line *line) {
    const bool backward = lamina__has_backward(rig);
    lamina__fault fault;
    int64_t first = 0;
    bool ok = true;
    for (int32_t s = 0; s < call.shards && ok; first += call.cut[s++]) {
        const int64_t n = call.cut[s];
        call.one = s + 1;
        poison_results(rig);
        ok =
            fine(lamina__rig_forward(rig, &call, &fault), &fault, line) &&
            kept_to_its_part(rig, LAMINA__ROLE_OUT, first, n, "forward()", line) &&
            kept_to_its_part(rig, LAMINA__ROLE_SAVED, first, n, "forward()", line) &&
            (!backward || (fine(lamina__rig_backward(rig, &call, &fault), &fault, line) &&
                           kept_to_its_part(rig, LAMINA__ROLE_D_IN, first, n, "backward()", line)));
    }
    return ok;
}

/* All shards on this thread: forward() of the last first, then backward() of the first first, so
 * that whatever a layer keeps between calls belongs to another shard. */
static lamina_status one_by_one(lamina__checker *checker, lamina__rig *rig, lamina__rig_call call,
                                lamina__snapshot *result, bool *ok, lamina__check_line *line) {
    const bool backward = lamina__has_backward(rig);
    lamina__fault fault;
    *ok = keeps_to_itself(rig, call, line);
    poison_results(rig);
    for (int32_t s = call.shards; s > 0 && *ok; s--) {
        call.one = s;
        *ok = fine(lamina__rig_forward(rig, &call, &fault), &fault, line);
    }
    for (int32_t s = 1; s <= call.shards && *ok && backward; s++) {
        call.one = s;
        *ok = fine(lamina__rig_backward(rig, &call, &fault), &fault, line);
    }
    return *ok ? lamina__snapshot_take(rig, backward, false, result, checker->error) : LAMINA_OK;
}

/* ---- At once ------------------------------------------------------------------------------- */

/* After one_by_one, whose results must come out each time: the same calls at once. */
static bool at_once(const lamina__checker *checker, lamina__rig *rig, const lamina__rig_call *call,
                    lamina__check_line *line) {
    const double seconds = checker->options.shard_seconds;
    const int directions = lamina__has_backward(rig) ? 2 : 1;
    for (int backward = 0; backward < directions; backward++) {
        lamina__fault fault;
        int64_t calls, different;
        if (!fine(lamina__rig_hammer(rig, call, seconds, backward, &calls, &different, &fault),
                  &fault, line)) {
            return false;
        }
        if (different > 0) {
            lamina__line_fail(line,
                              "%s of shards that run at once gives other bits than one by one, in "
                              "%lld of %lld calls: it keeps something outside its tensors",
                              backward ? "backward()" : "forward()", (long long)different,
                              (long long)calls);
            return false;
        }
    }
    return true;
}

/* ---- Cuts ---------------------------------------------------------------------------------- */

#define MIN_BATCH 5 /* that the cuts below are uneven in several ways */
#define N_CUTS    3

static lamina__rig_call make_cut(const lamina__checker *checker, int64_t batch, int kind) {
    lamina__rig_call call = checker->call;
    const int64_t cuts[N_CUTS][LAMINA__RIG_SHARDS] = {
        {(batch + 1) / 2, batch / 2}, {batch - 1, 1}, {1, batch - 3, 2}};
    call.shards = kind == 2 ? 3 : 2;
    memcpy(call.cut, cuts[kind], sizeof(call.cut));
    return call;
}

/* The partial batch: two samples less, whole and in two shards. */
static int64_t partial_batch(int64_t batch) {
    return batch - 2;
}

static lamina__rig_options cut_options(const lamina__checker *checker) {
    const int64_t given = checker->from.in[0].dim[0];
    const int64_t batch = given > MIN_BATCH ? given : MIN_BATCH, part = partial_batch(batch);
    lamina__rig_options options = {.kernel = checker->kernel,
                                   .batch = batch,
                                   .shards = LAMINA__RIG_SHARDS,
                                   .threads = 1,
                                   .training = 1};
    const int64_t sizes[] = {batch,     batch - 1, (batch + 1) / 2,      batch / 2,      1,
                             batch - 3, 2,         partial_batch(batch), (part + 1) / 2, part / 2};
    for (int64_t size = batch; size > 0; size--) { /* each once, largest first */
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            if (sizes[i] == size) {
                options.samples[options.n_samples++] = size;
                break;
            }
        }
    }
    options.training = !(checker->entry->type->flags & LAMINA_NO_BACKWARD);
    return options;
}

lamina_status lamina__check_shards(lamina__checker *checker, lamina__rig *given,
                                   lamina__snapshot *base, lamina__check_line *line) {
    const lamina__rig_options options = cut_options(checker);
    lamina__snapshot whole = {0}, parts = {0};
    lamina__rig *rig = NULL;
    bool ok = true;
    (void)given, (void)base;

    if (checker->entry->type->flags & LAMINA_COUPLES_BATCH) {
        line->outcome = LAMINA__CHECK_SKIPPED;
        snprintf(line->detail, sizeof(line->detail), "the type couples the batch: it is not cut");
        return LAMINA_OK;
    }
    lamina_status status = make_rig(checker, &options, &rig, line);
    if (status != LAMINA_OK || rig == NULL) {
        goto done;
    }
    status = run_whole(checker, rig, &checker->call, &whole, &ok, line);
    for (int kind = 0; kind < N_CUTS && status == LAMINA_OK && ok; kind++) {
        const lamina__rig_call call = make_cut(checker, rig->batch, kind);
        char what[80];
        snprintf(what, sizeof(what), "cut into %lld, %lld, %lld samples, one by one",
                 (long long)call.cut[0], (long long)call.cut[1], (long long)call.cut[2]);
        status = one_by_one(checker, rig, call, &parts, &ok, line);
        if (status == LAMINA_OK && ok) {
            ok = same_samples(checker, rig, &parts, &whole, rig->batch, true, what, line);
        }
        ok = ok && status == LAMINA_OK && at_once(checker, rig, &call, line);
    }
done:
    lamina__snapshot_free(&whole);
    lamina__snapshot_free(&parts);
    lamina__rig_free(rig);
    return status;
}

/* The last batch of an epoch. A layer that couples the batch may give other numbers, but not touch
 * the samples that are not there; and a loss may divide by something of the whole batch's target,
 * but gives the same numbers however that batch is cut. */
lamina_status lamina__check_partial(lamina__checker *checker, lamina__rig *given,
                                    lamina__snapshot *base, lamina__check_line *line) {
    lamina__rig_options options = cut_options(checker);
    const uint32_t flags = checker->entry->type->flags;
    const bool couples = (flags & LAMINA_COUPLES_BATCH) != 0;
    const bool loss = lamina__has_target(checker->entry->type);
    const int64_t batch = partial_batch(options.batch);
    const lamina__rig_call one = {
        .phase = checker->call.phase, .batch = batch, .shards = 1, .cut = {batch}};
    const lamina__rig_call two = {.phase = checker->call.phase,
                                  .batch = batch,
                                  .shards = 2,
                                  .cut = {(batch + 1) / 2, batch / 2}};
    lamina__snapshot whole = {0}, single = {0}, parts = {0};
    lamina__rig *rig = NULL;
    bool ok = true;
    (void)given, (void)base;

    options.shards = couples ? 1 : 2;
    lamina_status status = make_rig(checker, &options, &rig, line);
    if (status != LAMINA_OK || rig == NULL) {
        goto done;
    }
    status = run_whole(checker, rig, &checker->call, &whole, &ok, line);
    if (status == LAMINA_OK && ok) {
        status = one_by_one(checker, rig, one, &single, &ok, line);
    }
    if (couples || status != LAMINA_OK || !ok) {
        goto done;
    }
    if (!loss &&
        !same_samples(checker, rig, &single, &whole, batch, false, "in a smaller batch", line)) {
        goto done;
    }
    status = one_by_one(checker, rig, two, &parts, &ok, line);
    if (status == LAMINA_OK && ok) {
        same_samples(checker, rig, &parts, &single, batch, true, "in a smaller batch, cut", line);
    }
done:
    lamina__snapshot_free(&whole);
    lamina__snapshot_free(&single);
    lamina__snapshot_free(&parts);
    lamina__rig_free(rig);
    return status;
}

/* One call that may use two threads: as on one but for rounding, and each time the same bits. */
lamina_status lamina__check_threads(lamina__checker *checker, lamina__rig *given,
                                    lamina__snapshot *base, lamina__check_line *line) {
    const lamina__rig_options options = {.kernel = checker->kernel,
                                         .batch = given->batch,
                                         .shards = 1,
                                         .threads = 2,
                                         .training = given->instance->training,
                                         .n_samples = 1,
                                         .samples = {given->batch}};
    lamina__checker loose = *checker;
    lamina__snapshot first = {0}, again = {0};
    lamina__rig *rig = NULL;
    bool ok = true;

    loose.library = true; /* sums may be cut otherwise */
    lamina_status status = make_rig(checker, &options, &rig, line);
    if (status != LAMINA_OK || rig == NULL) {
        goto done;
    }
    status = run_whole(checker, rig, &checker->call, &first, &ok, line);
    if (status == LAMINA_OK && ok) {
        ok = same_samples(&loose, rig, &first, base, given->batch, true, "with two threads", line);
    }
    loose.options.rounding = 0;
    for (int time = 0; time < 4 && status == LAMINA_OK && ok; time++) {
        status = run_whole(checker, rig, &checker->call, &again, &ok, line);
        if (status == LAMINA_OK && ok) {
            ok = same_samples(&loose, rig, &again, &first, given->batch, true,
                              "with two threads, once more", line);
        }
    }
done:
    lamina__snapshot_free(&first);
    lamina__snapshot_free(&again);
    lamina__rig_free(rig);
    return status;
}
