/* Measured plans on disk.
 *
 * A file holds the whole key and the plan, under a checksum:
 *
 *     lamina plan 2 crc32=5be01e60
 *     key 1234
 *     ... 1234 bytes ...
 *     cut 2 4 0                          shards, slices, by_shard
 *     layer conv1 shard direct onednn direct   "shard" or "batch": what one call gets; kernels of
 * the passes; "-": none, or not chosen here end
 *
 * It is named by a hash of the key, and the key is compared, so two keys with one hash only take
 * each other's place. A file comes under its name by rename, so that processes which measure the
 * same thing at once each see a whole file. A cache is a convenience: whatever is wrong with it,
 * the answer is that there is no plan. */
#include "graph/plan_cache.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "onednn/onednn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Raise it when kernels of the same name become faster or slower, or measuring becomes better. */
#define KERNELS_REVISION 8

#define MAX_BYTES  (1 << 20)
#define MAX_SLICES (1 << 20)

/* ---- The folder ---- */

static char *joined(const char *a, const char *b) {
    lamina__text text = {0};
    lamina__text_add(&text, "%s%s", a, b);
    if (text.failed) {
        lamina__text_free(&text);
    }
    return text.data;
}

char *lamina__plan_cache_folder(void) {
    const char *own = getenv("LAMINA_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own != NULL) {
        return own[0] != '\0' ? lamina__strdup(own) : NULL;
    }
    if (xdg != NULL && xdg[0] == '/') { /* the standard: a relative one is to be ignored */
        return joined(xdg, "/lamina");
    }
    return home != NULL && home[0] == '/' ? joined(home, "/.cache/lamina") : NULL;
}

/* With its parents. */
static bool make_folder(const char *folder) {
    char *path = lamina__strdup(folder);
    bool made = path != NULL;
    for (char *at = path; made && *at != '\0'; at++) {
        if (*at == '/' && at > path) {
            *at = '\0';
            made = mkdir(path, 0777) == 0 || errno == EEXIST;
            *at = '/';
        }
    }
    made = made && (mkdir(path, 0777) == 0 || errno == EEXIST);
    lamina__free(path);
    return made;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(const char *key) {
    uint64_t hash = 14695981039346656037u;
    for (; *key != '\0'; key++) {
        hash = (hash ^ (unsigned char)*key) * 1099511628211u;
    }
    return hash;
}

static char *path_of(const char *folder, const char *key) {
    char name[32];
    snprintf(name, sizeof name, "/%016" PRIx64 ".plan", hash_of(key));
    return joined(folder, name);
}

/* ---- The key ---- */

/* The processor by the lines of cpuinfo that name it (x86, Arm); of the first processor. */
static void add_processor(lamina__text *key) {
    static const char *const names[] = {"model name", "stepping", "CPU implementer", "CPU part"};
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL && line[0] != '\n') {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (strncmp(line, names[i], strlen(names[i])) == 0) {
                lamina__text_add(key, "%s", line);
            }
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* The kernels of a type: a plan chose among these. */
static void add_kernels(const lamina__type_entry *entry, lamina__text *key) {
    lamina__text_add(key, "%s:", entry->type->name);
    for (int i = 0; entry->type->kernels != NULL && entry->type->kernels[i] != NULL; i++) {
        lamina__text_add(key, " %s", entry->type->kernels[i]->name);
    }
    if (entry->plugin_path != NULL) {
        lamina__text_add(key, " (%s %s)", entry->plugin_name, entry->plugin_version);
    }
    lamina__text_add(key, "\n");
}

void lamina__plan_key(const lamina__network *network, const lamina__net_options *options,
                      lamina__text *key) {
    const char *isa = getenv("LAMINA_ISA");
    lamina__text_add(key, "lamina " LAMINA_VERSION " kernels %d\n", KERNELS_REVISION);
    add_processor(key);
    lamina__text_add(key, "isa %s %s\noneDNN %s\n", lamina__onednn_isa(), isa ? isa : "-",
                     lamina__onednn_version());
    lamina__text_add(key, "threads %d of %d\n",
                     options->threads > 0 ? options->threads : lamina__default_threads(),
                     lamina__processors());
    lamina__text_add(key, "%s float32 %" PRId64 "x%" PRId64 "x%" PRId64 "\n",
                     options->training ? "training" : "forward", options->channels, options->height,
                     options->width);
    lamina__text_add(key, "batch %" PRId64 " %" PRId64 " %" PRId64 "\n", options->batch,
                     options->partial[0], options->partial[1]);
    if (options->recompute) {
        lamina__text_add(key, "recompute %.17g\n", options->recompute_share);
    }
    if (options->target.ndim > 0) {
        char target[160];
        lamina__text_add(key, "target %s\n",
                         lamina__shape_text(&options->target, target, sizeof target));
    }
    for (size_t i = 0; i < network->count; i++) {
        add_kernels(network->layers[i].entry, key);
    }
    lamina__network_write(network, key);
}

/* ---- Writing ---- */

static void add_plan(const char *key, const lamina__plan_record *plan, lamina__text *text) {
    lamina__text_add(text, "key %zu\n%s\n", strlen(key), key);
    lamina__text_add(text, "cut %d %d %d\n", (int)plan->shards, (int)plan->slices,
                     (int)plan->by_shard);
    for (size_t i = 0; i < plan->count; i++) {
        lamina__text_add(text, "layer %s %s", plan->kernels[i].layer,
                         plan->kernels[i].whole ? "batch" : "shard");
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const char *kernel = plan->kernels[i].kernel[pass];
            lamina__text_add(text, " %s", kernel != NULL ? kernel : "-");
        }
        lamina__text_add(text, "\n");
    }
    lamina__text_add(text, "end\n");
}

enum { HEAD_BYTES = 64 };

/* The first line, for what follows it. */
static void write_head(char head[HEAD_BYTES], const char *body, size_t length) {
    snprintf(head, HEAD_BYTES, "lamina plan 2 crc32=%08x\n",
             (unsigned)crc32(0, (const unsigned char *)body, (unsigned)length));
}

static bool write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        const ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        bytes += written;
        length -= (size_t)written;
    }
    return true;
}

/* Under a name of its own, then under the right one. */
static bool put_file(const char *folder, const char *path, const char *head,
                     const lamina__text *body) {
    char *temporary = joined(folder, "/.plan-XXXXXX");
    bool put = false;
    const int fd = temporary != NULL ? mkstemp(temporary) : -1;
    if (fd >= 0) {
        put = write_all(fd, head, strlen(head)) && write_all(fd, body->data, body->length);
        put = close(fd) == 0 && put && rename(temporary, path) == 0;
        if (!put) {
            const int reason = errno;
            unlink(temporary);
            errno = reason;
        }
    }
    lamina__free(temporary);
    return put;
}

void lamina__plan_cache_write(const char *folder, const char *key,
                              const lamina__plan_record *plan) {
    lamina__text body = {0};
    char *path = path_of(folder, key), head[HEAD_BYTES];
    add_plan(key, plan, &body);
    if (!body.failed && body.length < MAX_BYTES) {
        write_head(head, body.data, body.length);
        if (path == NULL || !make_folder(folder) || !put_file(folder, path, head, &body)) {
            lamina__log(LAMINA_LOG_WARNING,
                        "the plan cannot be kept in %s (%s), so the next run measures again; "
                        "LAMINA_CACHE names another folder, or none when it is empty",
                        folder, strerror(errno));
        }
    }
    lamina__text_free(&body);
    lamina__free(path);
}

/* ---- Reading ---- */

/* The whole of a small regular file, NUL-terminated; lamina__free. */
static char *read_file(const char *path, size_t *length) {
    struct stat status;
    char *bytes = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe does not hold us up */
    if (fd < 0) {
        return NULL;
    }
    *length = 0;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size < MAX_BYTES) {
        bytes = lamina__calloc((size_t)status.st_size + 1, 1);
    }
    while (bytes != NULL && *length < (size_t)status.st_size) {
        const ssize_t got = read(fd, bytes + *length, (size_t)status.st_size - *length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        *length += (size_t)got;
    }
    close(fd);
    return bytes;
}

/* Cuts the next line off the text; NULL when there is no whole one. */
static char *next_line(char **text) {
    char *line = *text, *end = strchr(line, '\n');
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    *text = end + 1;
    return line;
}

/* "layer conv1 shard direct onednn -": for the layer of that name alone. */
static bool read_layer(char *line, const char *name, lamina__recorded_kernel *kernels) {
    char *rest = NULL, *word = strtok_r(line, " ", &rest);
    if (word == NULL || strcmp(word, "layer") != 0 || (word = strtok_r(NULL, " ", &rest)) == NULL ||
        strcmp(word, name) != 0 || (kernels->layer = lamina__strdup(word)) == NULL) {
        return false;
    }
    if ((word = strtok_r(NULL, " ", &rest)) == NULL ||
        (strcmp(word, "batch") != 0 && strcmp(word, "shard") != 0)) {
        return false;
    }
    kernels->whole = strcmp(word, "batch") == 0;
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        if ((word = strtok_r(NULL, " ", &rest)) == NULL) {
            return false;
        }
        if (strcmp(word, "-") != 0 && (kernels->kernel[pass] = lamina__strdup(word)) == NULL) {
            return false;
        }
    }
    return strtok_r(NULL, " ", &rest) == NULL;
}

/* What follows the key: a line of the cut, one for each layer in order, the end. */
static bool read_plan(char *text, const lamina__network *network, int threads,
                      lamina__plan_record *plan) {
    int shards, slices, by_shard, used = 0;
    const char *line = next_line(&text);
    if (line == NULL ||
        sscanf(line, "cut %7d %7d %1d%n", &shards, &slices, &by_shard, &used) != 3 ||
        line[used] != '\0' || shards < 1 || shards > threads || slices < 1 || slices > MAX_SLICES) {
        return false;
    }
    plan->shards = shards;
    plan->slices = slices;
    plan->by_shard = by_shard != 0;
    plan->kernels = lamina__calloc(network->count + 1, sizeof *plan->kernels);
    if (plan->kernels == NULL) {
        return false;
    }
    plan->count = network->count;
    for (size_t i = 0; i < network->count; i++) {
        char *layer = next_line(&text);
        if (layer == NULL || !read_layer(layer, network->layers[i].name, &plan->kernels[i])) {
            return false;
        }
    }
    line = next_line(&text);
    return line != NULL && strcmp(line, "end") == 0 && *text == '\0';
}

/* The key is compared; returns what comes after it, or NULL. */
static char *behind_key(char *text, const char *key) {
    const size_t length = strlen(key);
    const char *first = next_line(&text);
    char head[HEAD_BYTES];
    int used = 0;
    size_t stored;
    if (first == NULL) {
        return NULL;
    }
    write_head(head, text, strlen(text));
    if (strlen(first) + 1 != strlen(head) || strncmp(first, head, strlen(first)) != 0) {
        return NULL;
    }
    if (sscanf(text, "key %7zu%n", &stored, &used) != 1 || text[used] != '\n' || stored != length) {
        return NULL;
    }
    text += used + 1;
    return strncmp(text, key, length) == 0 && text[length] == '\n' ? text + length + 1 : NULL;
}

bool lamina__plan_cache_read(const char *folder, const char *key, const lamina__network *network,
                             int threads, lamina__plan_record *plan) {
    size_t length = 0;
    char *path = path_of(folder, key), *text = path != NULL ? read_file(path, &length) : NULL;
    *plan = (lamina__plan_record){0};
    bool read = false;
    if (text != NULL) {
        char *rest = strlen(text) == length ? behind_key(text, key) : NULL;
        read = rest != NULL && read_plan(rest, network, threads, plan);
        if (!read) {
            lamina__log(LAMINA_LOG_DEBUG, "%s: not a plan for this network and machine", path);
            lamina__plan_record_free(plan);
        }
    }
    lamina__free(text);
    lamina__free(path);
    return read;
}
