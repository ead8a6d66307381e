/* Optimizers: the table of rules, and what is the same for all of them: reading the config, making
 * slots as long as the net's weight block, and handing pieces of it to the rule. A further rule is
 * a file like sgd.c and a line in the table. */
#include "base/alloc.h"
#include "base/fetch.h"
#include "train/rule.h"

#include <stdio.h>
#include <string.h>

extern const lamina__optimizer_type lamina__sgd;

static const lamina__optimizer_type *const types[] = {&lamina__sgd};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

/* What is particular about a weight. */
typedef struct weight_rule {
    double learning_rate_scale, decay_scale;
    bool no_decay;
} weight_rule;

struct lamina__optimizer {
    const lamina__optimizer_config *config;
    float *weights; /* the net's block */
    int32_t n_weights;
    weight_rule *rules; /* n_weights */
    size_t n_slots;
    float *slots[LAMINA__MAX_SLOTS];
    double learning_rate; /* of this step */
    int64_t step;
};

/* ---- Config -------------------------------------------------------------------------------- */

int lamina__read_type(const lamina__node *node, const char *subject, const char *const *names,
                      size_t n, int fallback, lamina__diags *diags) {
    const lamina__node *type = node;
    if (node != NULL && node->kind == LAMINA__NODE_MAP) {
        type = lamina__node_get(node, "type");
    }
    if (type == NULL || lamina__node_is_null(type)) {
        if (fallback < 0) {
            lamina__diag(diags, node, "%s: needs a type, such as \"%s\"", subject, names[0]);
        }
        return fallback;
    }
    if (type->kind != LAMINA__NODE_SCALAR) {
        lamina__diag(diags, type, "%s: must be {type: %s, ...}", subject, names[0]);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(type->text, names[i]) == 0) {
            return (int)i;
        }
    }
    const char *near = lamina__nearest(type->text, names, n);
    lamina__text known = {0};
    for (size_t i = 0; i < n; i++) {
        lamina__text_add(&known, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    lamina__diag(diags, type, "%s: unknown type \"%s\"; %s%s%s", subject, type->text,
                 near ? "did you mean \"" : "there is ",
                 near         ? near
                 : known.data ? known.data
                              : "",
                 near ? "\"?" : "");
    lamina__text_free(&known);
    return -1;
}

static lamina__table type_table(const lamina__optimizer_type *type) {
    return (lamina__table){type->params, type->n_params, sizeof(lamina_param)};
}

lamina_status lamina__optimizer_read(const lamina__node *node, lamina__optimizer_config *config,
                                     lamina__diags *diags) {
    static const char *const also[] = {"type", NULL};
    const char *names[N_TYPES];
    char subject[64];
    for (size_t i = 0; i < N_TYPES; i++) {
        names[i] = types[i]->name;
    }
    int found = lamina__read_type(node, "train.optimizer", names, N_TYPES, -1, diags);
    if (found < 0) {
        return LAMINA_ERROR_CONFIG;
    }
    const lamina__optimizer_type *type = types[found];
    config->values = lamina__calloc(1, type->config_size);
    if (config->values == NULL) {
        return LAMINA_ERROR_MEMORY;
    }
    config->type = type;
    snprintf(subject, sizeof(subject), "optimizer (%s)", type->name);
    bool map = node->kind == LAMINA__NODE_MAP;
    lamina_status status = lamina__params_read(type_table(type), map ? node : NULL, config->values,
                                               also, subject, node, diags);
    if (status == LAMINA_OK && type->check != NULL) {
        size_t before = diags->count;
        type->check(config->values, node, diags);
        status = diags->count > before ? LAMINA_ERROR_CONFIG : LAMINA_OK;
    }
    return status;
}

void lamina__optimizer_config_free(lamina__optimizer_config *config) {
    lamina__free(config->values);
    *config = (lamina__optimizer_config){0};
}

void lamina__optimizer_config_write(const lamina__optimizer_config *config, lamina__text *text) {
    lamina__text_add(text, "{type: %s, ", config->type->name);
    lamina__params_write(type_table(config->type), config->values, text);
    lamina__text_add(text, "}");
}

const char *lamina__optimizer_config_name(const lamina__optimizer_config *config) {
    return config->type->name;
}

double lamina__optimizer_learning_rate(const lamina__optimizer_config *config) {
    return config->type->learning_rate(config->values);
}

size_t lamina__optimizer_types(void) {
    return N_TYPES;
}

const char *lamina__optimizer_type_at(size_t i, const char **doc, lamina__table *table) {
    *doc = types[i]->doc;
    *table = type_table(types[i]);
    return types[i]->name;
}

/* ---- Running ------------------------------------------------------------------------------- */

lamina_status lamina__optimizer_create(const lamina__optimizer_config *config, lamina__net *net,
                                       lamina__optimizer **result, lamina_error *error) {
    lamina__optimizer *optimizer = lamina__calloc(1, sizeof(*optimizer));
    int64_t floats = lamina__net_weight_floats(net);
    if (optimizer == NULL) {
        return lamina__fail_memory(error, "the optimizer");
    }
    optimizer->config = config;
    optimizer->weights = lamina__net_weight_block(net);
    optimizer->n_weights = lamina__net_n_weights(net);
    optimizer->rules = lamina__calloc((size_t)optimizer->n_weights + 1, sizeof(*optimizer->rules));
    if (optimizer->rules == NULL) {
        goto no_memory;
    }
    for (int32_t i = 0; i < optimizer->n_weights; i++) {
        lamina__net_weight weight = lamina__net_weight_at(net, i);
        optimizer->rules[i] =
            (weight_rule){.learning_rate_scale = weight.keys->learning_rate_scale,
                          .decay_scale = weight.keys->weight_decay_scale,
                          .no_decay = (weight.weight->flags & LAMINA_WEIGHT_NO_DECAY) != 0};
    }
    optimizer->n_slots = config->type->n_slots(config->values);
    for (size_t i = 0; i < optimizer->n_slots; i++) {
        optimizer->slots[i] = lamina__calloc((size_t)floats + 1, sizeof(float));
        if (optimizer->slots[i] == NULL) {
            goto no_memory;
        }
    }
    *result = optimizer;
    return LAMINA_OK;

no_memory:
    lamina__optimizer_free(optimizer);
    return lamina__fail_memory(error, "the optimizer's slots");
}

void lamina__optimizer_free(lamina__optimizer *optimizer) {
    if (optimizer == NULL) {
        return;
    }
    for (size_t i = 0; i < LAMINA__MAX_SLOTS; i++) {
        lamina__free(optimizer->slots[i]);
    }
    lamina__free(optimizer->rules);
    lamina__free(optimizer);
}

const char *lamina__optimizer_name(const lamina__optimizer *optimizer) {
    return optimizer->config->type->name;
}

size_t lamina__optimizer_n_slots(const lamina__optimizer *optimizer) {
    return optimizer->n_slots;
}

const char *lamina__optimizer_slot_name(const lamina__optimizer *optimizer, size_t slot) {
    return optimizer->config->type->slots[slot];
}

float *lamina__optimizer_slot_data(lamina__optimizer *optimizer, size_t slot) {
    return optimizer->slots[slot];
}

void lamina__optimizer_begin(lamina__optimizer *optimizer, int64_t step, double learning_rate) {
    optimizer->step = step;
    optimizer->learning_rate = learning_rate;
}

/* The next range, which is usually as long, is fetched while the rule works on this one. */
void lamina__optimizer_update(void *arg, int32_t weight, int64_t begin, int64_t end,
                              const float *gradient) {
    lamina__optimizer *optimizer = arg;
    const weight_rule *rule = &optimizer->rules[weight];
    lamina__rule_range range = {
        .count = end - begin,
        .weight = optimizer->weights + begin,
        .gradient = gradient,
        .learning_rate = optimizer->learning_rate * rule->learning_rate_scale,
        .decay_scale = rule->decay_scale,
        .step = optimizer->step,
        .no_decay = rule->no_decay,
    };
    lamina__fetch(range.weight + range.count, (size_t)range.count * sizeof(float));
    for (size_t i = 0; i < optimizer->n_slots; i++) {
        range.slot[i] = optimizer->slots[i] + begin;
        lamina__fetch(range.slot[i] + range.count, (size_t)range.count * sizeof(float));
    }
    optimizer->config->type->update(optimizer->config->values, &range);
}
