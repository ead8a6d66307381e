/* The registry: what it takes, what it refuses and how it says so. */
#include "base/alloc.h"
#include "base/memory.h"
#include "layers/builtin.h"
#include "registry/instance.h"
#include "registry/registry.h"
#include "support.h"

#include <link.h>
#include <stddef.h>

/* ---- A type to spoil in many ways ---------------------------------------------------------- */

static int32_t setup(void *self, lamina_call *call, const lamina_setup *s) {
    (void)self;
    return call->host->set_output(call, 0, s->in[0]);
}

static int32_t pass(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call, (void)io;
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t passes,
                   const lamina_io *io) {
    (void)self, (void)kernel, (void)call, (void)passes, (void)io;
    return LAMINA_OK;
}

typedef struct config {
    double beta;
} config;

static const lamina_param sound_params[] = {
    {.name = "beta", .doc = "Steepness.", .type = LAMINA_REAL, .min = 0, .max = 10, .def = "1"},
};

static lamina_layer_type sound_type(void) {
    return (lamina_layer_type){.struct_size = sizeof(lamina_layer_type),
                               .name = "sound",
                               .doc = "Does nothing.",
                               .min_in = 1,
                               .max_in = 1,
                               .n_out = 1,
                               .config_size = sizeof(config),
                               .n_params = 1,
                               .param_stride = sizeof(lamina_param),
                               .params = sound_params,
                               .setup = setup,
                               .forward = pass,
                               .backward = pass};
}

static lamina_kernel sound_kernel(void) {
    return (lamina_kernel){.struct_size = sizeof(lamina_kernel),
                           .name = "reference",
                           .doc = "Does nothing.",
                           .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                           .run = run};
}

static lamina_status create_with(const lamina_layer_type *type, lamina__registry **registry,
                                 lamina_error *error) {
    const lamina_layer_type *const types[] = {type, NULL};
    *registry = NULL;
    *error = (lamina_error){0};
    return lamina__registry_create(types, registry, error);
}

static void takes(const lamina_layer_type *type) {
    lamina__registry *registry;
    lamina_error error;
    CU_ASSERT_EQUAL(create_with(type, &registry, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    lamina__registry_free(registry);
}

static void refuses(const lamina_layer_type *type, const char *part) {
    lamina__registry *registry;
    lamina_error error;
    CU_ASSERT_EQUAL(create_with(type, &registry, &error), LAMINA_ERROR_PLUGIN);
    CU_ASSERT_EQUAL(error.code, LAMINA_ERROR_PLUGIN);
    CU_ASSERT_PTR_NULL(registry);
    TEST_CONTAINS(error.message, part);
}

/* ---- Types --------------------------------------------------------------------------------- */

static void builtin(void) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    CU_ASSERT_EQUAL_FATAL(lamina__registry_create(lamina__builtin_layers, &registry, &error),
                          LAMINA_OK);
    CU_ASSERT(lamina__registry_count(registry) >= 7);
    const lamina__type_entry *conv = lamina__registry_find(registry, "conv");
    CU_ASSERT_PTR_NOT_NULL_FATAL(conv);
    TEST_TEXT(conv->type->name, "conv");
    CU_ASSERT_PTR_NULL(conv->plugin_path);
    CU_ASSERT_PTR_NULL(lamina__registry_find(registry, "conv2d"));
    CU_ASSERT_PTR_NULL(lamina__registry_find(registry, ""));
    CU_ASSERT_PTR_NULL(lamina__registry_at(registry, lamina__registry_count(registry)));
    TEST_TEXT(lamina__registry_nearest(registry, "maxpool"), "max_pool");
    CU_ASSERT_PTR_NULL(lamina__registry_nearest(registry, "xyzzyxyzzy"));
    for (size_t i = 0; i < lamina__registry_count(registry); i++) {
        const lamina__type_entry *entry = lamina__registry_at(registry, i);
        CU_ASSERT_PTR_EQUAL(entry, lamina__registry_find(registry, entry->type->name));
        CU_ASSERT_EQUAL(lamina__type_table(entry->type).count, entry->type->n_params);
    }
    lamina__registry_free(registry);
    lamina__registry_free(NULL);
}

static void unsound_types(void) {
    lamina_layer_type type = sound_type();
    takes(&type);
    type.name = "Sound";
    refuses(&type, "lower-case");
    type.name = "vendor.sound";
    refuses(&type, "without a dot");
    type.name = "9lives";
    refuses(&type, "lower-case");
    type.name = "";
    refuses(&type, "has no name");
    type.name = NULL;
    refuses(&type, "has no name");
    type = sound_type();
    type.doc = NULL;
    refuses(&type, "layer type \"sound\": doc is missing");
    type = sound_type();
    type.struct_size = 40;
    refuses(&type, "struct_size is 40");
    type = sound_type();
    type.flags = 1u << 20;
    refuses(&type, "flags 0x100000 hold bits");
    type = sound_type();
    type.flags = LAMINA_IS_LOSS;
    refuses(&type, "a loss has min_in 2, max_in 2");
    type.min_in = type.max_in = 2;
    takes(&type);
    type.flags |= LAMINA_NO_BACKWARD;
    refuses(&type, "contradict each other");
    type.flags = LAMINA_IS_METRIC;
    refuses(&type, "LAMINA_IS_METRIC goes with LAMINA_NO_BACKWARD");
    type.flags = LAMINA_IS_METRIC | LAMINA_IS_LOSS;
    refuses(&type, "and not with LAMINA_IS_LOSS");
    type.flags = LAMINA_IS_METRIC | LAMINA_NO_BACKWARD;
    type.backward = NULL;
    takes(&type);
    type.max_in = 3;
    refuses(&type, "a metric has min_in 2, max_in 2");
}

static void unsound_counts_and_functions(void) {
    lamina_layer_type type = sound_type();
    type.min_in = 0;
    refuses(&type, "min_in 0 and max_in 1");
    type = sound_type();
    type.min_in = 2;
    refuses(&type, "min_in 2 and max_in 1");
    type = sound_type();
    type.max_in = 1000;
    refuses(&type, "max_in 1000");
    type = sound_type();
    type.n_out = 0;
    refuses(&type, "n_out is 0");
    type = sound_type();
    type.setup = NULL;
    refuses(&type, "setup is NULL");
    type = sound_type();
    type.forward = NULL;
    refuses(&type, "has neither forward nor kernels");
    type = sound_type();
    type.backward = NULL;
    refuses(&type, "set LAMINA_NO_BACKWARD");
    type.flags = LAMINA_NO_BACKWARD;
    takes(&type);
    type.backward = pass;
    refuses(&type, "has a backward and LAMINA_NO_BACKWARD too");
}

static void unsound_params(void) {
    lamina_param params[1] = {sound_params[0]};
    lamina_layer_type type = sound_type();
    type.params = params;
    takes(&type);
    params[0].name = "from";
    refuses(&type, "parameter \"from\": every layer has a key of that name already");
    params[0] = sound_params[0];
    params[0].def = "11";
    refuses(&type, "beta");
    params[0] = sound_params[0];
    params[0].type = 99;
    refuses(&type, "beta");
    params[0] = sound_params[0];
    params[0].offset = sizeof(config);
    refuses(&type, "beta");
    type = sound_type();
    type.params = NULL;
    refuses(&type, "n_params is 1");
    type = sound_type();
    type.n_params = (size_t)1 << 40;
    refuses(&type, "n_params is");
    type = sound_type();
    type.param_stride = 8;
    refuses(&type, "param_stride is 8");
}

static void kernels(void) {
    lamina_layer_type type = sound_type();
    lamina_kernel one = sound_kernel(), two = sound_kernel();
    const lamina_kernel *list[] = {&one, &two, NULL};
    type.kernels = list;
    two.name = "other";
    refuses(&type, "has both forward or backward and kernels");
    type.forward = type.backward = NULL;
    takes(&type);
    two.name = "reference";
    refuses(&type, "two kernels are named \"reference\"");
    two.name = "auto";
    refuses(&type, "not \"auto\"");
    two.name = NULL;
    refuses(&type, "a kernel's name");
    two = sound_kernel();
    two.name = "other";
    two.struct_size = 8;
    refuses(&type, "kernel 1: struct_size is 8");
    two.struct_size = sizeof(two);
    two.passes = 8;
    refuses(&type, "kernel \"other\": passes 0x8");
    two.passes = LAMINA_PASS_FORWARD;
    two.flags = 1u << 20;
    refuses(&type, "kernel \"other\": flags 0x100000");
    two.flags = 0;
    two.run = NULL;
    refuses(&type, "kernel \"other\" has no run()");
    list[1] = NULL;
    one.passes = LAMINA_PASS_BACKWARD_DATA;
    refuses(&type, "no kernel runs forward");
    one.passes = LAMINA_PASS_FORWARD;
    refuses(&type, "no kernel runs backward");
    type.flags = LAMINA_NO_BACKWARD;
    takes(&type);
    list[0] = NULL;
    refuses(&type, "kernels must hold 1 to");
}

/* What a plugin of a later 1.x would hand over: longer structs, of which this host knows the
 * beginning. The entry must hold that, and own it. */
static void longer_structs(void) {
    struct {
        lamina_layer_type type;
        void *later[4];
    } longer = {.type = sound_type()};
    struct {
        lamina_kernel kernel;
        void *later;
    } kernel = {.kernel = sound_kernel()};
    const lamina_kernel *list[] = {&kernel.kernel, NULL};
    lamina__registry *registry;
    lamina_error error;

    memset(longer.later, 0xff, sizeof(longer.later));
    longer.type.struct_size = sizeof(longer);
    kernel.later = &kernel;
    kernel.kernel.struct_size = sizeof(kernel);
    longer.type.forward = longer.type.backward = NULL;
    longer.type.kernels = list;
    CU_ASSERT_EQUAL_FATAL(create_with(&longer.type, &registry, &error), LAMINA_OK);
    const lamina_layer_type *kept = lamina__registry_find(registry, "sound")->type;
    CU_ASSERT_PTR_NOT_EQUAL(kept, &longer.type);
    CU_ASSERT_EQUAL(kept->struct_size, sizeof(lamina_layer_type));
    CU_ASSERT_PTR_NOT_EQUAL(kept->kernels[0], &kernel.kernel);
    CU_ASSERT_EQUAL(kept->kernels[0]->struct_size, sizeof(lamina_kernel));
    CU_ASSERT(kept->kernels[0]->run == run);
    CU_ASSERT_PTR_NULL(kept->kernels[1]);
    lamina__registry_free(registry);
}

/* ---- Plugins ------------------------------------------------------------------------------- */

static lamina__registry *open_registry(void) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    if (lamina__registry_create(lamina__builtin_layers, &registry, &error) != LAMINA_OK) {
        test_stop(error.message);
    }
    return registry;
}

static char *broken(const char *name) {
    return test_path(TEST_PLUGIN_DIR "/broken", name);
}

static void loads(void) {
    const char *path = test_path(TEST_PLUGIN_DIR, "mish.so");
    const char *folder = test_tmpdir();
    const char *link = test_path(folder, "link.so");
    lamina__registry *registry = open_registry();
    const size_t before = lamina__registry_count(registry);
    lamina_error error = {0};

    CU_ASSERT_EQUAL_FATAL(lamina__registry_load(registry, path, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__registry_count(registry), before + 1);
    const lamina__type_entry *mish = lamina__registry_find(registry, "sample.mish");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mish);
    TEST_TEXT(mish->plugin_path, path);
    TEST_TEXT(mish->plugin_name, "mish");
    CU_ASSERT(mish->plugin_version != NULL && mish->plugin_version[0] != '\0');

    /* Again, and by another path to the same file: nothing happens. */
    CU_ASSERT_EQUAL(lamina__registry_load(registry, path, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(symlink(path, link), 0);
    CU_ASSERT_EQUAL(lamina__registry_load(registry, link, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__registry_count(registry), before + 1);

    /* Entries stay where they are when others are added. */
    CU_ASSERT_EQUAL(
        lamina__registry_load(registry, test_path(TEST_PLUGIN_DIR, "coord_conv.so"), &error),
        LAMINA_OK);
    CU_ASSERT_PTR_EQUAL(lamina__registry_find(registry, "sample.mish"), mish);
    lamina__registry_free(registry);
}

static void refuses_file(const char *path, const char *part, const char *another) {
    lamina__registry *registry = open_registry();
    const size_t before = lamina__registry_count(registry);
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__registry_load(registry, path, &error), LAMINA_ERROR_PLUGIN);
    TEST_CONTAINS(error.message, path);
    TEST_CONTAINS(error.message, part);
    TEST_CONTAINS(error.message, another);
    CU_ASSERT_EQUAL(lamina__registry_count(registry), before);
    lamina__registry_free(registry);
}

static void not_plugins(void) {
    const char *folder = test_tmpdir();
    refuses_file("/nonexistent/x.so", "No such file", "plugin");
    refuses_file(folder, "is not a file", "shared library");
    refuses_file("/dev/null", "is not a file", "shared library");
    refuses_file(test_write(folder, "text.so", "int main;\n"), "is not a shared library; give",
                 "text.so");
    refuses_file(test_write(folder, "short.so", "\177EL"), "is not a shared library; give",
                 "short.so");
    refuses_file(test_write(folder, "empty.so", ""), "is not a shared library (the file is empty)",
                 "empty.so");
    refuses_file(test_write_bytes(folder, "head.so", "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0", 16),
                 "is cut short: the file has 16 bytes, its headers need ", "head.so");
    refuses_file(broken("no_entry.so"), "does not export lamina_plugin_entry_v1", "no plugin");
    refuses_file(broken("null_entry.so"), "returned NULL", "lamina_plugin_entry_v1()");
}

/* A plugin that was not copied to its end: refused, where dlopen would map what is not there. */
static void cut_plugins(void) {
    const char *folder = test_tmpdir();
    size_t size = 0;
    const char *whole = test_read(test_path(TEST_PLUGIN_DIR, "mish.so"), &size);
    CU_ASSERT_FATAL(whole != NULL && size > 8192);
    const size_t lengths[] = {4, 63, 64, 65, 500, 3000, 4096, size / 2, size - 4096, size - 1};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char has[100];
        snprintf(has, sizeof(has), "is cut short: the file has %zu bytes, its headers need ",
                 lengths[i]);
        refuses_file(test_write_bytes(folder, "cut.so", whole, lengths[i]), has,
                     "; build or copy it again");
    }
}

/* Headers that cannot be: each field is damaged in turn, in a copy. */
static void damaged_headers(void) {
    static const struct {
        const char *message;
        size_t offset, length;
        unsigned char value;
    } cases[] = {
        {"is not a shared library; give", offsetof(ElfW(Ehdr), e_ident), 1, 0},
        {"is built for another kind of machine", EI_CLASS, 1, 9},
        {"is built for another kind of machine", EI_DATA, 1, 9},
        {"is built for another kind of machine", offsetof(ElfW(Ehdr), e_machine), 2, 0xfe},
        {"is not a shared library (it has no program headers)", offsetof(ElfW(Ehdr), e_phnum), 2,
         0},
        {"is not a shared library (it has no program headers)", offsetof(ElfW(Ehdr), e_phentsize),
         2, 1},
        {"is cut short", offsetof(ElfW(Ehdr), e_phoff), sizeof(ElfW(Off)), 0xff},
        {"is cut short", offsetof(ElfW(Ehdr), e_phnum), 2, 0xff},
        {"is cut short", offsetof(ElfW(Ehdr), e_shoff), sizeof(ElfW(Off)), 0xff},
        {"is cut short", offsetof(ElfW(Ehdr), e_shnum), 2, 0xff},
    };
    const char *folder = test_tmpdir();
    size_t size = 0;
    const char *whole = test_read(test_path(TEST_PLUGIN_DIR, "mish.so"), &size);
    CU_ASSERT_FATAL(whole != NULL && size > sizeof(ElfW(Ehdr)));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *copy = test_keep_bytes(false, whole, size);
        memset(copy + cases[i].offset, cases[i].value, cases[i].length);
        refuses_file(test_write_bytes(folder, "damaged.so", copy, size), cases[i].message,
                     "damaged.so");
    }
    /* A segment that reaches behind the end. */
    char *copy = test_keep_bytes(false, whole, size);
    ElfW(Ehdr) header;
    memcpy(&header, copy, sizeof(header));
    for (size_t i = 0; i < header.e_phnum; i++) {
        ElfW(Phdr) segment;
        char *at = copy + header.e_phoff + i * sizeof(segment);
        memcpy(&segment, at, sizeof(segment));
        segment.p_filesz += segment.p_type == PT_LOAD ? size : 0;
        memcpy(at, &segment, sizeof(segment));
    }
    refuses_file(test_write_bytes(folder, "long.so", copy, size), "is cut short", "long.so");
}

static void other_versions(void) {
    refuses_file(broken("newer_abi.so"),
                 "needs layer interface 1.1, Lamina " LAMINA_VERSION " has 1.0", "update Lamina");
    refuses_file(broken("newer_major.so"), "is built for layer interface 2", "has 1");
    refuses_file(broken("short_struct.so"), "struct_size is 16", "sizeof(lamina_plugin)");
}

static void unsound_plugins(void) {
    refuses_file(broken("undotted_name.so"), "layer type \"square\"", "vendor.name");
    refuses_file(broken("second_is_bad.so"), "layer type \"test.bad\"", "setup is NULL");
}

/* A taken name: both files are named, and the first keeps it. */
static void taken_name(void) {
    const char *mish = test_path(TEST_PLUGIN_DIR, "mish.so");
    const char *taken = broken("taken_name.so");
    lamina__registry *registry = open_registry();
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__registry_load(registry, mish, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__registry_load(registry, taken, &error), LAMINA_ERROR_PLUGIN);
    TEST_CONTAINS(error.message, mish);
    TEST_CONTAINS(error.message, taken);
    TEST_CONTAINS(error.message, "already taken");
    TEST_TEXT(lamina__registry_find(registry, "sample.mish")->plugin_path, mish);
    lamina__registry_free(registry);
}

static void out_of_memory(void) {
    const uint64_t live = lamina__alloc_count().live;
    const char *mish = test_path(TEST_PLUGIN_DIR, "mish.so");
    bool done = false;
    long k = 0;
    while (!done && k++ < 1000) {
        lamina__registry *registry = NULL;
        lamina_error error = {0};
        test_fail_allocation(k);
        lamina_status status = lamina__registry_create(lamina__builtin_layers, &registry, &error);
        if (status == LAMINA_OK) {
            status = lamina__registry_load(registry, mish, &error);
        }
        done = test_fail_allocation(0) == 0;
        CU_ASSERT_EQUAL(status, done ? LAMINA_OK : LAMINA_ERROR_MEMORY);
        CU_ASSERT(done || registry == NULL ||
                  lamina__registry_find(registry, "sample.mish") == NULL);
        lamina__registry_free(registry);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    }
    CU_ASSERT(done && k > 10);
}

/* ---- Memory of a layer ---- */

static void *seen_alloc(void *user, size_t bytes) {
    size_t *most = user;
    *most = bytes > *most ? bytes : *most;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void seen_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static int32_t asks_for_too_much(lamina_call *call, const void *given, void **self) {
    (void)given;
    const int64_t available = lamina__memory_available();
    CU_ASSERT_PTR_NULL(
        call->host->alloc(call, available < INT64_MAX / 2 ? (size_t)available * 2 : SIZE_MAX / 2));
    *self = call->host->alloc(call, 64);
    return *self != NULL ? LAMINA_OK : LAMINA_ERROR_MEMORY;
}

/* What is not there is not asked for: the system might promise it. */
static void too_much_memory(void) {
    lamina_layer_type type = sound_type();
    lamina__registry *registry = NULL;
    lamina__instance *instance = NULL;
    lamina_error error;
    size_t most = 0;
    const config values = {1};
    lamina_allocator allocator = {sizeof(allocator), seen_alloc, seen_free, &most};
    type.create = asks_for_too_much;
    CU_ASSERT_EQUAL_FATAL(create_with(&type, &registry, &error), LAMINA_OK);
    lamina_set_allocator(&allocator);
    const lamina_status status = lamina__instance_create(
        lamina__registry_find(registry, type.name), "l", NULL, 0, 1, &values, &instance, &error);
    lamina_set_allocator(NULL);
    CU_ASSERT_EQUAL(status, LAMINA_OK);
    CU_ASSERT(most < 1000000);
    lamina__instance_free(instance);
    lamina__registry_free(registry);
}

LAMINA_TESTS({"built-in types", builtin}, {"unsound types", unsound_types},
             {"unsound counts and functions", unsound_counts_and_functions},
             {"unsound parameters", unsound_params}, {"kernels", kernels},
             {"longer structs", longer_structs}, {"loads plugins", loads},
             {"not plugins", not_plugins}, {"cut plugins", cut_plugins},
             {"damaged headers", damaged_headers}, {"other versions", other_versions},
             {"unsound plugins", unsound_plugins}, {"taken name", taken_name},
             {"out of memory", out_of_memory}, {"too much memory", too_much_memory})
