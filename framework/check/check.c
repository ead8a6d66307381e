/* The checker: which checks there are, in which order, for which kernels. */
#include "check/checker.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

typedef struct check_entry {
    const char *name;
    lamina__check_fn *run;
    bool needs_backward;
} check_entry;

/* After writes, which the others build on: when it fails, they would only repeat it. */
static const check_entry checks[] = {
    {"flags", lamina__check_flags, true},
    {"adds", lamina__check_adds, true},
    {"unwanted", lamina__check_unwanted, true},
    {"deterministic", lamina__check_deterministic, false},
    {"in place", lamina__check_in_place, false},
    {"eval", lamina__check_eval, false},
    {"variables", lamina__check_variables, false},
    {"shards", lamina__check_shards, false},
    {"partial", lamina__check_partial, false},
    {"threads", lamina__check_threads, false},
};

static lamina_status add_line(lamina__checker *checker, const lamina__check_line *line) {
    lamina__check_report *report = checker->report;
    void *lines = report->lines;
    if (lamina__grow(&lines, &report->capacity, report->count + 1, sizeof(*line)) != 0) {
        return lamina__fail_memory(checker->error, "check");
    }
    report->lines = lines;
    report->lines[report->count++] = *line;
    report->passed += line->outcome == LAMINA__CHECK_PASSED;
    report->failed += line->outcome == LAMINA__CHECK_FAILED;
    report->skipped += line->outcome == LAMINA__CHECK_SKIPPED;
    return LAMINA_OK;
}

/* One check, one line. *passed may be NULL. */
static lamina_status run_check(lamina__checker *checker, const char *name, lamina__check_fn *run,
                               lamina__rig *rig, lamina__snapshot *base, bool *passed) {
    lamina__check_line line = {.check = name, .outcome = LAMINA__CHECK_PASSED};
    snprintf(line.kernel, sizeof(line.kernel), "%s", checker->kernel);
    if (checker->options.begin != NULL) {
        checker->options.begin(checker->options.arg, name, checker->kernel);
    }
    *checker->error = (lamina_error){0};
    lamina_status status = run(checker, rig, base, &line);
    if (status != LAMINA_OK) {
        return status;
    }
    if (passed != NULL) {
        *passed = line.outcome == LAMINA__CHECK_PASSED;
    }
    return add_line(checker, &line);
}

static lamina_status add_skipped(lamina__checker *checker, const char *name, const char *why) {
    lamina__check_line line = {.check = name, .outcome = LAMINA__CHECK_SKIPPED};
    snprintf(line.kernel, sizeof(line.kernel), "%s", checker->kernel);
    snprintf(line.detail, sizeof(line.detail), "%s", why);
    return add_line(checker, &line);
}

/* A rig for the case as it stands: one shard, one thread. */
static lamina_status make_rig(lamina__checker *checker, const lamina__type_entry *entry,
                              const char *kernel, lamina__rig **rig) {
    const int64_t batch = checker->from.in[0].dim[0];
    const lamina__rig_options options = {
        .kernel = kernel,
        .batch = batch,
        .f64 = entry == checker->options.f64,
        .shards = 1,
        .threads = 1,
        .training = !(entry->type->flags & LAMINA_NO_BACKWARD),
        .n_samples = 1,
        .samples = {batch},
    };
    lamina_status status = lamina__rig_create(entry, &checker->from, checker->options.seed,
                                              &options, rig, checker->error);
    if (status == LAMINA_OK && !lamina__rig_draw(*rig, checker->options.seed, &checker->from)) {
        lamina__rig_free(*rig);
        *rig = NULL;
        return lamina__fail_memory(checker->error, "check");
    }
    return status;
}

/* ---- Against the twin in double ------------------------------------------------------------- */

static bool same_shape(const lamina_shape *a, const lamina_shape *b) {
    return a->ndim == b->ndim && memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof(a->dim[0])) == 0;
}

static bool same_declarations(const lamina__rig *rig, const lamina__rig *truth) {
    bool same = rig->instance->n_out == truth->instance->n_out &&
                rig->instance->n_weights == truth->instance->n_weights;
    for (int32_t i = 0; same && i < rig->instance->n_out; i++) {
        same = same_shape(&rig->instance->out[i], &truth->instance->out[i]);
    }
    for (int32_t i = 0; same && i < rig->instance->n_weights; i++) {
        same = same_shape(&rig->instance->weights[i].shape, &truth->instance->weights[i].shape);
    }
    return same;
}

/* Each result within the rounding that its sum's length excuses. */
static void compare_with(const lamina__checker *checker, const lamina__rig *rig,
                         const lamina__snapshot *got, const lamina__snapshot *truth,
                         lamina__check_line *line) {
    const double out = lamina__rounding(checker, rig, LAMINA__ROLE_OUT);
    const double d_in = lamina__rounding(checker, rig, LAMINA__ROLE_D_IN);
    const double d_weight = lamina__rounding(checker, rig, LAMINA__ROLE_D_WEIGHT);
    for (int32_t i = 0; i < rig->instance->n_out; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_OUT, i);
        lamina__compare(field, got->out[i], truth->out[i], field->count, out, 0, "forward()", line);
    }
    for (int32_t i = 0; i < rig->instance->n_in; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_D_IN, i);
        if (got->d_in[i] != NULL && truth->d_in[i] != NULL) {
            lamina__compare(field, got->d_in[i], truth->d_in[i], field->count, d_in, 0,
                            "backward()", line);
        }
    }
    for (int32_t i = 0; i < rig->instance->n_weights; i++) {
        const lamina__field *field = lamina__rig_d_weight(rig, 0, i);
        if (got->d_weight[i] != NULL && truth->d_weight[i] != NULL) {
            lamina__compare(field, got->d_weight[i], truth->d_weight[i], field->count, d_weight, 0,
                            "backward()", line);
        }
    }
}

static lamina_status check_reference(lamina__checker *checker, const lamina__rig *rig,
                                     const lamina__snapshot *base, const lamina__rig *truth_rig,
                                     const lamina__snapshot *truth) {
    lamina__check_line line = {.check = "reference", .outcome = LAMINA__CHECK_PASSED};
    snprintf(line.kernel, sizeof(line.kernel), "%s", checker->kernel);
    if (same_declarations(rig, truth_rig)) {
        compare_with(checker, rig, base, truth, &line);
    } else {
        lamina__line_fail(&line, "outputs or weights are declared with other shapes in double");
    }
    return add_line(checker, &line);
}

/* ---- One kernel ---------------------------------------------------------------------------- */

/* Says so when the kernel runs some of its passes here and leaves others to another one. */
static lamina_status tell_passes(lamina__checker *checker, const lamina__rig *rig) {
    char text[128] = "";
    size_t used = 0;
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        const char *name = lamina__instance_kernel(rig->instance, pass);
        if (name != NULL && strcmp(name, checker->kernel) != 0) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s by %.24s",
                                     used ? ", " : "", lamina__pass_names[pass], name);
            used = used < sizeof(text) ? used : sizeof(text) - 1;
        }
    }
    return used > 0 ? add_skipped(checker, "applies", text) : LAMINA_OK;
}

static bool is_library(const char *kernel) {
    return strncmp(kernel, "onednn", 6) == 0;
}

/* kernel: NULL for a type that has forward() and backward() instead. truth: the twin in double with
 * its results, or NULL. */
static lamina_status check_kernel(lamina__checker *checker, const char *kernel,
                                  const lamina__rig *truth_rig, const lamina__snapshot *truth) {
    lamina__rig *rig = NULL;
    lamina__snapshot base = {0};
    bool passed = false;

    lamina_status status = make_rig(checker, checker->entry, kernel, &rig);
    if (status != LAMINA_OK) {
        return status;
    }
    checker->kernel = kernel ? kernel : lamina__instance_kernel(rig->instance, 0);
    checker->library = is_library(checker->kernel);
    if (!lamina__rig_has_kernel(rig, checker->kernel)) {
        status = add_skipped(checker, "applies", "does not apply to this case");
        goto done;
    }
    status = tell_passes(checker, rig);
    if (status == LAMINA_OK) {
        status = run_check(checker, "writes", lamina__check_writes, rig, &base, &passed);
    }
    if (status != LAMINA_OK || !passed) {
        goto done;
    }
    if (truth_rig != NULL) {
        status = check_reference(checker, rig, &base, truth_rig, truth);
    } else if (lamina__has_backward(rig)) {
        status = run_check(checker, "gradient", lamina__check_gradient, rig, &base, NULL);
    }
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && status == LAMINA_OK; i++) {
        if (!checks[i].needs_backward || lamina__has_backward(rig)) {
            status = run_check(checker, checks[i].name, checks[i].run, rig, &base, NULL);
        }
    }
done:
    lamina__snapshot_free(&base);
    lamina__rig_free(rig);
    return status;
}

/* The kernels to check: all of the type, or the named ones. */
static lamina_status check_kernels(lamina__checker *checker, const lamina__rig *truth_rig,
                                   const lamina__snapshot *truth) {
    const lamina_kernel *const *kernels = checker->entry->type->kernels;
    lamina_status status = LAMINA_OK;
    if (kernels == NULL) {
        return check_kernel(checker, NULL, truth_rig, truth);
    }
    for (size_t i = 0; kernels[i] != NULL && status == LAMINA_OK; i++) {
        const char *const *wanted = checker->options.kernels;
        bool is_wanted = wanted == NULL;
        for (size_t k = 0; wanted != NULL && wanted[k] != NULL; k++) {
            is_wanted = is_wanted || strcmp(wanted[k], kernels[i]->name) == 0;
        }
        if (is_wanted) {
            status = check_kernel(checker, kernels[i]->name, truth_rig, truth);
        }
    }
    return status;
}

static void fill_defaults(lamina__check_options *options) {
    const bool f64 = options->f64 != NULL;
    if (options->gradient_tolerance <= 0) {
        options->gradient_tolerance = f64 ? 1e-7 : 2e-3;
    }
    if (options->rounding <= 0) {
        options->rounding = 8;
    }
    if (options->max_probes <= 0) {
        options->max_probes = f64 ? 48 : 1024;
    }
    if (options->shard_seconds <= 0) {
        options->shard_seconds = f64 ? 0.001 : 0.01;
    }
}

lamina_status lamina__check_case(const lamina__type_entry *entry, const char *text,
                                 const lamina__check_options *options, lamina__check_report *report,
                                 lamina_error *error) {
    lamina_error own = {0};
    lamina__checker checker = {.entry = entry,
                               .options = options ? *options : (lamina__check_options){0},
                               .report = report,
                               .error = error ? error : &own};
    lamina__rig *truth_rig = NULL;
    lamina__snapshot truth = {0};
    bool passed = true;

    *checker.error = (lamina_error){0};
    fill_defaults(&checker.options);
    lamina_status status = lamina__case_read(entry, text, &checker.from, checker.error);
    if (status != LAMINA_OK) {
        goto done;
    }
    checker.call.phase = checker.from.phase;
    if (checker.options.f64 != NULL) {
        checker.kernel = "in double";
        status = make_rig(&checker, checker.options.f64, NULL, &truth_rig);
        if (status == LAMINA_OK) {
            status =
                run_check(&checker, "writes", lamina__check_writes, truth_rig, &truth, &passed);
        }
        if (status == LAMINA_OK && passed && lamina__has_backward(truth_rig)) {
            status =
                run_check(&checker, "gradient", lamina__check_gradient, truth_rig, &truth, NULL);
        }
        if (status != LAMINA_OK || !passed) {
            goto done;
        }
    }
    status = check_kernels(&checker, truth_rig, &truth);
done:
    lamina__snapshot_free(&truth);
    lamina__rig_free(truth_rig);
    lamina__case_free(&checker.from);
    return status;
}

void lamina__check_report_free(lamina__check_report *report) {
    lamina__free(report->lines);
    *report = (lamina__check_report){0};
}
