/* The table of initialisers, and reading and writing them by it. */
#include "graph/init.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#define FIELD(name) offsetof(lamina__init, name)

/* ---- The table ----------------------------------------------------------------------------- */

static const lamina_param constant_keys[] = {{.name = "value",
                                              .doc = "The number.",
                                              .type = LAMINA_REAL,
                                              .offset = FIELD(value),
                                              .min = -FLT_MAX,
                                              .max = FLT_MAX,
                                              .def = "0"}};

static const lamina_param uniform_keys[] = {
    {.name = "range",
     .doc = "[low, high], or one number: from minus to plus that.",
     .type = LAMINA_REAL_LIST,
     .offset = FIELD(range),
     .min = -FLT_MAX,
     .max = FLT_MAX,
     .max_count = 2,
     .def = "0.05"}};

static const lamina_param normal_keys[] = {
    {.name = "mean",
     .doc = "Its mean.",
     .type = LAMINA_REAL,
     .offset = FIELD(mean),
     .min = -FLT_MAX,
     .max = FLT_MAX,
     .def = "0"},
    {.name = "std",
     .doc = "Its standard deviation; of truncated_normal before it is cut.",
     .type = LAMINA_REAL,
     .offset = FIELD(std),
     .min = 0,
     .max = FLT_MAX,
     .def = "0.01"}};

static const lamina_param gain_keys[] = {{.name = "gain",
                                          .doc = "All values are multiplied by it.",
                                          .type = LAMINA_REAL,
                                          .offset = FIELD(gain),
                                          .min = 0,
                                          .max = FLT_MAX,
                                          .def = "1"}};

static const char *const fans[] = {"in", "out", NULL};

static const lamina_param he_keys[] = {
    {.name = "fan",
     .doc = "What stays as large as it is: in, signals on their way forward; out, gradients on "
            "their way back.",
     .type = LAMINA_ENUM,
     .offset = FIELD(fan),
     .choices = fans,
     .def = "in"},
    {.name = "slope",
     .doc = "Of the rectifier behind the layer, for negative values: 0 for relu, that of a "
            "leaky_relu, 1 for none.",
     .type = LAMINA_REAL,
     .offset = FIELD(slope),
     .min = 0,
     .max = FLT_MAX,
     .def = "0"}};

#define KEYS(array)                                                                                \
    { (array), sizeof(array) / sizeof((array)[0]), sizeof((array)[0]) }

const lamina__init_type lamina__init_types[] = {
    {LAMINA_INIT_CONSTANT, {"constant"}, "One number.", KEYS(constant_keys), 0},
    {LAMINA_INIT_CONSTANT, {"zeros"}, "Zeros: constant with value 0.", {NULL, 0, 0}, 0},
    {LAMINA_INIT_CONSTANT, {"ones"}, "Ones: constant with value 1.", {NULL, 0, 0}, 1},
    {LAMINA_INIT_UNIFORM, {"uniform"}, "Uniform in a range.", KEYS(uniform_keys), 0},
    {LAMINA_INIT_NORMAL, {"normal"}, "Normal.", KEYS(normal_keys), 0},
    {LAMINA_INIT_TRUNCATED_NORMAL,
     {"truncated_normal", "trunc_normal"},
     "Normal, drawn again beyond two standard deviations.",
     KEYS(normal_keys),
     0},
    {LAMINA_INIT_XAVIER,
     {"xavier", "xavier_uniform", "glorot", "glorot_uniform"},
     "Uniform, with variance 2 / (fan_in + fan_out).",
     KEYS(gain_keys),
     0},
    {LAMINA_INIT_XAVIER_NORMAL,
     {"xavier_normal", "glorot_normal"},
     "Normal, with variance 2 / (fan_in + fan_out).",
     KEYS(gain_keys),
     0},
    {LAMINA_INIT_HE,
     {"he", "he_normal", "kaiming", "kaiming_normal"},
     "Normal, with variance 2 / ((1 + slope^2) fan).",
     KEYS(he_keys),
     0},
    {LAMINA_INIT_HE_UNIFORM,
     {"he_uniform", "kaiming_uniform"},
     "Uniform, with variance 2 / ((1 + slope^2) fan).",
     KEYS(he_keys),
     0},
    {LAMINA_INIT_ORTHOGONAL,
     {"orthogonal"},
     "A random matrix with orthonormal rows or columns, whichever are fewer.",
     KEYS(gain_keys),
     0},
    {0, {NULL}, NULL, {NULL, 0, 0}, 0}};

static const lamina__init_type *find_name(const char *name) {
    for (const lamina__init_type *type = lamina__init_types; type->kind != 0; type++) {
        for (int i = 0; type->names[i] != NULL; i++) {
            if (strcmp(type->names[i], name) == 0) {
                return type;
            }
        }
    }
    return NULL;
}

static const lamina__init_type *find_kind(int32_t kind) {
    const lamina__init_type *type = lamina__init_types;
    while (type->kind != 0 && type->kind != kind) {
        type++;
    }
    return type->kind != 0 ? type : lamina__init_types;
}

/* ---- Reading ------------------------------------------------------------------------------- */

#define MAX_NAMES 32

static void report_unknown(const lamina__node *name, const char *subject, lamina__diags *diags) {
    const char *names[MAX_NAMES];
    size_t n = 0;
    lamina__text list = {0};
    for (const lamina__init_type *type = lamina__init_types; type->kind != 0; type++) {
        for (int i = 0; type->names[i] != NULL && n < MAX_NAMES; i++) {
            names[n++] = type->names[i];
        }
        lamina__text_add(&list, "%s%s", list.length > 0 ? ", " : "", type->names[0]);
    }
    const char *near = lamina__nearest(name->text, names, n);
    lamina__diag(diags, name, "%s: unknown initialiser \"%s\"%s%s%s; there are %s", subject,
                 name->text, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                 near != NULL ? "\"?" : "", list.data != NULL ? list.data : "");
    lamina__text_free(&list);
}

/* Another name for a key: normal's std was `value` once. */
static bool read_old_key(const lamina__node *node, const char *subject, lamina__init *init,
                         lamina__diags *diags) {
    const lamina__node *value =
        init->kind == LAMINA_INIT_NORMAL ? lamina__node_get(node, "value") : NULL;
    if (value == NULL) {
        return true;
    }
    if (lamina__read_real(value, subject, &init->std, diags) != LAMINA_OK) {
        return false;
    }
    if (!(init->std >= 0 && init->std <= (double)FLT_MAX)) {
        lamina__diag(diags, value, "%s: value is the standard deviation, 0 or a float32 above",
                     subject);
        return false;
    }
    return true;
}

bool lamina__init_read(const lamina__node *node, const char *subject, lamina__init *init,
                       lamina__diags *diags) {
    static const char *const also[] = {"type", NULL}, *const normal_also[] = {"type", "value",
                                                                              NULL};
    const bool is_map = node->kind == LAMINA__NODE_MAP;
    const lamina__node *name = is_map ? lamina__node_get(node, "type") : node;
    if (name == NULL || name->kind != LAMINA__NODE_SCALAR) {
        lamina__diag(diags, node, "%s: an initialiser is a word, or {type: normal, std: 0.01}",
                     subject);
        return false;
    }
    const lamina__init_type *type = find_name(name->text);
    if (type == NULL) {
        report_unknown(name, subject, diags);
        return false;
    }
    char whose[400];
    snprintf(whose, sizeof whose, "%s: initialiser %s", subject, name->text);
    *init = (lamina__init){0};
    lamina_status status = lamina__params_read(
        type->keys, is_map ? node : NULL, init,
        type->kind == LAMINA_INIT_NORMAL ? normal_also : also, whose, node, diags);
    init->kind = type->kind;
    if (type->keys.count == 0) {
        init->value = type->value;
    }
    if (status == LAMINA_OK && init->kind == LAMINA_INIT_UNIFORM && init->range.count == 2 &&
        !(init->range.value[0] <= init->range.value[1])) {
        status = lamina__diag(diags, node, "%s: range begins with the lower number", whose);
    }
    return status == LAMINA_OK && read_old_key(node, whose, init, diags);
}

/* ---- Writing, and what layers declare ------------------------------------------------------ */

void lamina__init_write(const lamina__init *init, lamina__text *text) {
    const lamina__init_type *type = find_kind(init->kind);
    lamina__text_add(text, "{type: %s, ", type->names[0]);
    lamina__params_write(type->keys, init, text);
    lamina__text_add(text, "}");
}

/* The defaults of its keys; `value` stands for the one that cannot be done without. */
lamina__init lamina__init_declared(const lamina_init *declared) {
    const lamina__init_type *type = find_kind(declared->kind);
    lamina__init init = {0};
    lamina__params_default(type->keys, &init);
    init.kind = type->kind;
    switch (init.kind) {
    case LAMINA_INIT_CONSTANT:
        init.value = declared->value;
        break;
    case LAMINA_INIT_NORMAL:
    case LAMINA_INIT_TRUNCATED_NORMAL:
        init.std = declared->value;
        break;
    case LAMINA_INIT_UNIFORM:
        init.range.value[0] = declared->value;
        break;
    default:
        break;
    }
    return init;
}
