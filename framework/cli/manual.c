/* The manual's generated pages, from the tables that also read the config: docs/layers.md and
 * docs/config.md. What a layer's weights, running state and outputs look like is taken from its own
 * cases: each is set up, so that every example in the manual is a config that works. */
#include "base/text.h"
#include "check/case.h"
#include "cli/cli.h"
#include "graph/init.h"
#include "layers/builtin.h"
#include "registry/keys.h"

#include <stdio.h>
#include <string.h>

enum { MOST_EXAMPLES = 4 };

/* ---- Parameters ---------------------------------------------------------------------------- */

/* Inside a table a bar would end the cell. */
static void print_cell(const char *text) {
    for (; text != NULL && *text != '\0'; text++) {
        printf(*text == '|' ? "\\%c" : "%c", *text);
    }
}

static void print_table(lamina__table table) {
    if (table.count == 0) {
        printf("No parameters.\n");
        return;
    }
    printf("| key | value | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        lamina__text type = {0};
        lamina__param_type_text(param, &type);
        printf("| `%s` | ", param->name);
        print_cell(type.data);
        printf("%s%s | ", param->unit ? ", " : "", param->unit ? param->unit : "");
        if (param->required) {
            printf("required");
        } else if (param->def != NULL) {
            printf("`%s`", param->def);
        } else {
            printf("none");
        }
        printf(" | ");
        print_cell(param->doc);
        printf(" |\n");
        lamina__text_free(&type);
    }
}

static void print_common_keys(void) {
    printf("| key | meaning |\n|---|---|\n");
    for (const lamina__common_key *key = lamina__common_keys; key->name != NULL; key++) {
        printf("| `%s` | ", key->name);
        print_cell(key->doc);
        printf(" |\n");
    }
}

/* ---- A case, set up ------------------------------------------------------------------------ */

/* A node as it is written between braces. */
static void add_node(const lamina__node *node, lamina__text *text) {
    if (node->kind == LAMINA__NODE_SCALAR) {
        lamina__yaml_add_scalar(text, node->text);
        return;
    }
    const bool map = node->kind == LAMINA__NODE_MAP;
    lamina__text_add(text, map ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        lamina__text_add(text, "%s", i > 0 ? ", " : "");
        if (map) {
            lamina__text_add(text, "%s: ", node->keys[i]->text);
        }
        add_node(node->items[i], text);
    }
    lamina__text_add(text, map ? "}" : "]");
}

/* "conv: {filters: 4, kernel: 3}"; several inputs have to be named. */
static void add_config(const lamina_layer_type *type, const lamina__case *made,
                       lamina__text *text) {
    const lamina__node *params = lamina__node_get(made->doc->root, "params");
    const int32_t n_from = lamina__has_target(type) ? 1 : made->n_in;
    const size_t n_params = params != NULL ? params->count : 0;
    lamina__text_add(text, "%s", type->name);
    if (n_from < 2 && n_params == 0) {
        return;
    }
    lamina__text_add(text, ": {");
    for (int32_t i = 0; i < n_from && n_from > 1; i++) {
        lamina__text_add(text, "%s%c", i > 0 ? ", " : "from: [", 'a' + (int)i);
    }
    lamina__text_add(text, "%s%s", n_from > 1 ? "]" : "", n_from > 1 && n_params > 0 ? ", " : "");
    for (size_t i = 0; i < n_params; i++) {
        lamina__text_add(text, "%s%s: ", i > 0 ? ", " : "", params->keys[i]->text);
        add_node(params->items[i], text);
    }
    lamina__text_add(text, "}");
}

static void add_shapes(const lamina_shape *shapes, int32_t n, lamina__text *text) {
    char shape[128];
    for (int32_t i = 0; i < n; i++) {
        lamina__text_add(text, "%s%s", i > 0 ? ", " : "",
                         lamina__shape_text(&shapes[i], shape, sizeof(shape)));
    }
}

static void add_named(const char *name, const lamina_shape *shape, lamina__text *text) {
    char dims[128];
    lamina__text_add(text, "%s`%s` %s", text->length > 0 ? ", " : "", name,
                     lamina__shape_text(shape, dims, sizeof(dims)));
}

/* How a weight begins: "`weight` he". */
static void add_start(const lamina_weight *weight, lamina__text *text) {
    lamina__text_add(text, "%s`%s` begins ", text->length > 0 ? "; " : "", weight->name);
    const lamina__init init = lamina__init_declared(&weight->init);
    if (init.kind == LAMINA_INIT_CONSTANT) {
        lamina__text_add(text, "as ");
        lamina__text_add_double(text, init.value, false);
    } else {
        lamina__text_add(text, "`");
        lamina__init_write(&init, text);
        lamina__text_add(text, "`");
    }
    if (weight->flags & LAMINA_WEIGHT_NO_DECAY) {
        lamina__text_add(text, ", without weight decay");
    }
}

/* A case as its example: the columns of a row, and what is said of the weights below. */
typedef struct example {
    lamina__text config, in, out, weights, states, starts;
} example;

static void free_example(example *e) {
    lamina__text *texts[] = {&e->config, &e->in, &e->out, &e->weights, &e->states, &e->starts};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        lamina__text_free(texts[i]);
    }
}

static lamina_status make_example(const lamina__type_entry *entry, const char *text, example *e,
                                  lamina_error *error) {
    lamina__case made = {0};
    lamina__instance *instance = NULL;
    lamina_status status = lamina__case_read(entry, text, &made, error);
    if (status == LAMINA_OK) {
        status = lamina__instance_create(entry, entry->type->name, NULL, 0, 1, made.config,
                                         &instance, error);
    }
    if (status == LAMINA_OK) {
        const int64_t batch = made.in[0].dim[0];
        const lamina__cut cut = {!(entry->type->flags & LAMINA_NO_BACKWARD), 1, 1, 1, &batch, 0};
        status = lamina__instance_setup(instance, made.n_in, made.in, &cut, error);
    }
    if (status == LAMINA_OK) {
        add_config(entry->type, &made, &e->config);
        add_shapes(instance->in, instance->n_in, &e->in);
        add_shapes(instance->out, instance->n_out, &e->out);
        for (int32_t i = 0; i < instance->n_weights; i++) {
            add_named(instance->weights[i].name, &instance->weights[i].shape, &e->weights);
            add_start(&instance->weights[i], &e->starts);
        }
        for (int32_t i = 0; i < instance->n_states; i++) {
            add_named(instance->states[i].name, &instance->states[i].shape, &e->states);
        }
    }
    lamina__instance_free(instance);
    lamina__case_free(&made);
    return status;
}

static const char *or_none(const lamina__text *text) {
    return text->data != NULL ? text->data : "";
}

/* Examples; then how weights begin, as in the example with the most of them. */
static lamina_status print_examples(const lamina__type_entry *entry, lamina_error *error) {
    example examples[MOST_EXAMPLES] = {0};
    const char *const *cases = entry->type->cases;
    lamina_status status = LAMINA_OK;
    size_t n = 0, fullest = 0;
    bool weights = false, states = false;

    for (; cases != NULL && cases[n] != NULL && n < MOST_EXAMPLES && status == LAMINA_OK; n++) {
        status = make_example(entry, cases[n], &examples[n], error);
        weights = weights || examples[n].weights.length > 0;
        states = states || examples[n].states.length > 0;
        fullest = examples[n].starts.length > examples[fullest].starts.length ? n : fullest;
    }
    if (status == LAMINA_OK && n > 0) {
        printf("| example | input | output |%s%s\n|---|---|---|%s%s\n", weights ? " weights |" : "",
               states ? " running state |" : "", weights ? "---|" : "", states ? "---|" : "");
        for (size_t i = 0; i < n; i++) {
            printf("| `- %s` | %s | %s |", or_none(&examples[i].config), or_none(&examples[i].in),
                   or_none(&examples[i].out));
            if (weights) {
                printf(" %s |", or_none(&examples[i].weights));
            }
            if (states) {
                printf(" %s |", or_none(&examples[i].states));
            }
            printf("\n");
        }
        printf("\n");
    }
    if (status == LAMINA_OK && weights) {
        printf("Weights: %s.\n\n", or_none(&examples[fullest].starts));
    }
    for (size_t i = 0; i < n; i++) {
        free_example(&examples[i]);
    }
    return status;
}

/* ---- A type -------------------------------------------------------------------------------- */

static void print_inputs(const lamina_layer_type *type) {
    if (type->flags & LAMINA_IS_LOSS) {
        printf("A loss: takes the prediction and its target, gives the loss of each sample");
    } else if (type->flags & LAMINA_IS_METRIC) {
        printf("A metric: takes the prediction and its target; the mean of its values is reported, "
               "and it runs in evaluation only");
    } else if (type->min_in == type->max_in) {
        printf("Takes %d input%s", (int)type->min_in, type->min_in == 1 ? "" : "s");
    } else {
        printf("Takes %d to %d inputs", (int)type->min_in, (int)type->max_in);
    }
    if (!lamina__has_target(type)) {
        printf(", gives %d output%s", (int)type->n_out, type->n_out == 1 ? "" : "s");
    }
    printf(".");
}

static void print_flags(const lamina_layer_type *type) {
    static const struct {
        uint32_t flag;
        const char *words;
    } told[] = {
        {LAMINA_COUPLES_BATCH, " Couples the samples: each output depends on the whole batch."},
        {LAMINA_USES_RANDOM, " Uses random numbers."},
        {LAMINA_IN_PLACE, " Works in its input's memory where nobody else reads that."},
        {LAMINA_NEEDS_INPUT, " Its inputs are kept for the backward pass."},
        {LAMINA_NEEDS_OUTPUT, " Its outputs are kept for the backward pass."},
        {LAMINA_NO_BACKWARD, " Has no gradient."},
    };
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        if (type->flags & told[i].flag) {
            printf("%s", told[i].words);
        }
    }
}

lamina_status lamina__manual_type(const lamina__type_entry *entry, lamina_error *error) {
    const lamina_layer_type *type = entry->type;
    printf("### `%s`\n\n%s\n\n", type->name, type->doc ? type->doc : "");
    print_inputs(type);
    print_flags(type);
    printf("\n\n");
    print_table(lamina__type_table(type));
    printf("\n");
    lamina_status status = print_examples(entry, error);
    for (size_t i = 0; type->kernels != NULL && type->kernels[i] != NULL; i++) {
        const lamina_kernel *kernel = type->kernels[i];
        printf("- kernel `%s`: %s\n", kernel->name, kernel->doc ? kernel->doc : "");
    }
    printf(type->kernels != NULL ? "\n" : "");
    return status;
}

/* ---- All types ----------------------------------------------------------------------------- */

/* The title of the group that a type begins, or NULL: it goes on with the one before. */
static const char *begins_group(const lamina__registry *registry, size_t i) {
    const lamina__type_entry *entry = lamina__registry_at(registry, i);
    if (entry->plugin_path != NULL) {
        const bool first = i == 0 || lamina__registry_at(registry, i - 1)->plugin_path == NULL;
        return first ? "From plugins" : NULL;
    }
    for (const lamina__layer_group *group = lamina__layer_groups; group->title != NULL; group++) {
        if (strcmp(group->first, entry->type->name) == 0) {
            return group->title;
        }
    }
    return NULL;
}

static void print_index(const lamina__registry *registry) {
    printf("| | |\n|---|---|");
    for (size_t i = 0; i < lamina__registry_count(registry); i++) {
        const char *title = begins_group(registry, i);
        const char *name = lamina__registry_at(registry, i)->type->name;
        if (title != NULL) {
            printf("%s\n| %s | ", i > 0 ? " |" : "", title);
        }
        printf("%s[`%s`](#%s)", title != NULL ? "" : ", ", name, name);
    }
    printf(" |\n\n");
}

lamina_status lamina__manual_layers(const lamina__registry *registry, lamina_error *error) {
    lamina_status status = LAMINA_OK;
    printf("# Layers\n\n"
           "Made by `./dev docs` from the tables that read the config; `lamina layers TYPE` shows "
           "a type's own. Formulas and\ngradients are in [mathematics.md](mathematics.md), the "
           "other sections of a config in [config.md](config.md).\n\n");
    print_index(registry);
    printf("A layer is one entry of `network:`, its type with its parameters. Every layer also has "
           "these keys.\n\n");
    print_common_keys();
    printf("\nShapes are N,C,H,W (images) or N,F (features), the batch first. Where several inputs "
           "are named in an example, `a`, `b`, ...\nstand for other layers' names. A layer with "
           "several kernels gets the fastest on this machine, unless `kernels` names one.\n\n");
    for (size_t i = 0; i < lamina__registry_count(registry) && status == LAMINA_OK; i++) {
        const char *title = begins_group(registry, i);
        if (title != NULL) {
            printf("## %s\n\n", title);
        }
        status = lamina__manual_type(lamina__registry_at(registry, i), error);
    }
    return status;
}

/* ---- The config's other sections ------------------------------------------------------------ */

static void print_named(const char *what, const char *name, const char *doc, lamina__table table) {
    printf("### %s `%s`\n\n%s\n\n", what, name, doc ? doc : "");
    print_table(table);
    printf("\n");
}

/* Initialisers, for weights of any layer. */
static void print_initialisers(void) {
    printf("## Initialisers: `init` in a layer's entry\n\n"
           "`init: he` and `init: {type: he, fan: out}` are for the weight called `weight`; "
           "`init: {weight: he, bias: zeros}` names\nthem. What they mean is in "
           "[mathematics.md](mathematics.md#initial-weights).\n\n");
    for (const lamina__init_type *type = lamina__init_types; type->kind != 0; type++) {
        printf("### Initialiser `%s`\n\n%s", type->names[0], type->doc);
        for (int i = 1; type->names[i] != NULL; i++) {
            printf("%s`%s`", i == 1 ? " Also called " : ", ", type->names[i]);
        }
        printf("%s\n\n", type->names[1] != NULL ? "." : "");
        print_table(type->keys);
        printf("\n");
    }
}

void lamina__manual_config(void) {
    const char *name, *doc;
    lamina__table table;
    printf("# Config reference\n\nMade by `./dev docs` from the tables that read the config. The "
           "layers of `network:` are in [layers.md](layers.md).\n\n## Sections\n\n");
    for (size_t i = 0; i < LAMINA__N_SECTIONS; i++) {
        lamina__section section = lamina__section_at(i);
        print_named("Section", section.key[0] ? section.key : "(top level)", section.doc,
                    section.table);
    }
    printf("## Data: `data.train` and `data.test`\n\n");
    for (size_t i = 0; lamina__readers[i] != NULL; i++) {
        const lamina__reader *reader = lamina__readers[i];
        table = (lamina__table){reader->params, reader->n_params, sizeof(lamina_param)};
        print_named("Data type", reader->name, reader->doc, table);
    }
    printf("## Optimizers: `train.optimizer`\n\n");
    for (size_t i = 0; i < lamina__optimizer_types(); i++) {
        name = lamina__optimizer_type_at(i, &doc, &table);
        print_named("Optimizer", name, doc, table);
    }
    printf("## Schedules: `train.schedule`\n\n");
    for (size_t i = 0; i < lamina__schedule_types(); i++) {
        name = lamina__schedule_type_at(i, &doc, &table);
        print_named("Schedule", name, doc, table);
    }
    print_initialisers();
}
