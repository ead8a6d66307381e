/* Learning-rate schedules: a table of functions of the step, each with its parameters. */
#include "train/schedule.h"

#include "base/alloc.h"
#include "train/rule.h"

#include <math.h>
#include <stdio.h>

struct lamina__schedule_type {
    const char *name, *doc;
    size_t config_size;
    const lamina_param *params;
    size_t n_params;
    double (*factor)(const void *values, int64_t step, int64_t epoch);
};

/* ---- constant: 1 --------------------------------------------------------------------------- */

static double constant_factor(const void *values, int64_t step, int64_t epoch) {
    (void)values, (void)step, (void)epoch;
    return 1.0;
}

/* ---- step: gamma^floor(epoch / every) ------------------------------------------------------ */

typedef struct step_config {
    double gamma;
    int64_t every;
} step_config;

static const lamina_param step_params[] = {
    {.name = "every",
     .doc = "The learning rate falls each time so many epochs are done.",
     .unit = "epochs",
     .type = LAMINA_INT,
     .required = 1,
     .offset = offsetof(step_config, every),
     .min = 1,
     .max = 1e9},
    {.name = "gamma",
     .doc = "What it is multiplied by then.",
     .type = LAMINA_REAL,
     .offset = offsetof(step_config, gamma),
     .def = "0.1",
     .min = 0,
     .max = 1e6},
};

static double step_factor(const void *values, int64_t step, int64_t epoch) {
    const step_config *config = values;
    (void)step;
    return pow(config->gamma, (double)(epoch / config->every));
}

/* ---- inverse: (1 + gamma * step)^-power ----------------------------------------------------- */

typedef struct inverse_config {
    double gamma, power;
} inverse_config;

static const lamina_param inverse_params[] = {
    {.name = "gamma",
     .doc = "How fast the learning rate falls, by step.",
     .type = LAMINA_REAL,
     .required = 1,
     .offset = offsetof(inverse_config, gamma),
     .min = 0,
     .max = 1e6},
    {.name = "power",
     .doc = "The exponent of the fall.",
     .type = LAMINA_REAL,
     .required = 1,
     .offset = offsetof(inverse_config, power),
     .min = 0,
     .max = 1e3},
};

static double inverse_factor(const void *values, int64_t step, int64_t epoch) {
    const inverse_config *config = values;
    (void)epoch;
    return pow(1.0 + config->gamma * (double)step, -config->power);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const lamina__schedule_type types[] = {
    {"constant", "The learning rate stays as it is.", 1, NULL, 0, constant_factor},
    {"step", "gamma^(epoch / every), the quotient rounded down.", sizeof(step_config), step_params,
     sizeof(step_params) / sizeof(step_params[0]), step_factor},
    {"inverse", "(1 + gamma * step)^-power; Caffe calls it \"inv\".", sizeof(inverse_config),
     inverse_params, sizeof(inverse_params) / sizeof(inverse_params[0]), inverse_factor},
};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

static lamina__table type_table(const lamina__schedule_type *type) {
    return (lamina__table){type->params, type->n_params, sizeof(lamina_param)};
}

lamina_status lamina__schedule_read(const lamina__node *node, lamina__schedule_config *config,
                                    lamina__diags *diags) {
    static const char *const also[] = {"type", NULL};
    const char *names[N_TYPES];
    char subject[64];
    for (size_t i = 0; i < N_TYPES; i++) {
        names[i] = types[i].name;
    }
    /* A map without a type is a mistake; no schedule at all is a constant one. */
    bool map = node != NULL && node->kind == LAMINA__NODE_MAP;
    int found = lamina__read_type(node, "train.schedule", names, N_TYPES, map ? -1 : 0, diags);
    if (found < 0) {
        return LAMINA_ERROR_CONFIG;
    }
    config->values = lamina__calloc(1, types[found].config_size);
    if (config->values == NULL) {
        return LAMINA_ERROR_MEMORY;
    }
    config->type = &types[found];
    snprintf(subject, sizeof(subject), "schedule (%s)", types[found].name);
    return lamina__params_read(type_table(config->type), map ? node : NULL, config->values, also,
                               subject, node, diags);
}

void lamina__schedule_config_free(lamina__schedule_config *config) {
    lamina__free(config->values);
    *config = (lamina__schedule_config){0};
}

void lamina__schedule_config_write(const lamina__schedule_config *config, lamina__text *text) {
    lamina__text_add(text, "{type: %s", config->type->name);
    if (config->type->n_params > 0) {
        lamina__text_add(text, ", ");
        lamina__params_write(type_table(config->type), config->values, text);
    }
    lamina__text_add(text, "}");
}

double lamina__schedule_factor(const lamina__schedule_config *config, int64_t step, int64_t epoch) {
    return config->type->factor(config->values, step, epoch);
}

size_t lamina__schedule_types(void) {
    return N_TYPES;
}

const char *lamina__schedule_type_at(size_t i, const char **doc, lamina__table *table) {
    *doc = types[i].doc;
    *table = type_table(&types[i]);
    return types[i].name;
}
