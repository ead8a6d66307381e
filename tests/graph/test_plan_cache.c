/* Measured plans on disk: what is written comes back for the same key alone, and a cache that is
 * damaged, hostile or not there is no plan, never an error. */
#include "net_support.h"

#include "graph/plan_cache.h"

#include <dirent.h>
#include <sys/wait.h>

static const char *const layers = "- linear: {name: a, units: 12}\n"
                                  "- relu: {name: r}\n"
                                  "- linear: {name: b, units: 5}\n"
                                  "- softmax_loss: {name: loss}\n";

static const lamina__net_options some_options = {.channels = 2,
                                                 .height = 6,
                                                 .width = 6,
                                                 .batch = 8,
                                                 .partial = {3, 0},
                                                 .classes = 5,
                                                 .threads = 2,
                                                 .training = true};

static char *word(const char *text) {
    return (char *)(uintptr_t)text;
}

static lamina__plan_record some_plan(void) {
    static lamina__recorded_kernel kernels[4];
    static const char *const names[4][4] = {{"a", "onednn", "direct", "reference"},
                                            {"r", "reference", "onednn", NULL},
                                            {"b", "reference", "reference", "reference"},
                                            {"loss", NULL, NULL, NULL}};
    for (int i = 0; i < 4; i++) {
        kernels[i].layer = word(names[i][0]);
        for (int pass = 0; pass < 3; pass++) {
            kernels[i].kernel[pass] = names[i][1 + pass] != NULL ? word(names[i][1 + pass]) : NULL;
        }
        kernels[i].whole = i == 2;
    }
    return (lamina__plan_record){.shards = 2, .slices = 4, .kernels = kernels, .count = 4};
}

static bool same_name(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_plan(const lamina__plan_record *a, const lamina__plan_record *b) {
    bool same = a->shards == b->shards && a->slices == b->slices && a->by_shard == b->by_shard &&
                a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = same_name(a->kernels[i].layer, b->kernels[i].layer) &&
               a->kernels[i].whole == b->kernels[i].whole;
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            same = same && same_name(a->kernels[i].kernel[pass], b->kernels[i].kernel[pass]);
        }
    }
    return same;
}

/* Is there a plan for the key, and the one expected (NULL: any)? */
static bool finds(const char *folder, const char *key, const test_net *t,
                  const lamina__plan_record *expected) {
    lamina__plan_record plan;
    const bool found = lamina__plan_cache_read(folder, key, &t->network, 2, &plan);
    const bool right = found && (expected == NULL || same_plan(&plan, expected));
    CU_ASSERT(found || plan.kernels == NULL);
    lamina__plan_record_free(&plan);
    return right;
}

/* The only file of a folder; valid until exit. NULL: there is none, or more. */
static const char *only_file(const char *folder) {
    DIR *dir = opendir(folder);
    const char *path = NULL;
    int n = 0;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            path = test_path(folder, entry->d_name);
            n++;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n == 1 ? path : NULL;
}

static void comes_back(void) {
    const char *folder = test_path(test_tmpdir(), "a/b");
    const lamina__plan_record plan = some_plan();
    lamina__plan_record other = some_plan();
    test_net t = test_net_make(layers, NULL);
    CU_ASSERT(!finds(folder, "key", &t, NULL));
    lamina__plan_cache_write(folder, "key", &plan);
    CU_ASSERT(finds(folder, "key", &t, &plan));
    CU_ASSERT(!finds(folder, "yek", &t, NULL));
    CU_ASSERT(!finds(folder, "key ", &t, NULL));
    other.shards = 1;
    other.by_shard = true;
    lamina__plan_cache_write(folder, "key", &other); /* over the old one */
    CU_ASSERT(finds(folder, "key", &t, &other));
    CU_ASSERT_PTR_NOT_NULL(only_file(folder));
    test_net_free(&t);
}

/* Two keys of one hash: the file is there, but for the other. */
static void a_key_is_compared(void) {
    const char *folder = test_tmpdir(), *other = test_tmpdir();
    const lamina__plan_record plan = some_plan();
    size_t length;
    test_net t = test_net_make(layers, NULL);
    lamina__plan_cache_write(folder, "one", &plan);
    lamina__plan_cache_write(other, "two", &plan);
    const char *bytes = test_read(only_file(folder), &length);
    const char *name = strrchr(only_file(other), '/') + 1;
    test_write_bytes(other, name, bytes, length);
    CU_ASSERT(!finds(other, "two", &t, NULL));
    test_net_free(&t);
}

static char *key_of(const char *text, const lamina__net_options *options) {
    lamina__text key = {0};
    test_net t = test_net_make(text, NULL);
    CU_ASSERT_EQUAL(t.status, LAMINA_OK);
    lamina__plan_key(&t.network, options, &key);
    CU_ASSERT(!key.failed);
    test_net_free(&t);
    return key.data;
}

static void differ(const char *a, char *b, const char *what) {
    if (strcmp(a, b) == 0) {
        printf("\n      %s", what);
        CU_FAIL("the keys are equal");
    }
    lamina__free(b);
}

static void everything_is_in_the_key(void) {
    char *key = key_of(layers, &some_options), *again = key_of(layers, &some_options);
    TEST_TEXT(again, key);
    lamina__free(again);
    const struct {
        const char *what;
        size_t offset;
    } sizes[] = {{"channels", offsetof(lamina__net_options, channels)},
                 {"height", offsetof(lamina__net_options, height)},
                 {"width", offsetof(lamina__net_options, width)},
                 {"batch", offsetof(lamina__net_options, batch)},
                 {"partial", offsetof(lamina__net_options, partial)}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lamina__net_options options = some_options;
        ++*(int64_t *)(void *)((char *)&options + sizes[i].offset);
        differ(key, key_of(layers, &options), sizes[i].what);
    }
    lamina__net_options options = some_options;
    options.threads = 3;
    differ(key, key_of(layers, &options), "threads");
    options = some_options;
    options.training = false;
    differ(key, key_of(layers, &options), "training");
    static const char *const others[] = {
        "- linear: {name: a, units: 13}\n- relu: {name: r}\n- linear: {name: b, units: 5}\n"
        "- softmax_loss: {name: loss}\n",
        "- linear: {name: a, units: 12}\n- relu: {name: r}\n- linear: {name: c, units: 5}\n"
        "- softmax_loss: {name: loss}\n",
        "- linear: {name: a, units: 12}\n- relu: {name: r}\n"
        "- linear: {name: b, units: 5, kernels: reference}\n- softmax_loss: {name: loss}\n",
        "- linear: {name: a, units: 12}\n- relu: {name: r}\n"
        "- linear: {name: b, units: 5, from: a}\n- softmax_loss: {name: loss}\n"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        differ(key, key_of(others[i], &some_options), others[i]);
    }
    setenv("LAMINA_ISA", "portable", 1);
    differ(key, key_of(layers, &some_options), "LAMINA_ISA");
    unsetenv("LAMINA_ISA");
    lamina__free(key);
}

/* Every cut, and every byte changed. */
static void damage_is_no_plan(void) {
    const char *folder = test_tmpdir();
    const lamina__plan_record plan = some_plan();
    size_t length;
    test_net t = test_net_make(layers, NULL);
    lamina__plan_cache_write(folder, "the key\nhas lines\n", &plan);
    const char *path = only_file(folder);
    CU_ASSERT_PTR_NOT_NULL_FATAL(path);
    const char *name = strrchr(path, '/') + 1, *bytes = test_read(path, &length);
    char *changed = malloc(length);
    for (size_t i = 0; i < length; i++) {
        test_write_bytes(folder, name, bytes, i);
        CU_ASSERT(!finds(folder, "the key\nhas lines\n", &t, NULL));
        for (int flip = 1; flip < 256; flip *= 4) {
            memcpy(changed, bytes, length);
            changed[i] = (char)(changed[i] ^ flip);
            test_write_bytes(folder, name, changed, length);
            CU_ASSERT(!finds(folder, "the key\nhas lines\n", &t, NULL));
        }
    }
    test_write_bytes(folder, name, bytes, length);
    CU_ASSERT(finds(folder, "the key\nhas lines\n", &t, &plan));
    free(changed);
    test_net_free(&t);
}

/* Sound files of plans that cannot be this network's: other layers, more shards than threads. */
static void other_plans_are_no_plan(void) {
    const char *folder = test_tmpdir();
    test_net t = test_net_make(layers, NULL);
    lamina__plan_record plan = some_plan();
    plan.count = 3;
    lamina__plan_cache_write(folder, "key", &plan);
    CU_ASSERT(!finds(folder, "key", &t, NULL));
    plan = some_plan();
    plan.kernels[1].layer = word("x");
    lamina__plan_cache_write(folder, "key", &plan);
    CU_ASSERT(!finds(folder, "key", &t, NULL));
    plan = some_plan();
    plan.kernels[2].kernel[1] = word("two words");
    lamina__plan_cache_write(folder, "key", &plan);
    CU_ASSERT(!finds(folder, "key", &t, NULL));
    static const int cuts[][2] = {{3, 1}, {0, 1}, {-1, 1}, {1, 0}, {1, -4}, {1, (1 << 20) + 1}};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        plan = some_plan();
        plan.shards = cuts[i][0];
        plan.slices = cuts[i][1];
        lamina__plan_cache_write(folder, "key", &plan);
        CU_ASSERT(!finds(folder, "key", &t, NULL));
    }
    test_net_free(&t);
}

/* A plan with kernels that are not there, or do not apply, and slices without end, still gives a
 * net. */
static void a_hostile_plan_still_runs(void) {
    static test_batch b;
    const char *folder = test_tmpdir();
    lamina__plan_record plan = some_plan();
    lamina__net_options options = some_options;
    char *key = key_of(layers, &options);
    plan.slices = 1 << 20;
    plan.kernels[0].kernel[0] = word("nothing");
    plan.kernels[3].kernel[2] = word("direct");
    lamina__plan_cache_write(folder, key, &plan);
    options.cache = folder;
    test_net t = test_net_make(layers, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_slices(t.net), 4); /* as many as there are samples */
    test_batch_fill(&b, 8, 2 * 6 * 6, 5, 1);
    lamina__result result;
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.1f};
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 0, test_update, &descent, &result, NULL),
        LAMINA_OK);
    test_net_free(&t);
    lamina__free(key);
}

/* Not a folder, not a file, no permission. */
static void no_cache_is_no_error(void) {
    const char *folder = test_tmpdir();
    const lamina__plan_record plan = some_plan();
    test_net t = test_net_make(layers, NULL);
    const char *file = test_write_bytes(folder, "file", "x", 1);
    lamina__plan_cache_write(file, "key", &plan);
    CU_ASSERT(!finds(file, "key", &t, NULL));
    lamina__plan_cache_write(test_path(file, "below"), "key", &plan);
    lamina__plan_cache_write("", "key", &plan);
    CU_ASSERT(!finds("", "key", &t, NULL));

    const char *good = test_path(folder, "good");
    lamina__plan_cache_write(good, "key", &plan);
    const char *path = only_file(good);
    CU_ASSERT_PTR_NOT_NULL_FATAL(path);
    unlink(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0); /* nobody writes: reading it must not wait */
    CU_ASSERT(!finds(good, "key", &t, NULL));
    unlink(path);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    CU_ASSERT(!finds(good, "key", &t, NULL));
    lamina__plan_cache_write(good, "key", &plan);
    CU_ASSERT(!finds(good, "key", &t, NULL));
    TEST_TEXT(only_file(good), path); /* and no temporary stays */
    test_net_free(&t);
}

/* Processes write two plans over each other, and read: always a whole one. */
static void at_once(void) {
    const char *folder = test_tmpdir();
    const lamina__plan_record plan = some_plan();
    test_net t = test_net_make(layers, NULL);
    pid_t child[3];
    lamina__plan_cache_write(folder, "key", &plan);
    for (int c = 0; c < 3; c++) {
        if ((child[c] = fork()) == 0) {
            lamina__plan_record mine = plan;
            bool good = true;
            for (int i = 0; i < 200; i++) {
                mine.slices = 1 + (i + c) % 7;
                lamina__plan_cache_write(folder, "key", &mine);
                good = good && finds(folder, "key", &t, NULL);
            }
            _exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
        }
    }
    for (int c = 0; c < 3; c++) {
        int status = -1;
        CU_ASSERT(child[c] > 0 && waitpid(child[c], &status, 0) == child[c]);
        CU_ASSERT_EQUAL(status, 0);
    }
    CU_ASSERT_PTR_NOT_NULL(only_file(folder));
    test_net_free(&t);
}

static void folder_is(const char *expected) {
    char *folder = lamina__plan_cache_folder();
    if (expected == NULL) {
        CU_ASSERT_PTR_NULL(folder);
    } else {
        TEST_TEXT(folder, expected);
    }
    lamina__free(folder);
}

static void the_folder(void) {
    setenv("LAMINA_CACHE", "/own", 1);
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    setenv("HOME", "/home/me", 1);
    folder_is("/own");
    setenv("LAMINA_CACHE", "", 1);
    folder_is(NULL);
    unsetenv("LAMINA_CACHE");
    folder_is("/xdg/lamina");
    setenv("XDG_CACHE_HOME", "relative", 1);
    folder_is("/home/me/.cache/lamina");
    unsetenv("XDG_CACHE_HOME");
    folder_is("/home/me/.cache/lamina");
    unsetenv("HOME");
    folder_is(NULL);
}

LAMINA_TESTS({"a plan comes back", comes_back}, {"a key is compared", a_key_is_compared},
             {"everything is in the key", everything_is_in_the_key},
             {"damage is no plan", damage_is_no_plan},
             {"other plans are no plan", other_plans_are_no_plan},
             {"a hostile plan still runs", a_hostile_plan_still_runs},
             {"no cache is no error", no_cache_is_no_error}, {"processes at once", at_once},
             {"the folder", the_folder})
