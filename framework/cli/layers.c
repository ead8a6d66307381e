/* lamina layers: what there is, and every parameter, from the tables that also read the config.
 * With
 * --markdown it is the reference manual of the config. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "layers/builtin.h"
#include "registry/keys.h"

#include <stdio.h>
#include <string.h>

/* ---- Plain --------------------------------------------------------------------------------- */

static void print_table(lamina__table table) {
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        lamina__text type = {0};
        lamina__param_type_text(param, &type);
        printf("  %-16s %s", param->name, param->doc ? param->doc : "");
        printf("\n  %-16s %s%s%s, %s%s\n", "", type.data ? type.data : "", param->unit ? " " : "",
               param->unit ? param->unit : "", param->required ? "required" : "default ",
               param->required ? ""
               : param->def    ? param->def
                               : "none");
        lamina__text_free(&type);
    }
}

static void print_kernels(const lamina_layer_type *type) {
    for (size_t i = 0; type->kernels != NULL && type->kernels[i] != NULL; i++) {
        const lamina_kernel *kernel = type->kernels[i];
        printf("%s%s", i == 0 ? "kernels: " : ", ", kernel->name);
    }
    if (type->kernels != NULL) {
        printf("\n");
    }
}

static void print_type(const lamina__type_entry *entry) {
    const lamina_layer_type *type = entry->type;
    printf("%s: %s\n", type->name, type->doc ? type->doc : "");
    if (entry->plugin_path != NULL) {
        lamina__say(stdout, "from %s (%s %s)", entry->plugin_path, entry->plugin_name,
                    entry->plugin_version);
    }
    print_table(lamina__type_table(type));
    print_kernels(type);
}

static void print_list(const lamina__registry *registry) {
    for (size_t i = 0; i < lamina__registry_count(registry); i++) {
        const lamina__type_entry *entry = lamina__registry_at(registry, i);
        printf("%-16s %s\n", entry->type->name, entry->type->doc ? entry->type->doc : "");
    }
    printf("\nEvery layer also has these keys:\n");
    for (const lamina__common_key *key = lamina__common_keys; key->name != NULL; key++) {
        printf("  %-19s %s\n", key->name, key->doc);
    }
}

/* ---- Markdown ------------------------------------------------------------------------------ */

static void markdown_table(lamina__table table) {
    if (table.count == 0) {
        printf("No parameters.\n");
        return;
    }
    printf("| key | value | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        lamina__text type = {0};
        lamina__param_type_text(param, &type);
        const char *quote = !param->required && param->def ? "`" : "";
        printf("| `%s` | %s%s%s | %s%s%s | %s |\n", param->name, type.data ? type.data : "",
               param->unit ? ", " : "", param->unit ? param->unit : "", quote,
               param->required ? "required"
               : param->def    ? param->def
                               : "none",
               quote, param->doc ? param->doc : "");
        lamina__text_free(&type);
    }
}

static void markdown_type(const lamina__type_entry *entry) {
    const lamina_layer_type *type = entry->type;
    printf("### `%s`\n\n%s\n\n", type->name, type->doc ? type->doc : "");
    markdown_table(lamina__type_table(type));
    printf("\n");
    for (size_t i = 0; type->kernels != NULL && type->kernels[i] != NULL; i++) {
        const lamina_kernel *kernel = type->kernels[i];
        printf("%s- kernel `%s`: %s\n", "", kernel->name, kernel->doc ? kernel->doc : "");
    }
    printf(type->kernels != NULL ? "\n" : "");
}

static void markdown_named(const char *what, const char *name, const char *doc,
                           lamina__table table) {
    printf("### %s `%s`\n\n%s\n\n", what, name, doc ? doc : "");
    markdown_table(table);
    printf("\n");
}

static void markdown_all(const lamina__registry *registry) {
    const char *name, *doc;
    lamina__table table;
    printf("# Config reference\n\nMade by `lamina layers --markdown` from the tables that read "
           "the config.\n\n## Sections\n\n");
    for (size_t i = 0; i < LAMINA__N_SECTIONS; i++) {
        lamina__section section = lamina__section_at(i);
        markdown_named("Section", section.key[0] ? section.key : "(top level)", section.doc,
                       section.table);
    }
    printf("## Data: `data.train` and `data.test`\n\n");
    for (size_t i = 0; lamina__readers[i] != NULL; i++) {
        const lamina__reader *reader = lamina__readers[i];
        table = (lamina__table){reader->params, reader->n_params, sizeof(lamina_param)};
        markdown_named("Data type", reader->name, reader->doc, table);
    }
    printf("## Layers\n\nEvery layer also has these keys.\n\n| key | meaning |\n|---|---|\n");
    for (const lamina__common_key *key = lamina__common_keys; key->name != NULL; key++) {
        printf("| `%s` | %s |\n", key->name, key->doc);
    }
    printf("\n");
    for (size_t i = 0; i < lamina__registry_count(registry); i++) {
        markdown_type(lamina__registry_at(registry, i));
    }
    printf("## Optimizers: `train.optimizer`\n\n");
    for (size_t i = 0; i < lamina__optimizer_types(); i++) {
        name = lamina__optimizer_type_at(i, &doc, &table);
        markdown_named("Optimizer", name, doc, table);
    }
    printf("## Schedules: `train.schedule`\n\n");
    for (size_t i = 0; i < lamina__schedule_types(); i++) {
        name = lamina__schedule_type_at(i, &doc, &table);
        markdown_named("Schedule", name, doc, table);
    }
}

/* ---- The command --------------------------------------------------------------------------- */

static int layers(const lamina__words *arguments, const lamina__words *plugins, bool markdown) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    static const lamina__diags none = {0};
    int result = LAMINA__EXIT_DONE;
    lamina_status status = lamina__registry_create(lamina__builtin_layers, &registry, &error);
    for (size_t i = 0; i < plugins->count && status == LAMINA_OK; i++) {
        status = lamina__registry_load(registry, plugins->items[i], &error);
    }
    if (status != LAMINA_OK) {
        result = lamina__report(NULL, &none, status, &error);
    } else if (arguments->count == 0) {
        (markdown ? markdown_all : print_list)(registry);
    } else {
        const char *name = arguments->items[0];
        const lamina__type_entry *entry = lamina__registry_find(registry, name);
        const char *near = lamina__registry_nearest(registry, name);
        if (entry != NULL) {
            (markdown ? markdown_type : print_type)(entry);
        } else if (near != NULL) {
            result = lamina__usage("layers: unknown layer type \"%s\"; did you mean \"%s\"?", name,
                                   near);
        } else {
            result =
                lamina__usage("layers: unknown layer type \"%s\"; see \"lamina layers\"", name);
        }
    }
    lamina__registry_free(registry);
    return result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    bool markdown = false;
    lamina__common common = {0};
    const lamina__option table[] = {
        {"--markdown", NULL, LAMINA__OPTION_FLAG, &markdown,
         "as a page of the manual; without TYPE the whole config reference"},
        LAMINA__OPTION_PLUGIN(common),
    };
    lamina__words arguments = {0};
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result < 0) {
        result = layers(&arguments, &common.plugins, markdown);
    }
    lamina__common_free(&common);
    lamina__free(arguments.items);
    return result;
}

const lamina__command lamina__layers_command = {
    .name = "layers",
    .arguments = "[TYPE]",
    .summary = "the layer types there are, and every parameter",
    .max_arguments = 1,
    .run = run,
};
