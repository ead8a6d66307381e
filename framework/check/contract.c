/* The checks of one call on the whole batch: what it may read, what it must write. */
#include "check/checker.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

/* Fails the line when a fault was found. */
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

/* forward() and backward() from d_weight 0, everything watched. */
static bool run_both(lamina__rig *rig, const lamina__rig_call *call, lamina__check_line *line) {
    lamina__fault fault;
    if (!fine(lamina__rig_forward(rig, call, &fault), &fault, line)) {
        return false;
    }
    zero_gradients(rig);
    return !lamina__has_backward(rig) ||
           fine(lamina__rig_backward(rig, call, &fault), &fault, line);
}

/* Written, every element, with finite numbers? */
static bool whole(const lamina__field *field, const char *function, lamina__check_line *line) {
    for (int64_t i = 0; i < field->count; i++) {
        const bool unwritten = lamina__field_poisoned(field, i);
        const double value = lamina__field_get(field, i);
        if (!unwritten && (!field->real || isfinite(value))) {
            continue;
        }
        char place[128];
        lamina__field_place(field, i, place, sizeof(place));
        if (unwritten) {
            lamina__line_fail(line, "%s does not write %s at %s", function, field->label, place);
        } else {
            lamina__line_fail(line,
                              "%s makes %s at %s %g; it starts from finite numbers, with NaN in "
                              "what was never written",
                              function, field->label, place, value);
        }
        return false;
    }
    return true;
}

typedef struct kind {
    lamina__role role;
    double *const *got, *const *expected;
    int32_t n;
} kind;

/* Compares what both snapshots have. */
static bool same_results(const lamina__checker *checker, const lamina__rig *rig,
                         const lamina__snapshot *got, const lamina__snapshot *base, bool exact,
                         const char *what, lamina__check_line *line) {
    const kind kinds[] = {
        {LAMINA__ROLE_OUT, got->out, base->out, rig->instance->n_out},
        {LAMINA__ROLE_D_IN, got->d_in, base->d_in, rig->instance->n_in},
        {LAMINA__ROLE_D_WEIGHT, got->d_weight, base->d_weight, rig->instance->n_weights},
    };
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        const double tolerance = exact ? 0 : lamina__rounding(checker, rig, kinds[k].role);
        for (int32_t i = 0; i < kinds[k].n; i++) {
            const lamina__field *field = lamina__rig_field(rig, kinds[k].role, i);
            if (kinds[k].got[i] != NULL && kinds[k].expected[i] != NULL &&
                !lamina__compare(field, kinds[k].got[i], kinds[k].expected[i], field->count,
                                 tolerance, 0, what, line)) {
                return false;
            }
        }
    }
    return true;
}

/* Runs the call and compares all its results with `base`. */
static lamina_status run_and_compare(lamina__checker *checker, lamina__rig *rig,
                                     const lamina__rig_call *call, const lamina__snapshot *base,
                                     bool exact, const char *what, lamina__check_line *line) {
    lamina__snapshot got = {0};
    if (!run_both(rig, call, line)) {
        return LAMINA_OK;
    }
    lamina_status status =
        lamina__snapshot_take(rig, lamina__has_backward(rig), call->in_place, &got, checker->error);
    if (status == LAMINA_OK) {
        same_results(checker, rig, &got, base, exact, what, line);
    }
    lamina__snapshot_free(&got);
    return status;
}

lamina_status lamina__check_writes(lamina__checker *checker, lamina__rig *rig,
                                   lamina__snapshot *base, lamina__check_line *line) {
    const bool backward = lamina__has_backward(rig);
    if (!run_both(rig, &checker->call, line)) {
        return LAMINA_OK;
    }
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_OUT]; i++) {
        if (!whole(lamina__rig_field(rig, LAMINA__ROLE_OUT, i), "forward()", line)) {
            return LAMINA_OK;
        }
    }
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_D_IN] && backward; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_D_IN, i);
        if (field->real && !whole(field, "backward()", line)) {
            return LAMINA_OK;
        }
    }
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_D_WEIGHT] && backward; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_D_WEIGHT, i);
        if (!whole(field, "backward()", line)) {
            return LAMINA_OK;
        }
        if (lamina__field_padding(field) >= 0) {
            lamina__line_fail(line, "backward() writes to the padding of %s (byte %lld)",
                              field->label, (long long)lamina__field_padding(field));
            return LAMINA_OK;
        }
    }
    return lamina__snapshot_take(rig, backward, false, base, checker->error);
}

/* One of the two halves of check_flags: what has this role becomes NaN before backward(). Labels
 * stay: they are the batch's own. */
static lamina_status check_flag(lamina__checker *checker, lamina__rig *rig,
                                const lamina__snapshot *base, lamina__role role, const char *what,
                                lamina__check_line *line) {
    lamina__snapshot got = {0};
    lamina__fault fault;
    if (!fine(lamina__rig_forward(rig, &checker->call, &fault), &fault, line)) {
        return LAMINA_OK;
    }
    for (int32_t i = 0; i < rig->count[role]; i++) {
        if (lamina__rig_field(rig, role, i)->real) {
            lamina__field_poison(lamina__rig_field(rig, role, i));
        }
    }
    zero_gradients(rig);
    if (!fine(lamina__rig_backward(rig, &checker->call, &fault), &fault, line)) {
        return LAMINA_OK;
    }
    lamina_status status = lamina__snapshot_take(rig, true, false, &got, checker->error);
    if (status == LAMINA_OK) {
        for (int32_t i = 0; i < rig->instance->n_out; i++) {
            lamina__free(got.out[i]); /* gradients alone count */
            got.out[i] = NULL;
        }
        same_results(checker, rig, &got, base, true, what, line);
    }
    lamina__snapshot_free(&got);
    return status;
}

/* The host gives memory that backward() did not ask for to other tensors. */
lamina_status lamina__check_flags(lamina__checker *checker, lamina__rig *rig,
                                  lamina__snapshot *base, lamina__check_line *line) {
    const uint32_t flags = rig->instance->type->flags;
    lamina_status status = LAMINA_OK;
    if (!(flags & LAMINA_NEEDS_INPUT)) {
        status = check_flag(checker, rig, base, LAMINA__ROLE_IN,
                            "backward() reads in[] without LAMINA_NEEDS_INPUT", line);
        if (status == LAMINA_OK && !lamina__rig_draw(rig, checker->options.seed, &checker->from)) {
            status = lamina__fail_memory(checker->error, "check");
        }
    }
    if (status == LAMINA_OK && !(flags & LAMINA_NEEDS_OUTPUT)) {
        status = check_flag(checker, rig, base, LAMINA__ROLE_OUT,
                            "backward() reads out[] without LAMINA_NEEDS_OUTPUT", line);
    }
    return status;
}

/* d_weight starts at numbers of its own size and gets the gradient twice; d_in stays the same. */
lamina_status lamina__check_adds(lamina__checker *checker, lamina__rig *rig, lamina__snapshot *base,
                                 lamina__check_line *line) {
    lamina__snapshot got = {0}, twice = {0};
    lamina__fault fault;
    lamina_status status = LAMINA_OK;

    if (!fine(lamina__rig_forward(rig, &checker->call, &fault), &fault, line)) {
        return LAMINA_OK;
    }
    status = lamina__snapshot_take(rig, true, false, &twice, checker->error);
    for (int32_t i = 0; i < rig->instance->n_weights && status == LAMINA_OK; i++) {
        lamina__field *field = lamina__rig_d_weight(rig, 0, i);
        for (int64_t k = 0; k < field->count; k++) {
            const double g = base->d_weight[i][k];
            lamina__field_set(field, k, k % 2 ? 3 * g : 1);
            twice.d_weight[i][k] = lamina__field_get(field, k) + 2 * g;
        }
    }
    for (int time = 0; time < 2 && status == LAMINA_OK; time++) {
        if (!fine(lamina__rig_backward(rig, &checker->call, &fault), &fault, line)) {
            goto done;
        }
    }
    if (status == LAMINA_OK) {
        status = lamina__snapshot_take(rig, true, false, &got, checker->error);
    }
    if (status != LAMINA_OK) {
        goto done;
    }
    for (int32_t i = 0; i < rig->instance->n_in; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_D_IN, i);
        if (got.d_in[i] != NULL &&
            !lamina__compare(field, got.d_in[i], base->d_in[i], field->count, 0, 0,
                             "a second backward() must overwrite d_in with the same", line)) {
            goto done;
        }
    }
    for (int32_t i = 0; i < rig->instance->n_weights; i++) {
        const lamina__field *field = lamina__rig_d_weight(rig, 0, i);
        if (!lamina__compare(field, got.d_weight[i], twice.d_weight[i], field->count,
                             lamina__rounding(checker, rig, LAMINA__ROLE_D_WEIGHT), 0,
                             "backward() must add to what d_weight holds", line)) {
            goto done;
        }
    }
done:
    lamina__snapshot_free(&got);
    lamina__snapshot_free(&twice);
    return status;
}

/* What a skipped gradient's memory must still hold. */
static bool untouched(const lamina__rig *rig, const lamina__rig_call *call,
                      lamina__check_line *line) {
    for (int32_t i = 0; i < rig->instance->n_in; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_D_IN, i);
        for (int64_t k = 0; (call->skip_d_in >> i & 1) && k < field->count; k++) {
            if (!lamina__field_poisoned(field, k)) {
                lamina__line_fail(line, "backward() writes %s although its entry is NULL",
                                  field->label);
                return false;
            }
        }
    }
    for (int32_t i = 0; i < rig->instance->n_weights; i++) {
        const lamina__field *field = lamina__rig_d_weight(rig, 0, i);
        for (int64_t k = 0; (call->skip_d_weight >> i & 1) && k < field->count; k++) {
            if (lamina__field_get(field, k) != 0) {
                lamina__line_fail(line, "backward() writes %s although its entry is NULL",
                                  field->label);
                return false;
            }
        }
    }
    return true;
}

/* backward() without some gradients; the others must come out the same. */
static lamina_status check_without(lamina__checker *checker, lamina__rig *rig,
                                   const lamina__rig_call *call, const lamina__snapshot *base,
                                   lamina__check_line *line) {
    lamina__snapshot got = {0};
    lamina_status status = LAMINA_OK;
    if (!run_both(rig, call, line) || !untouched(rig, call, line)) {
        return LAMINA_OK;
    }
    status = lamina__snapshot_take(rig, true, false, &got, checker->error);
    if (status == LAMINA_OK) {
        for (int32_t i = 0; i < LAMINA__MAX_INPUTS; i++) {
            if (call->skip_d_in >> i & 1) {
                lamina__free(got.d_in[i]);
                got.d_in[i] = NULL;
            }
        }
        for (int32_t i = 0; i < LAMINA__MAX_DECLARED; i++) {
            if (call->skip_d_weight >> i & 1) {
                lamina__free(got.d_weight[i]);
                got.d_weight[i] = NULL;
            }
        }
        same_results(checker, rig, &got, base, !checker->library,
                     "with another gradient not wanted (NULL)", line);
    }
    lamina__snapshot_free(&got);
    return status;
}

lamina_status lamina__check_unwanted(lamina__checker *checker, lamina__rig *rig,
                                     lamina__snapshot *base, lamina__check_line *line) {
    const uint32_t all = 0xffffffffu;
    lamina__rig_call call = checker->call;
    lamina_status status = LAMINA_OK;
    for (int32_t i = 0; i < rig->instance->n_in && status == LAMINA_OK; i++) {
        call.skip_d_in = 1u << i;
        if (lamina__rig_field(rig, LAMINA__ROLE_D_IN, i)->real) {
            status = check_without(checker, rig, &call, base, line);
        }
    }
    call.skip_d_in = 0;
    for (int32_t i = 0; i < rig->instance->n_weights && status == LAMINA_OK; i++) {
        call.skip_d_weight = 1u << i;
        status = check_without(checker, rig, &call, base, line);
    }
    if (status == LAMINA_OK && rig->instance->n_weights > 1) { /* the layer is frozen */
        call.skip_d_weight = all;
        status = check_without(checker, rig, &call, base, line);
    }
    return status;
}

lamina_status lamina__check_deterministic(lamina__checker *checker, lamina__rig *rig,
                                          lamina__snapshot *base, lamina__check_line *line) {
    lamina_status status = LAMINA_OK;
    for (int time = 0; time < 2 && status == LAMINA_OK; time++) {
        status =
            run_and_compare(checker, rig, &checker->call, base, true, "the same call again", line);
    }
    return status;
}

/* While training only when backward() does without the input: forward() has written over it. */
lamina_status lamina__check_in_place(lamina__checker *checker, lamina__rig *rig,
                                     lamina__snapshot *base, lamina__check_line *line) {
    const lamina__instance *instance = rig->instance;
    const lamina__rig_call call = {.phase = checker->call.phase, .in_place = true};
    if (!(instance->type->flags & LAMINA_IN_PLACE)) {
        line->outcome = LAMINA__CHECK_SKIPPED;
        snprintf(line->detail, sizeof(line->detail), "the type has no LAMINA_IN_PLACE");
        return LAMINA_OK;
    }
    if (!lamina__shape_equal(&instance->in[0], &instance->out[0])) {
        line->outcome = LAMINA__CHECK_SKIPPED;
        snprintf(line->detail, sizeof(line->detail), "input and output differ in shape");
        return LAMINA_OK;
    }
    if (lamina__has_backward(rig) && (instance->type->flags & LAMINA_NEEDS_INPUT)) {
        lamina__line_fail(line, "LAMINA_IN_PLACE and LAMINA_NEEDS_INPUT contradict each other: in "
                                "place, forward() writes over what backward() is to read");
        return LAMINA_OK;
    }
    lamina_status status =
        run_and_compare(checker, rig, &call, base, !checker->library, "in place", line);
    if (status == LAMINA_OK && !lamina__rig_draw(rig, checker->options.seed, &checker->from)) {
        status = lamina__fail_memory(checker->error, "check");
    }
    return status;
}

/* A net that only evaluates sets the layer up with training 0. */
lamina_status lamina__check_eval(lamina__checker *checker, lamina__rig *rig, lamina__snapshot *base,
                                 lamina__check_line *line) {
    static const lamina__rig_call eval = {.phase = LAMINA_EVAL};
    const lamina__rig_options options = {.kernel = checker->kernel,
                                         .batch = rig->batch,
                                         .shards = 1,
                                         .threads = 1,
                                         .n_samples = 1,
                                         .samples = {rig->batch}};
    lamina__rig *other = NULL;
    lamina__snapshot in_training = {0}, alone = {0};
    lamina__fault fault;
    (void)base;

    lamina_status status = lamina__rig_create(checker->entry, &checker->from, checker->options.seed,
                                              &options, &other, checker->error);
    if (status != LAMINA_OK && status != LAMINA_ERROR_MEMORY) {
        lamina__line_fail(line, "with setup->training 0: %.400s", checker->error->message);
        return LAMINA_OK;
    }
    if (status == LAMINA_OK && !lamina__rig_draw(other, checker->options.seed, &checker->from)) {
        status = lamina__fail_memory(checker->error, "check");
    }
    if (status != LAMINA_OK || !fine(lamina__rig_forward(rig, &eval, &fault), &fault, line) ||
        !fine(lamina__rig_forward(other, &eval, &fault), &fault, line)) {
        goto done;
    }
    for (int32_t i = 0; i < rig->instance->n_out; i++) {
        if (!whole(lamina__rig_field(rig, LAMINA__ROLE_OUT, i), "forward() in eval", line)) {
            goto done;
        }
    }
    status = lamina__snapshot_take(rig, false, false, &in_training, checker->error);
    if (status == LAMINA_OK) {
        status = lamina__snapshot_take(other, false, false, &alone, checker->error);
    }
    if (status == LAMINA_OK) {
        same_results(checker, rig, &alone, &in_training, !checker->library,
                     "forward() in eval, set up without training,", line);
    }
done:
    lamina__snapshot_free(&in_training);
    lamina__snapshot_free(&alone);
    lamina__rig_free(other);
    return status;
}
