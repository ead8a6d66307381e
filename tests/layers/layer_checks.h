/* For the tests of built-in layers: a table of cases, each checked for every kernel against the
 * layer compiled in double, and the double against finite differences. */
#ifndef LAMINA_TESTS_LAYER_CHECKS_H
#define LAMINA_TESTS_LAYER_CHECKS_H

#include "check/check.h"
#include "check/rig.h"
#include "layers/builtin.h"
#include "layers/isa.h"
#include "support.h"

#include <math.h>

typedef struct layer_case {
    const char *params, *input; /* as a case has them */
} layer_case;

typedef struct layer_registries {
    lamina__registry *f32, *f64;
} layer_registries;

static inline layer_registries layer_open(void) {
    layer_registries open = {NULL, NULL};
    lamina_error error = {0};
    if (lamina__registry_create(lamina__builtin_layers, &open.f32, &error) != LAMINA_OK ||
        lamina__registry_create(lamina__builtin_layers_f64, &open.f64, &error) != LAMINA_OK) {
        test_stop(error.message);
    }
    return open;
}

static inline void layer_close(layer_registries open) {
    lamina__registry_free(open.f32);
    lamina__registry_free(open.f64);
}

/* Runs one case's checks, of the named kernels or of all (NULL), and fails with every line that
 * failed. */
static inline void layer_check_kernels(layer_registries open, const char *type, const char *text,
                                       const char *const *kernels) {
    const lamina__type_entry *entry = lamina__registry_find(open.f32, type);
    const lamina__check_options options = {
        .seed = 1, .kernels = kernels, .f64 = lamina__registry_find(open.f64, type)};
    lamina__check_report report = {0};
    lamina_error error = {0};
    lamina_status status = lamina__check_case(entry, text, &options, &report, &error);
    if (status != LAMINA_OK) {
        printf("\n      %s: %s", text, error.message);
    }
    for (size_t i = 0; i < report.count; i++) {
        const lamina__check_line *line = &report.lines[i];
        if (line->outcome == LAMINA__CHECK_FAILED || getenv("LAMINA_TEST_VERBOSE")) {
            printf("\n      %s %s, kernel %s, %s: worst %.3g %s", type, text, line->kernel,
                   line->check, line->worst, line->detail);
        }
    }
    CU_ASSERT_EQUAL(status, LAMINA_OK);
    CU_ASSERT_EQUAL(report.failed, 0);
    const bool backward = entry != NULL && (entry->type->flags & LAMINA_NO_BACKWARD) == 0;
    CU_ASSERT(report.passed > (backward ? 10 : 7));
    lamina__check_report_free(&report);
}

static inline void layer_check_text(layer_registries open, const char *type, const char *text) {
    layer_check_kernels(open, type, text, NULL);
}

/* kernels: NULL-terminated names, or NULL: all. */
static inline void layer_check_some(const char *type, const char *const *kernels,
                                    const layer_case *cases, size_t n) {
    layer_registries open = layer_open();
    for (size_t i = 0; i < n; i++) {
        char text[512];
        snprintf(text, sizeof(text), "{input: %s, params: %s}", cases[i].input, cases[i].params);
        layer_check_kernels(open, type, text, kernels);
    }
    layer_close(open);
}

static inline void layer_check(const char *type, const layer_case *cases, size_t n) {
    layer_check_some(type, NULL, cases, n);
}

/* fn(arg) once with each instruction set that this processor has. */
static inline void layer_each_isa(void (*fn)(void *arg), void *arg) {
    const char *set = getenv("LAMINA_ISA");
    char *before = set != NULL ? strdup(set) : NULL;
    for (int isa = 0; isa <= (int)lamina__isa_of_processor(); isa++) {
        CU_ASSERT_EQUAL_FATAL(setenv("LAMINA_ISA", lamina__isa_name((lamina__isa)isa), 1), 0);
        fn(arg);
    }
    if (before != NULL) {
        setenv("LAMINA_ISA", before, 1);
    } else {
        unsetenv("LAMINA_ISA");
    }
    free(before);
}

/* The cases that the type itself brings. */
static inline void layer_check_own(const char *type) {
    layer_registries open = layer_open();
    const char *const *cases = lamina__registry_find(open.f32, type)->type->cases;
    CU_ASSERT(cases != NULL && cases[0] != NULL);
    for (; cases != NULL && *cases != NULL; cases++) {
        layer_check_text(open, type, *cases);
    }
    layer_close(open);
}

/* A case that the layer must refuse, saying `part`. */
static inline void layer_refuses(const char *type, const char *text, const char *part) {
    layer_registries open = layer_open();
    lamina__check_report report = {0};
    lamina_error error = {0};
    CU_ASSERT(lamina__check_case(lamina__registry_find(open.f32, type), text, NULL, &report,
                                 &error) != LAMINA_OK);
    CU_ASSERT_EQUAL(report.count, 0);
    TEST_CONTAINS(error.message, part);
    lamina__check_report_free(&report);
    layer_close(open);
}

/* ---- One forward(), opened up: for comparing with a formula written down independently ---- */

typedef struct layer_run {
    lamina__rig *rig;
    lamina__case from;
} layer_run;

/* Tensors of a run by logical indices: run_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x). */
static inline double layer_at(const layer_run *run, lamina__role role, int32_t i, int64_t a,
                              int64_t b, int64_t c, int64_t d) {
    const lamina__field *field = lamina__rig_field(run->rig, role, i);
    const int64_t at[4] = {a, b, c, d};
    int64_t index = 0;
    for (int32_t axis = 0; axis < field->view.shape.ndim; axis++) {
        index = index * field->view.shape.dim[axis] + at[axis];
    }
    return lamina__field_get(field, index);
}

static inline int64_t layer_dim(const layer_run *run, lamina__role role, int axis) {
    return lamina__rig_field(run->rig, role, 0)->view.shape.dim[axis];
}

static inline bool layer_forward(layer_registries open, const char *type, const char *text,
                                 layer_run *run) {
    const lamina__type_entry *entry = lamina__registry_find(open.f32, type);
    lamina_error error = {0};
    lamina__fault fault = {{0}};
    *run = (layer_run){0};
    lamina_status status = lamina__case_read(entry, text, &run->from, &error);
    if (status == LAMINA_OK) {
        const int64_t batch = run->from.in[0].dim[0];
        const lamina__rig_options options = {.kernel = "reference",
                                             .batch = batch,
                                             .shards = 1,
                                             .threads = 1,
                                             .training = 1,
                                             .n_samples = 1,
                                             .samples = {batch}};
        status = lamina__rig_create(entry, &run->from, 7, &options, &run->rig, &error);
    }
    const lamina__rig_call call = {.phase = run->from.phase};
    bool ok = status == LAMINA_OK && lamina__rig_draw(run->rig, 7, &run->from) &&
              lamina__rig_forward(run->rig, &call, &fault);
    if (!ok) {
        printf("\n      %s %s: %s%s", type, text, error.message, fault.text);
    }
    CU_ASSERT(ok);
    return ok;
}

static inline void layer_run_free(layer_run *run) {
    lamina__rig_free(run->rig);
    lamina__case_free(&run->from);
}

/* An elementwise layer's float output against its formula in double, over a wide range and a narrow
 * one, and that a NaN stays a NaN. */
static inline void layer_check_formula(const char *type, const char *params,
                                       double (*formula)(double)) {
    static const char *const ranges[] = {"[-30, 30]", "[-2, 2]", "[-0.01, 0.01]"};
    layer_registries open = layer_open();
    for (int k = 0; k < 3; k++) {
        char text[256];
        layer_run run;
        double worst = 0;
        snprintf(text, sizeof(text), "{input: [4, 250], params: %s, range: %s}", params, ranges[k]);
        if (layer_forward(open, type, text, &run)) {
            const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
            const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
            for (int64_t i = 0; i < in->count; i++) {
                const double want = formula(lamina__field_get(in, i));
                const double error = fabs(lamina__field_get(out, i) - want) / (fabs(want) + 0.1);
                worst = error <= worst ? worst : error; /* a NaN, too */
            }
            CU_ASSERT(in->count == 1000);
        }
        if (!(worst < 2e-6)) {
            printf("\n      %s %s: worst %g", type, text, worst);
        }
        CU_ASSERT(worst < 2e-6);
        layer_run_free(&run);
    }
    layer_close(open);
}

/* In evaluation the layer's output is its input. */
static inline void layer_check_evaluation_keeps(const char *type, const char *text) {
    layer_registries open = layer_open();
    const lamina__rig_call eval = {.phase = LAMINA_EVAL};
    lamina__fault fault;
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, type, text, &run)) {
        const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        CU_ASSERT(lamina__rig_forward(run.rig, &eval, &fault));
        for (int64_t i = 0; i < in->count; i++) {
            wrong += lamina__field_get(in, i) != lamina__field_get(out, i);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

/* A case taken through a kernel: forward, and backward when it is for training. Batch and samples
 * are the case's. lamina__rig_free. */
static inline lamina__rig *layer_rig(const lamina__type_entry *entry, const lamina__case *from,
                                     lamina__rig_options options, lamina__rig_call call) {
    lamina__fault fault = {{0}};
    lamina__rig *rig = NULL;
    options.batch = options.samples[0] = from->in[0].dim[0];
    options.n_samples = options.shards = 1;
    call.phase = options.training ? LAMINA_TRAIN : LAMINA_EVAL;
    const bool ok = lamina__rig_create(entry, from, 7, &options, &rig, NULL) == LAMINA_OK &&
                    lamina__rig_draw(rig, 7, from) && lamina__rig_forward(rig, &call, &fault) &&
                    (!options.training || lamina__rig_backward(rig, &call, &fault));
    if (!ok) {
        printf("\n      %s", fault.text);
    }
    CU_ASSERT_FATAL(ok);
    return rig;
}

#define LAYER_CHECK(type, cases) layer_check(type, cases, sizeof(cases) / sizeof((cases)[0]))

#endif
