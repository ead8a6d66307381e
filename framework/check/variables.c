/* Does a plugin keep variables of its own? Two shards that run at once would share them. A race may
 * not show when looked for by running, so here the writable memory of the plugin's file (its .data
 * and .bss) is compared before and after a call with other numbers in other places. */
#include "check/checker.h"

#include "base/alloc.h"

#include <link.h>
#include <stdio.h>
#include <string.h>

#define MAX_SEGMENTS 8

typedef struct segment {
    const unsigned char *data;
    size_t bytes;
    unsigned char *copy;
} segment;

typedef struct object {
    uintptr_t code; /* an address in it */
    segment segments[MAX_SEGMENTS];
    size_t n;
    bool found;
} object;

static uintptr_t segment_start(const struct dl_phdr_info *info, int i) {
    return (uintptr_t)info->dlpi_addr + (uintptr_t)info->dlpi_phdr[i].p_vaddr;
}

static int find_object(struct dl_phdr_info *info, size_t size, void *arg) {
    object *wanted = arg;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const uintptr_t start = segment_start(info, i);
        wanted->found =
            wanted->found || (info->dlpi_phdr[i].p_type == PT_LOAD && wanted->code >= start &&
                              wanted->code - start < info->dlpi_phdr[i].p_memsz);
    }
    for (int i = 0; wanted->found && i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_W) &&
            wanted->n < MAX_SEGMENTS) {
            wanted->segments[wanted->n++] =
                (segment){.data = (const unsigned char *)segment_start(info, i),
                          .bytes = info->dlpi_phdr[i].p_memsz};
        }
    }
    return wanted->found;
}

static lamina_status copy_segments(object *plugin, lamina_error *error) {
    for (size_t i = 0; i < plugin->n; i++) {
        plugin->segments[i].copy = lamina__alloc(plugin->segments[i].bytes);
        if (plugin->segments[i].copy == NULL) {
            return lamina__fail_memory(error, "check");
        }
        memcpy(plugin->segments[i].copy, plugin->segments[i].data, plugin->segments[i].bytes);
    }
    return LAMINA_OK;
}

static size_t changed_bytes(const object *plugin) {
    size_t changed = 0;
    for (size_t i = 0; i < plugin->n; i++) {
        for (size_t k = 0; k < plugin->segments[i].bytes; k++) {
            changed += plugin->segments[i].data[k] != plugin->segments[i].copy[k];
        }
    }
    return changed;
}

/* An address in the code of the kernel under test. */
static uintptr_t code_of(const lamina__rig *rig) {
    const lamina_layer_type *type = rig->instance->type;
    return type->kernels != NULL ? (uintptr_t)type->kernels[0]->run : (uintptr_t)type->forward;
}

static bool run_one(lamina__rig *rig, int32_t phase, int32_t shard, lamina__check_line *line) {
    const int64_t rest = rig->batch - 1;
    const bool couples = (rig->instance->type->flags & LAMINA_COUPLES_BATCH) != 0;
    const lamina__rig_call call = {.phase = phase,
                                   .shards = couples ? 0 : 2,
                                   .cut = {rest, 1},
                                   .one = couples ? 0 : shard + 1};
    lamina__fault fault;
    bool ok = lamina__rig_forward(rig, &call, &fault) &&
              (!lamina__has_backward(rig) || lamina__rig_backward(rig, &call, &fault));
    if (!ok) {
        lamina__line_fail(line, "%s", fault.text);
    }
    return ok;
}

lamina_status lamina__check_variables(lamina__checker *checker, lamina__rig *given,
                                      lamina__snapshot *base, lamina__check_line *line) {
    const int64_t batch = given->batch > 2 ? given->batch : 2;
    const lamina__rig_options options = {
        .kernel = checker->kernel,
        .batch = batch,
        .shards = checker->entry->type->flags & LAMINA_COUPLES_BATCH ? 1 : 2,
        .threads = 1,
        .training = given->instance->training,
        .n_samples = batch > 2 ? 3 : 2,
        .samples = {batch, batch > 2 ? batch - 1 : 1, 1}};
    object plugin = {.code = code_of(given)};
    lamina__rig *rig = NULL;
    (void)base;

    (void)dl_iterate_phdr(find_object, &plugin);
    if (checker->entry->plugin_path == NULL || plugin.n == 0) {
        line->outcome = LAMINA__CHECK_SKIPPED;
        snprintf(line->detail, sizeof(line->detail), "the type has no file of its own");
        return LAMINA_OK;
    }
    lamina_status status = lamina__rig_create(checker->entry, &checker->from, checker->options.seed,
                                              &options, &rig, checker->error);
    if (status != LAMINA_OK) {
        if (status != LAMINA_ERROR_MEMORY) {
            lamina__line_fail(line, "%.400s", checker->error->message);
            status = LAMINA_OK;
        }
        goto done;
    }
    /* The first call may fill tables that stay as they are. */
    if (!lamina__rig_draw(rig, checker->options.seed, &checker->from)) {
        status = lamina__fail_memory(checker->error, "check");
        goto done;
    }
    if (!run_one(rig, checker->call.phase, 0, line)) {
        goto done;
    }
    status = copy_segments(&plugin, checker->error);
    if (status == LAMINA_OK && !lamina__rig_draw(rig, checker->options.seed + 1, &checker->from)) {
        status = lamina__fail_memory(checker->error, "check");
    }
    if (status != LAMINA_OK || !run_one(rig, checker->call.phase, 1, line)) {
        goto done;
    }
    if (changed_bytes(&plugin) > 0) {
        lamina__line_fail(
            line,
            "forward() or backward() writes to variables of the plugin (%zu bytes of "
            "its data changed): shards that run at once share them; use saved tensors "
            "and scratch",
            changed_bytes(&plugin));
    }
done:
    for (size_t i = 0; i < plugin.n; i++) {
        lamina__free(plugin.segments[i].copy);
    }
    lamina__rig_free(rig);
    return status;
}
