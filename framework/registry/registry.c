/* The registry: layer types by name, built-in ones from a table and others from plugins.
 *
 * A plugin may have been built with another version of lamina/layer.h. So nothing here reads
 * further into one of its structs than the struct_size it gives, and each type is kept as a copy in
 * this host's own layout: fields that the plugin did not know are zero, fields that this host does
 * not know are left out. Everything behind the registry then reads whole structs. */
#include "registry/registry.h"

#include "base/alloc.h"
#include "registry/elf.h"
#include "registry/instance.h"
#include "registry/keys.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME    63
#define MAX_KERNELS 32
#define MAX_TYPES   1024
#define MAX_PARAMS  256

/* Where ABI 1.0 ended: what every plugin has. */
#define SIZE_THROUGH(type, field) (offsetof(type, field) + sizeof(((type *)NULL)->field))
#define MIN_PLUGIN_SIZE           SIZE_THROUGH(lamina_plugin, types)
#define MIN_TYPE_SIZE             SIZE_THROUGH(lamina_layer_type, cases)
#define MIN_KERNEL_SIZE           SIZE_THROUGH(lamina_kernel, destroy)
#define MIN_PARAM_SIZE            SIZE_THROUGH(lamina_param, reserved)

#define ALL_PASSES (LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS)
#define ALL_KERNEL_FLAGS                                                                           \
    ((uint32_t)(LAMINA_KERNEL_TOGETHER | LAMINA_KERNEL_LAST_RESORT | LAMINA_KERNEL_OPENS_REGIONS | \
                LAMINA_KERNEL_SHARES_PREPARE | LAMINA_KERNEL_FUSES_BACKWARD |                      \
                LAMINA_KERNEL_STAGES))

/* A type as the registry keeps it: the entry, and the copies it points to. */
typedef struct kept_type {
    lamina__type_entry entry;
    lamina_layer_type type;
    lamina_kernel *kernels;            /* the copies */
    const lamina_kernel **kernel_list; /* NULL-terminated, what type.kernels points to */
} kept_type;

typedef struct loaded_plugin {
    char *path; /* as given */
    char *real; /* with links resolved: two paths to one file are one plugin */
    char *name, *version;
} loaded_plugin;

struct lamina__registry {
    kept_type **types; /* pointers: entries stay where they are while the list grows */
    size_t n_types, types_capacity;
    loaded_plugin **plugins;
    size_t n_plugins, plugins_capacity;
};

/* ---- Is a type sound? ---------------------------------------------------------------------- */

/* Copies the part of a struct that both sides know. */
static void copy_known(void *dst, size_t dst_size, const void *src, size_t src_size) {
    memset(dst, 0, dst_size);
    memcpy(dst, src, src_size < dst_size ? src_size : dst_size);
}

static bool is_word(const char *text, size_t length) {
    if (length == 0 || length > MAX_NAME || text[0] < 'a' || text[0] > 'z') {
        return false;
    }
    for (size_t i = 1; i < length; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return true;
}

static lamina_status check_name(const char *name, bool builtin, lamina_error *error) {
    size_t length = strnlen(name, 2 * MAX_NAME + 2);
    const char *dot = memchr(name, '.', length);
    if (builtin) {
        if (!is_word(name, length)) {
            return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                "a built-in type's name is lower-case letters, digits and _, "
                                "without a dot");
        }
        return LAMINA_OK;
    }
    if (dot == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "a plugin's type is named vendor.name; names without a dot are kept "
                            "for Lamina itself");
    }
    size_t vendor = (size_t)(dot - name);
    if (!is_word(name, vendor) || !is_word(dot + 1, length - vendor - 1)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "a plugin's type is named vendor.name, each part of lower-case "
                            "letters, digits and _, at most %d of them",
                            MAX_NAME);
    }
    return LAMINA_OK;
}

static lamina_status check_flags(const lamina_layer_type *type, lamina_error *error) {
    if (type->flags & ~LAMINA_ALL_FLAGS) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "flags 0x%x hold bits that Lamina " LAMINA_VERSION
                            " does not know (it knows 0x%x)",
                            (unsigned)type->flags, LAMINA_ALL_FLAGS);
    }
    if ((type->flags & LAMINA_IS_LOSS) && (type->flags & LAMINA_NO_BACKWARD)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "LAMINA_IS_LOSS and LAMINA_NO_BACKWARD contradict each other: training "
                            "starts from the loss's backward()");
    }
    if ((type->flags & LAMINA_IS_METRIC) &&
        ((type->flags & LAMINA_IS_LOSS) || !(type->flags & LAMINA_NO_BACKWARD))) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "LAMINA_IS_METRIC goes with LAMINA_NO_BACKWARD, and not with "
                            "LAMINA_IS_LOSS");
    }
    return LAMINA_OK;
}

static lamina_status check_counts(const lamina_layer_type *type, lamina_error *error) {
    if (type->min_in < 1 || type->max_in < type->min_in || type->max_in > LAMINA__MAX_INPUTS) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "min_in %d and max_in %d: 1 <= min_in <= max_in <= %d is needed",
                            (int)type->min_in, (int)type->max_in, LAMINA__MAX_INPUTS);
    }
    if (type->n_out < 1 || type->n_out > LAMINA__MAX_OUTPUTS) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "n_out is %d, it must be 1 to %d",
                            (int)type->n_out, LAMINA__MAX_OUTPUTS);
    }
    if (lamina__has_target(type) && (type->min_in != 2 || type->max_in != 2 || type->n_out != 1)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "a %s has min_in 2, max_in 2 (prediction and target) and n_out 1, "
                            "this one %d, %d and %d",
                            type->flags & LAMINA_IS_LOSS ? "loss" : "metric", (int)type->min_in,
                            (int)type->max_in, (int)type->n_out);
    }
    return LAMINA_OK;
}

static lamina_status check_params(const lamina_layer_type *type, lamina_error *error) {
    if (type->n_params == 0) {
        return LAMINA_OK;
    }
    if (type->n_params > MAX_PARAMS || type->params == NULL || type->config_size == 0) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "n_params is %zu: then params and config_size must be set, and it is "
                            "at most %d",
                            type->n_params, MAX_PARAMS);
    }
    if (type->param_stride < MIN_PARAM_SIZE || type->param_stride % _Alignof(lamina_param) != 0) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "param_stride is %zu, it must be sizeof(lamina_param)",
                            type->param_stride);
    }
    lamina__table table = lamina__type_table(type);
    lamina_status status = lamina__table_check(table, type->config_size, error);
    if (status != LAMINA_OK) {
        return status;
    }
    for (size_t i = 0; i < type->n_params; i++) {
        const char *name = lamina__table_at(table, i)->name;
        for (const lamina__common_key *key = lamina__common_keys; key->name != NULL; key++) {
            if (strcmp(name, key->name) == 0) {
                return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                    "parameter \"%s\": every layer has a key of that name already",
                                    name);
            }
        }
    }
    return LAMINA_OK;
}

static lamina_status check_kernel(const lamina_kernel *kernel, lamina_error *error) {
    size_t length = kernel->name ? strnlen(kernel->name, MAX_NAME + 1) : 0;
    if (!is_word(kernel->name, length) || strcmp(kernel->name, "auto") == 0) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "a kernel's name is lower-case letters, digits and _, and not "
                            "\"auto\"");
    }
    if (kernel->passes == 0 || (kernel->passes & ~(uint32_t)ALL_PASSES)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "kernel \"%s\": passes 0x%x must be some of 0x%x", kernel->name,
                            (unsigned)kernel->passes, (unsigned)ALL_PASSES);
    }
    if (kernel->flags & ~ALL_KERNEL_FLAGS) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "kernel \"%s\": flags 0x%x hold bits that Lamina " LAMINA_VERSION
                            " does not know (it knows 0x%x)",
                            kernel->name, (unsigned)kernel->flags, (unsigned)ALL_KERNEL_FLAGS);
    }
    if (kernel->run == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "kernel \"%s\" has no run()", kernel->name);
    }
    return LAMINA_OK;
}

/* Fills kept->kernels and kernel_list from the type's own list. */
static lamina_status keep_kernels(kept_type *kept, lamina_error *error) {
    const lamina_kernel *const *given = kept->type.kernels;
    uint32_t passes = 0;
    size_t n = 0;
    while (n <= MAX_KERNELS && given[n] != NULL) {
        n++;
    }
    if (n == 0 || n > MAX_KERNELS) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "kernels must hold 1 to %d kernels and end with NULL", MAX_KERNELS);
    }
    kept->kernels = lamina__calloc(n, sizeof(*kept->kernels));
    kept->kernel_list = lamina__calloc(n + 1, sizeof(*kept->kernel_list));
    if (kept->kernels == NULL || kept->kernel_list == NULL) {
        return lamina__fail_memory(error, "list of kernels");
    }
    for (size_t i = 0; i < n; i++) {
        lamina_kernel *kernel = &kept->kernels[i];
        if (given[i]->struct_size < MIN_KERNEL_SIZE) {
            return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                "kernel %zu: struct_size is %zu, it must be sizeof(lamina_kernel)",
                                i, given[i]->struct_size);
        }
        copy_known(kernel, sizeof(*kernel), given[i], given[i]->struct_size);
        kernel->struct_size = sizeof(*kernel);
        lamina_status status = check_kernel(kernel, error);
        if (status != LAMINA_OK) {
            return status;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(kept->kernels[k].name, kernel->name) == 0) {
                return lamina__fail(error, LAMINA_ERROR_PLUGIN, "two kernels are named \"%s\"",
                                    kernel->name);
            }
        }
        kept->kernel_list[i] = kernel;
        passes |= kernel->passes;
    }
    if (!(passes & LAMINA_PASS_FORWARD)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "no kernel runs forward");
    }
    if (passes == LAMINA_PASS_FORWARD && !(kept->type.flags & LAMINA_NO_BACKWARD)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "no kernel runs backward; if there is none, set LAMINA_NO_BACKWARD");
    }
    kept->type.kernels = kept->kernel_list;
    return LAMINA_OK;
}

static lamina_status check_functions(kept_type *kept, lamina_error *error) {
    const lamina_layer_type *type = &kept->type;
    if (type->setup == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "setup is NULL");
    }
    if (type->kernels != NULL) {
        if (type->forward != NULL || type->backward != NULL) {
            return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                "has both forward or backward and kernels: give the one or the "
                                "other");
        }
        return keep_kernels(kept, error);
    }
    if (type->forward == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "has neither forward nor kernels");
    }
    if ((type->backward == NULL) != ((type->flags & LAMINA_NO_BACKWARD) != 0)) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            type->backward == NULL
                                ? "backward is NULL; if there is none, set LAMINA_NO_BACKWARD"
                                : "has a backward and LAMINA_NO_BACKWARD too");
    }
    return LAMINA_OK;
}

static void free_type(kept_type *kept) {
    if (kept != NULL) {
        lamina__free(kept->kernel_list);
        lamina__free(kept->kernels);
        lamina__free(kept);
    }
}

/* A checked copy of a type. Errors begin with its name, as far as it has one. */
static lamina_status keep_type(const lamina_layer_type *given, bool builtin, kept_type **result,
                               lamina_error *error) {
    if (given->struct_size < MIN_TYPE_SIZE) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "a layer type's struct_size is %zu; it must be "
                            "sizeof(lamina_layer_type), which was never less than %zu",
                            given->struct_size, (size_t)MIN_TYPE_SIZE);
    }
    if (given->name == NULL || given->name[0] == '\0') {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "a layer type has no name");
    }
    kept_type *kept = lamina__calloc(1, sizeof(*kept));
    if (kept == NULL) {
        return lamina__fail_memory(error, "layer type");
    }
    copy_known(&kept->type, sizeof(kept->type), given, given->struct_size);
    kept->type.struct_size = sizeof(kept->type);
    kept->entry.type = &kept->type;

    lamina_status status = check_name(kept->type.name, builtin, error);
    if (status == LAMINA_OK && (kept->type.doc == NULL || kept->type.doc[0] == '\0')) {
        status = lamina__fail(error, LAMINA_ERROR_PLUGIN,
                              "doc is missing: one sentence that says what the layer does");
    }
    if (status == LAMINA_OK) {
        status = check_flags(&kept->type, error);
    }
    if (status == LAMINA_OK) {
        status = check_counts(&kept->type, error);
    }
    if (status == LAMINA_OK) {
        status = check_params(&kept->type, error);
    }
    if (status == LAMINA_OK) {
        status = check_functions(kept, error);
    }
    if (status != LAMINA_OK) {
        lamina__error_prefix(error, "layer type \"%.128s\"", kept->type.name);
        free_type(kept);
        return status;
    }
    *result = kept;
    return LAMINA_OK;
}

/* ---- Adding types -------------------------------------------------------------------------- */

static const kept_type *find_type(const lamina__registry *registry, const char *name) {
    for (size_t i = 0; i < registry->n_types; i++) {
        if (strcmp(registry->types[i]->type.name, name) == 0) {
            return registry->types[i];
        }
    }
    return NULL;
}

/* Takes types registry->n_types and on back out. */
static void forget_types(lamina__registry *registry, size_t n_types) {
    while (registry->n_types > n_types) {
        free_type(registry->types[--registry->n_types]);
    }
}

/* All types of a NULL-terminated list, or none. plugin: NULL for the built-in ones. */
static lamina_status add_types(lamina__registry *registry, const lamina_layer_type *const *types,
                               const loaded_plugin *plugin, lamina_error *error) {
    size_t before = registry->n_types;
    lamina_status status = LAMINA_OK;
    for (size_t i = 0; types[i] != NULL; i++) {
        kept_type *kept = NULL;
        if (i == MAX_TYPES) {
            status =
                lamina__fail(error, LAMINA_ERROR_PLUGIN,
                             "more than %d layer types; does the list end with NULL?", MAX_TYPES);
            goto failed;
        }
        status = keep_type(types[i], plugin == NULL, &kept, error);
        if (status != LAMINA_OK) {
            goto failed;
        }
        const kept_type *other = find_type(registry, kept->type.name);
        if (other != NULL) {
            const char *path = other->entry.plugin_path;
            status = lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                  "layer type \"%s\" is already taken by %s", kept->type.name,
                                  path == NULL                     ? "a built-in layer"
                                  : plugin && path == plugin->path ? "this same plugin"
                                                                   : path);
            free_type(kept);
            goto failed;
        }
        if (lamina__grow((void **)&registry->types, &registry->types_capacity,
                         registry->n_types + 1, sizeof(*registry->types)) != 0) {
            status = lamina__fail_memory(error, "list of layer types");
            free_type(kept);
            goto failed;
        }
        if (plugin != NULL) {
            kept->entry.plugin_path = plugin->path;
            kept->entry.plugin_name = plugin->name;
            kept->entry.plugin_version = plugin->version;
        }
        registry->types[registry->n_types++] = kept;
    }
    return LAMINA_OK;

failed:
    forget_types(registry, before);
    return status;
}

/* ---- Plugins ------------------------------------------------------------------------------- */

static void free_plugin(loaded_plugin *plugin) {
    if (plugin != NULL) {
        lamina__free(plugin->path);
        lamina__free(plugin->real);
        lamina__free(plugin->name);
        lamina__free(plugin->version);
        lamina__free(plugin);
    }
}

/* The file with links resolved, in real[PATH_MAX]; dlopen is never left to search for it. */
static lamina_status resolve(const char *path, char *real, lamina_error *error) {
    if (realpath(path, real) == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "plugin %s: %s", path, strerror(errno));
    }
    return LAMINA_OK;
}

typedef const lamina_plugin *entry_fn(void);

static lamina_status open_plugin(const char *path, const char *real, const lamina_plugin **plugin,
                                 lamina_error *error) {
    void *library = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *reason = dlerror();
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "plugin %s: cannot be loaded: %s", path,
                            reason ? reason : "unknown reason");
    }
    void *symbol = dlsym(library, "lamina_plugin_entry_v1");
    if (symbol == NULL) {
        for (int major = 2; major < 10; major++) {
            char later[32];
            snprintf(later, sizeof(later), "lamina_plugin_entry_v%d", major);
            if (dlsym(library, later) != NULL) {
                return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                                    "plugin %s: is built for layer interface %d, Lamina "
                                    "" LAMINA_VERSION " has %d; use a Lamina that has version %d",
                                    path, major, LAMINA_ABI_MAJOR, major);
            }
        }
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: does not export lamina_plugin_entry_v1, so it is no plugin "
                            "of Lamina",
                            path);
    }
    entry_fn *entry;
    memcpy(&entry, &symbol, sizeof(entry)); /* ISO C has no cast from object to function pointer */
    *plugin = entry();
    if (*plugin == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: lamina_plugin_entry_v1() returned NULL", path);
    }
    return LAMINA_OK;
}

/* `known`: the plugin's struct as far as this host knows it. */
static lamina_status check_plugin(const char *path, const lamina_plugin *plugin,
                                  lamina_plugin *known, lamina_error *error) {
    if (plugin->struct_size < MIN_PLUGIN_SIZE) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: struct_size is %zu, it must be sizeof(lamina_plugin)", path,
                            plugin->struct_size);
    }
    copy_known(known, sizeof(*known), plugin, plugin->struct_size);
    if (known->abi_major != LAMINA_ABI_MAJOR) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: is built for layer interface %u.%u, Lamina " LAMINA_VERSION
                            " has %d.%d; rebuild it with this Lamina's lamina/layer.h",
                            path, (unsigned)known->abi_major, (unsigned)known->abi_minor,
                            LAMINA_ABI_MAJOR, LAMINA_ABI_MINOR);
    }
    if (known->abi_minor > LAMINA_ABI_MINOR) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: needs layer interface %u.%u, Lamina " LAMINA_VERSION
                            " has %d.%d; update Lamina, or rebuild the plugin with this Lamina's "
                            "lamina/layer.h",
                            path, (unsigned)known->abi_major, (unsigned)known->abi_minor,
                            LAMINA_ABI_MAJOR, LAMINA_ABI_MINOR);
    }
    if (known->name == NULL || known->version == NULL || known->types == NULL ||
        known->types[0] == NULL) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: needs a name, a version and at least one layer type", path);
    }
    return LAMINA_OK;
}

lamina_status lamina__registry_load(lamina__registry *registry, const char *path,
                                    lamina_error *error) {
    char real[PATH_MAX];
    const lamina_plugin *given = NULL;
    lamina_plugin known;
    loaded_plugin *plugin = NULL;

    lamina_status status = resolve(path, real, error);
    if (status != LAMINA_OK) {
        return status;
    }
    for (size_t i = 0; i < registry->n_plugins; i++) {
        if (strcmp(registry->plugins[i]->real, real) == 0) {
            return LAMINA_OK;
        }
    }
    status = lamina__elf_check(real, path, error);
    if (status == LAMINA_OK) {
        status = open_plugin(path, real, &given, error);
    }
    if (status == LAMINA_OK) {
        status = check_plugin(path, given, &known, error);
    }
    if (status != LAMINA_OK) {
        return status;
    }

    plugin = lamina__calloc(1, sizeof(*plugin));
    if (plugin == NULL) {
        return lamina__fail_memory(error, path);
    }
    plugin->path = lamina__strdup(path);
    plugin->real = lamina__strdup(real);
    plugin->name = lamina__strdup(known.name);
    plugin->version = lamina__strdup(known.version);
    if (plugin->path == NULL || plugin->real == NULL || plugin->name == NULL ||
        plugin->version == NULL ||
        lamina__grow((void **)&registry->plugins, &registry->plugins_capacity,
                     registry->n_plugins + 1, sizeof(*registry->plugins)) != 0) {
        status = lamina__fail_memory(error, path);
        goto failed;
    }
    status = add_types(registry, known.types, plugin, error);
    if (status != LAMINA_OK) {
        lamina__error_prefix(error, "plugin %s", path);
        goto failed;
    }
    registry->plugins[registry->n_plugins++] = plugin;
    return LAMINA_OK;

failed:
    free_plugin(plugin);
    return status;
}

/* ---- The registry -------------------------------------------------------------------------- */

lamina_status lamina__registry_create(const lamina_layer_type *const *builtin,
                                      lamina__registry **registry, lamina_error *error) {
    lamina__registry *made = lamina__calloc(1, sizeof(*made));
    if (made == NULL) {
        return lamina__fail_memory(error, "registry");
    }
    lamina_status status = add_types(made, builtin, NULL, error);
    if (status != LAMINA_OK) {
        lamina__registry_free(made);
        return status;
    }
    *registry = made;
    return LAMINA_OK;
}

void lamina__registry_free(lamina__registry *registry) {
    if (registry == NULL) {
        return;
    }
    forget_types(registry, 0);
    for (size_t i = 0; i < registry->n_plugins; i++) {
        free_plugin(registry->plugins[i]);
    }
    lamina__free(registry->types);
    lamina__free(registry->plugins);
    lamina__free(registry);
}

const lamina__type_entry *lamina__registry_find(const lamina__registry *registry,
                                                const char *name) {
    const kept_type *kept = find_type(registry, name);
    return kept ? &kept->entry : NULL;
}

size_t lamina__registry_count(const lamina__registry *registry) {
    return registry->n_types;
}

const lamina__type_entry *lamina__registry_at(const lamina__registry *registry, size_t i) {
    return i < registry->n_types ? &registry->types[i]->entry : NULL;
}

const char *lamina__registry_nearest(const lamina__registry *registry, const char *name) {
    const char **names = lamina__calloc(registry->n_types, sizeof(*names));
    if (names == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < registry->n_types; i++) {
        names[i] = registry->types[i]->type.name;
    }
    const char *nearest = lamina__nearest(name, names, registry->n_types);
    lamina__free(names);
    return nearest;
}

lamina__table lamina__type_table(const lamina_layer_type *type) {
    return (lamina__table){type->params, type->n_params, type->param_stride};
}
