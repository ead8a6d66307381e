/* lamina layers: what there is, and every parameter, from the tables that also read the config.
 * With --markdown or --sections it is a page of the manual (manual.c). */
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

/* ---- The command --------------------------------------------------------------------------- */

static int unknown_type(const lamina__registry *registry, const char *name) {
    const char *near = lamina__registry_nearest(registry, name);
    if (near != NULL) {
        return lamina__usage("layers: unknown layer type \"%s\"; did you mean \"%s\"?", name, near);
    }
    return lamina__usage("layers: unknown layer type \"%s\"; see \"lamina layers\"", name);
}

static int layers(const lamina__words *arguments, const lamina__words *plugins, bool markdown) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    static const lamina__diags none = {0};
    lamina_status status = lamina__registry_create(lamina__builtin_layers, &registry, &error);
    for (size_t i = 0; i < plugins->count && status == LAMINA_OK; i++) {
        status = lamina__registry_load(registry, plugins->items[i], &error);
    }
    int result = LAMINA__EXIT_DONE;
    const char *name = arguments->count > 0 ? arguments->items[0] : NULL;
    const lamina__type_entry *entry =
        status == LAMINA_OK && name != NULL ? lamina__registry_find(registry, name) : NULL;
    if (status == LAMINA_OK && name != NULL && entry == NULL) {
        result = unknown_type(registry, name);
    } else if (status == LAMINA_OK && markdown) {
        status = entry != NULL ? lamina__manual_type(entry, &error)
                               : lamina__manual_layers(registry, &error);
    } else if (status == LAMINA_OK && entry != NULL) {
        print_type(entry);
    } else if (status == LAMINA_OK) {
        print_list(registry);
    }
    if (status != LAMINA_OK) {
        result = lamina__report(NULL, &none, status, &error);
    }
    lamina__registry_free(registry);
    return result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    bool markdown = false, sections = false;
    lamina__common common = {0};
    const lamina__option table[] = {
        {"--markdown", NULL, LAMINA__OPTION_FLAG, &markdown,
         "as a page of the manual; without TYPE docs/layers.md"},
        {"--sections", NULL, LAMINA__OPTION_FLAG, &sections,
         "the other sections of a config instead, as a page of the manual: docs/config.md"},
        LAMINA__OPTION_PLUGIN(common),
    };
    lamina__words arguments = {0};
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result < 0 && sections) {
        lamina__manual_config();
        result = LAMINA__EXIT_DONE;
    } else if (result < 0) {
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
