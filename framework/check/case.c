/* Reading a case, with the config's own tools: the same messages, the same range checks. */
#include "check/case.h"

#include "base/alloc.h"

#include <string.h>

#define MAX_ELEMENTS (1 << 24) /* of one input: a check is meant to be small */

static const char *const case_keys[] = {"input", "target",       "params",
                                        "range", "target_range", "phase"};
#define N_CASE_KEYS (sizeof(case_keys) / sizeof(case_keys[0]))

static void check_keys(const lamina__node *root, lamina__diags *diags) {
    for (size_t i = 0; i < root->count; i++) {
        const char *key = root->keys[i]->text;
        bool known = false;
        for (size_t k = 0; k < N_CASE_KEYS; k++) {
            known = known || strcmp(key, case_keys[k]) == 0;
        }
        if (!known) {
            lamina__diag(
                diags, root->keys[i],
                "unknown key \"%s\"; a case has input, target, params, range, target_range "
                "and phase",
                key);
        }
    }
}

static void read_shape(const lamina__node *node, lamina_shape *shape, lamina__diags *diags) {
    int64_t count = 1;
    if (node->kind != LAMINA__NODE_LIST || node->count < 1 || node->count > LAMINA_MAX_DIMS) {
        lamina__diag(diags, node, "input: a shape is a list of 1 to %d numbers, like [2, 3, 5, 4]",
                     LAMINA_MAX_DIMS);
        return;
    }
    *shape = (lamina_shape){.dtype = LAMINA_F32, .ndim = (int32_t)node->count};
    for (size_t i = 0; i < node->count; i++) {
        if (lamina__read_int(node->items[i], 1, MAX_ELEMENTS, "input", &shape->dim[i], diags) !=
            LAMINA_OK) {
            return;
        }
        if (__builtin_mul_overflow(count, shape->dim[i], &count) || count > MAX_ELEMENTS) {
            lamina__diag(diags, node, "input: more than %d elements", MAX_ELEMENTS);
            return;
        }
    }
}

/* `target: values`? */
static bool read_target(const lamina_layer_type *type, const lamina__node *node,
                        lamina__diags *diags) {
    if (node == NULL) {
        return false;
    }
    const bool values = node->kind == LAMINA__NODE_SCALAR && strcmp(node->text, "values") == 0;
    const bool labels = node->kind == LAMINA__NODE_SCALAR && strcmp(node->text, "labels") == 0;
    if (!lamina__has_target(type) || (!values && !labels)) {
        lamina__diag(diags, node, "target: is labels or values, of a loss or metric");
    }
    return values;
}

static void read_inputs(const lamina_layer_type *type, const lamina__node *node, bool values,
                        lamina__case *made, lamina__diags *diags) {
    bool many = node->kind == LAMINA__NODE_LIST && node->count > 0 &&
                node->items[0]->kind == LAMINA__NODE_LIST;
    size_t n = many ? node->count : 1;
    if (n > LAMINA__MAX_INPUTS) {
        lamina__diag(diags, node, "input: at most %d shapes", LAMINA__MAX_INPUTS);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        read_shape(many ? node->items[i] : node, &made->in[i], diags);
    }
    made->n_in = (int32_t)n;
    if (lamina__has_target(type) && !values) { /* labels, one for each sample */
        made->in[1] = (lamina_shape){.dtype = LAMINA_I32, .ndim = 1, .dim = {made->in[0].dim[0]}};
    } else if (lamina__has_target(type) && made->n_in < 2) {
        made->in[1] = made->in[0];
    }
    if (lamina__has_target(type)) {
        made->n_in = made->n_in < 2 ? 2 : made->n_in;
    }
    if (made->n_in < type->min_in || made->n_in > type->max_in) {
        lamina__diag(diags, node, "input: %s takes %d to %d inputs, the case gives %d", type->name,
                     (int)type->min_in, (int)type->max_in, (int)made->n_in);
    }
    for (int32_t i = 1; i < made->n_in; i++) {
        if (diags->count == 0 && made->in[i].dim[0] != made->in[0].dim[0]) {
            lamina__diag(diags, node, "input: the shapes begin with different numbers of samples");
        }
    }
}

/* Leaves what stands in low and high when there is no such key. */
static void read_range(const lamina__node *root, const char *key, double *low, double *high,
                       lamina__diags *diags) {
    const lamina__node *node = lamina__node_get(root, key);
    if (node == NULL) {
        return;
    }
    if (node->kind != LAMINA__NODE_LIST || node->count != 2) {
        lamina__diag(diags, node, "%s: is [smallest, largest]", key);
        return;
    }
    if (lamina__read_real(node->items[0], key, low, diags) == LAMINA_OK &&
        lamina__read_real(node->items[1], key, high, diags) == LAMINA_OK && !(*low < *high)) {
        lamina__diag(diags, node, "%s: the smallest value must be below the largest", key);
    }
}

static void read_ranges(const lamina__node *root, bool values, lamina__case *made,
                        lamina__diags *diags) {
    made->low = -1.5;
    made->high = 1.5;
    read_range(root, "range", &made->low, &made->high, diags);
    made->target_low = made->low;
    made->target_high = made->high;
    read_range(root, "target_range", &made->target_low, &made->target_high, diags);
    if (!values && lamina__node_get(root, "target_range") != NULL) {
        lamina__diag(diags, lamina__node_get(root, "target_range"),
                     "target_range: goes with target: values");
    }
}

static void read_phase(const lamina__node *node, lamina__case *made, lamina__diags *diags) {
    made->phase = LAMINA_TRAIN;
    if (node == NULL) {
        return;
    }
    if (node->kind == LAMINA__NODE_SCALAR && strcmp(node->text, "eval") == 0) {
        made->phase = LAMINA_EVAL;
    } else if (node->kind != LAMINA__NODE_SCALAR || strcmp(node->text, "train") != 0) {
        lamina__diag(diags, node, "phase: is train or eval");
    }
}

lamina_status lamina__case_read(const lamina__type_entry *entry, const char *text,
                                lamina__case *result, lamina_error *error) {
    const lamina_layer_type *type = entry->type;
    lamina__diags diags = {0};
    lamina_status status = LAMINA_OK;
    *result = (lamina__case){0};

    result->config = lamina__calloc(1, type->config_size > 0 ? type->config_size : 1);
    if (result->config == NULL) {
        return lamina__fail_memory(error, "case");
    }
    if (lamina__doc_parse(text, strlen(text), "case", &diags, &result->doc) != LAMINA_OK) {
        goto done;
    }
    const lamina__node *root = result->doc->root;
    if (root == NULL || root->kind != LAMINA__NODE_MAP || lamina__node_get(root, "input") == NULL) {
        lamina__diag(&diags, root, "a case is a mapping with an input, like {input: [2, 3, 5, 4]}");
        goto done;
    }
    check_keys(root, &diags);
    const bool values = read_target(type, lamina__node_get(root, "target"), &diags);
    read_inputs(type, lamina__node_get(root, "input"), values, result, &diags);
    read_ranges(root, values, result, &diags);
    read_phase(lamina__node_get(root, "phase"), result, &diags);
    lamina__params_read(lamina__type_table(type), lamina__node_get(root, "params"), result->config,
                        NULL, type->name, root, &diags);
done:
    if (diags.failed) {
        status = lamina__fail_memory(error, "case");
    } else if (diags.count > 0) {
        status = lamina__diags_error(&diags, error);
    }
    lamina__diags_free(&diags);
    return status;
}

void lamina__case_free(lamina__case *made) {
    lamina__doc_free(made->doc);
    lamina__free(made->config);
    *made = (lamina__case){0};
}
