/* One layer, driven from outside: reads requests from stdin and answers on stdout, so that
 * layers.py can compare every layer type with PyTorch. Numbers travel as the machine has them,
 * float32 or int32, in logical order (N,C,H,W; O,I,H,W).
 *
 *   types        -> types NAME...
 *   type TYPE    -> type FLAGS KERNEL...    FLAGS: LAMINA_..., a number; KERNEL...: if it has any
 *   run TYPE KERNEL PHASE SEED THREADS SHARDS COUNT
 *   {input: ..., params: ...}
 *   ROLE NAME BYTES, then the bytes         COUNT times: `in 0`, `weight bias`, `state
 * running_mean` and, unless PHASE is eval, `d_out 0`
 *
 * KERNEL: `auto` is the first that applies. PHASE: `train`, `eval` (no gradients) or `frozen` (the
 * gradients of a call for evaluation). The second line is a case as check/case.h has it. SHARDS
 * above 1 cuts the batch into that many calls, as equal as can be, at once on threads of their own;
 * d_weight is then their sum. THREADS is what one call may use.
 *
 * and the answer to `run` is one of
 *
 *   done COUNT ROUNDING KERNEL KERNEL KERNEL       of forward, backward data, backward weights; `-`
 *   ROLE NAME NDIM DIM... BYTES, then the bytes    COUNT times: `out 0`, `d_in 0`,
 *                                                  `d_weight bias`, `state running_mean`
 *   left                                           KERNEL does not apply here
 *   refused MESSAGE                                by the layer: config or shapes
 *   fault MESSAGE                                  a call failed, or wrote where it should not */
#include "base/text.h"
#include "check/rig.h"
#include "layers/builtin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 8192 };

static _Noreturn void stop(const char *why) {
    fprintf(stderr, "layer_driver: %s\n", why);
    exit(2);
}

static bool read_line(char line[LINE]) {
    if (fgets(line, LINE, stdin) == NULL) {
        return false;
    }
    char *end = strchr(line, '\n');
    if (end == NULL) {
        stop("a line is too long or has no end");
    }
    *end = '\0';
    return true;
}

static void answer(const char *kind, const char *message) {
    printf("%s ", kind);
    for (; *message != '\0'; message++) {
        putchar(*message == '\n' ? ' ' : *message);
    }
    putchar('\n');
}

/* ---- What comes in ------------------------------------------------------------------------- */

typedef struct request {
    char type[64], kernel[64], phase[16];
    uint64_t seed; /* of random layers */
    int32_t threads, shards, count;
    char text[LINE];
} request;

/* The field that a tensor is meant for, or NULL. */
static lamina__field *find_field(const lamina__rig *rig, const char *role, const char *name) {
    const lamina__instance *instance = rig->instance;
    const int32_t number = (int32_t)strtol(name, NULL, 10);
    if (strcmp(role, "in") == 0 && number < instance->n_in) {
        return lamina__rig_field(rig, LAMINA__ROLE_IN, number);
    }
    if (strcmp(role, "d_out") == 0 && number < instance->n_out) {
        return lamina__rig_field(rig, LAMINA__ROLE_D_OUT, number);
    }
    for (int32_t i = 0; i < instance->n_weights && strcmp(role, "weight") == 0; i++) {
        if (strcmp(instance->weights[i].name, name) == 0) {
            return lamina__rig_field(rig, LAMINA__ROLE_WEIGHT, i);
        }
    }
    for (int32_t i = 0; i < instance->n_states && strcmp(role, "state") == 0; i++) {
        if (strcmp(instance->states[i].name, name) == 0) {
            return lamina__rig_field(rig, LAMINA__ROLE_STATE, i);
        }
    }
    return NULL;
}

static void fill_field(lamina__field *field, const unsigned char *bytes) {
    for (int64_t i = 0; i < field->count; i++) {
        float real;
        int32_t whole;
        memcpy(&real, bytes + 4 * i, sizeof real);
        memcpy(&whole, bytes + 4 * i, sizeof whole);
        lamina__field_set(field, i, field->real ? (double)real : (double)whole);
    }
    if (field->start != NULL) { /* state: forward() begins with it */
        memcpy(field->start, lamina__field_data(field), field->bytes);
    }
}

/* One tensor from stdin into the rig. `rig` NULL: read and dropped. False, and why, when it does
 * not belong there. */
static bool read_tensor(const lamina__rig *rig, char *why, size_t size) {
    char line[LINE], role[16], name[64], shape[128];
    size_t bytes;
    if (!read_line(line) || sscanf(line, "%15s %63s %zu", role, name, &bytes) != 3) {
        stop("expected ROLE NAME BYTES");
    }
    unsigned char *data = malloc(bytes + 1);
    if (data == NULL || fread(data, 1, bytes, stdin) != bytes) {
        stop("a tensor is not complete");
    }
    lamina__field *field = rig != NULL ? find_field(rig, role, name) : NULL;
    bool fits = field != NULL && bytes == (size_t)field->count * 4;
    if (fits) {
        fill_field(field, data);
    } else if (field != NULL) {
        snprintf(why, size, "%s %s has shape %s, which is not the %zu numbers given", role, name,
                 lamina__shape_text(&field->view.shape, shape, sizeof shape), bytes / 4);
    } else {
        snprintf(why, size, "the layer has no %s \"%s\"", role, name);
    }
    free(data);
    return fits;
}

/* ---- What goes out ------------------------------------------------------------------------- */

/* More than one field: their sum, as of the shards' gradients. */
static void write_tensor(const char *role, const char *name, const lamina_shape *shape,
                         const lamina__field *const *fields, int32_t n) {
    const lamina__field *first = fields[0];
    printf("%s %s %d", role, name, (int)shape->ndim);
    for (int32_t i = 0; i < shape->ndim; i++) {
        printf(" %" PRId64, shape->dim[i]);
    }
    printf(" %zu\n", (size_t)first->count * sizeof(float));
    for (int64_t i = 0; i < first->count; i++) {
        double sum = 0;
        for (int32_t k = 0; k < n; k++) {
            sum += lamina__field_get(fields[k], i);
        }
        const float value = (float)sum;
        fwrite(&value, sizeof value, 1, stdout);
    }
}

static void write_numbered(const lamina__rig *rig, lamina__role role, const char *word) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        const lamina__field *field = lamina__rig_field(rig, role, i);
        char name[16];
        snprintf(name, sizeof name, "%d", (int)i);
        if (field->real) {
            write_tensor(word, name, &field->view.shape, &field, 1);
        }
    }
}

static void write_results(const lamina__rig *rig, bool backward) {
    const lamina__instance *instance = rig->instance;
    const char *kernels[LAMINA__N_PASSES];
    double rounding = 1;
    int32_t count = rig->count[LAMINA__ROLE_OUT] + instance->n_states;
    for (int32_t i = 0; i < instance->n_in && backward; i++) {
        count += lamina__rig_field(rig, LAMINA__ROLE_D_IN, i)->real;
    }
    count += backward ? instance->n_weights : 0;
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        const char *name = lamina__instance_kernel(instance, pass);
        kernels[pass] = name != NULL ? name : "-";
    }
    for (int32_t i = 0; i < instance->n_bound; i++) {
        const double its = instance->bound[i].kernel->rounding;
        rounding = its > rounding ? its : rounding;
    }
    printf("done %d %g %s %s %s\n", (int)count, rounding, kernels[0], kernels[1], kernels[2]);

    write_numbered(rig, LAMINA__ROLE_OUT, "out");
    if (backward) {
        write_numbered(rig, LAMINA__ROLE_D_IN, "d_in");
    }
    for (int32_t i = 0; i < instance->n_weights && backward; i++) {
        const lamina__field *fields[LAMINA__RIG_SHARDS];
        for (int32_t s = 0; s < instance->shards; s++) {
            fields[s] = lamina__rig_d_weight(rig, s, i);
        }
        write_tensor("d_weight", instance->weights[i].name, &instance->weights[i].shape, fields,
                     instance->shards);
    }
    for (int32_t i = 0; i < instance->n_states; i++) {
        const lamina__field *field = lamina__rig_field(rig, LAMINA__ROLE_STATE, i);
        write_tensor("state", instance->states[i].name, &field->view.shape, &field, 1);
    }
}

/* ---- A run --------------------------------------------------------------------------------- */

static lamina_status make_rig(const request *r, const lamina__type_entry *entry,
                              const lamina__case *from, bool training, lamina__rig_call *call,
                              lamina__rig **rig, lamina_error *error) {
    const int64_t batch = from->in[0].dim[0];
    lamina__rig_options options = {
        .kernel = strcmp(r->kernel, "auto") == 0 ? NULL : r->kernel,
        .batch = batch,
        .shards = r->shards,
        .threads = r->threads,
        .training = training,
        .n_samples = 1,
        .samples = {batch},
    };
    const bool train = strcmp(r->phase, "train") == 0;
    *call = (lamina__rig_call){.phase = train ? LAMINA_TRAIN : LAMINA_EVAL};
    if (r->shards > 1) {
        const int64_t least = batch / r->shards, more = batch % r->shards;
        call->shards = r->shards;
        for (int32_t s = 0; s < r->shards; s++) {
            call->cut[s] = least + (s < more);
        }
        options.samples[0] = least + (more > 0);
        options.samples[1] = least;
        options.n_samples = more > 0 ? 2 : 1;
    }
    return lamina__rig_create(entry, from, r->seed, &options, rig, error);
}

static void run(const request *r, const lamina__registry *registry) {
    const lamina__type_entry *entry = lamina__registry_find(registry, r->type);
    const bool training = strcmp(r->phase, "eval") != 0;
    lamina__case from = {0};
    lamina__rig *rig = NULL;
    lamina__rig_call call = {0};
    lamina__fault fault = {""};
    lamina_error error = {0};
    char why[512] = "";
    bool fits = true;

    lamina_status status = entry != NULL
                               ? lamina__case_read(entry, r->text, &from, &error)
                               : lamina__fail(&error, LAMINA_ERROR_USAGE, "no type %s", r->type);
    if (status == LAMINA_OK) {
        status = make_rig(r, entry, &from, training, &call, &rig, &error);
    }
    for (int32_t i = 0; i < r->count; i++) {
        fits = read_tensor(rig, fits ? why : (char[512]){0}, sizeof why) && fits;
    }
    if (status != LAMINA_OK) {
        answer("refused", error.message);
        goto done;
    }
    const bool backward = training && !(entry->type->flags & LAMINA_NO_BACKWARD);
    const int32_t wanted = rig->instance->n_in + rig->instance->n_weights +
                           rig->instance->n_states + (backward ? rig->instance->n_out : 0);
    if (fits && r->count != wanted) {
        snprintf(why, sizeof why, "the layer has %d tensors to fill, %d were given", (int)wanted,
                 (int)r->count);
        fits = false;
    }
    if (!fits) {
        answer("refused", why);
    } else if (strcmp(r->kernel, "auto") != 0 && !lamina__rig_has_kernel(rig, r->kernel)) {
        puts("left");
    } else if (lamina__rig_forward(rig, &call, &fault) &&
               (!backward || lamina__rig_backward(rig, &call, &fault))) {
        write_results(rig, backward);
    } else {
        answer("fault", fault.text);
    }
done:
    lamina__rig_free(rig);
    lamina__case_free(&from);
}

/* ---- The loop ------------------------------------------------------------------------------ */

static void list_types(const lamina__registry *registry) {
    printf("types");
    for (size_t i = 0; i < lamina__registry_count(registry); i++) {
        printf(" %s", lamina__registry_at(registry, i)->type->name);
    }
    putchar('\n');
}

static void describe_type(const lamina__registry *registry, const char *name) {
    const lamina__type_entry *entry = lamina__registry_find(registry, name);
    const lamina_layer_type *type = entry != NULL ? entry->type : NULL;
    printf("type %u", type != NULL ? (unsigned)type->flags : 0);
    for (size_t i = 0; type != NULL && type->kernels != NULL && type->kernels[i] != NULL; i++) {
        printf(" %s", type->kernels[i]->name);
    }
    putchar('\n');
}

static void serve(const lamina__registry *registry, const char *line) {
    static request r;
    if (strcmp(line, "types") == 0) {
        list_types(registry);
    } else if (sscanf(line, "type %63s", r.type) == 1) {
        describe_type(registry, r.type);
    } else if (sscanf(line, "run %63s %63s %15s %" SCNu64 " %d %d %d", r.type, r.kernel, r.phase,
                      &r.seed, &r.threads, &r.shards, &r.count) == 7 &&
               r.threads >= 1 && r.shards >= 1 && r.shards <= LAMINA__RIG_SHARDS &&
               read_line(r.text)) {
        run(&r, registry);
    } else {
        stop("expected types, type TYPE or run TYPE KERNEL PHASE SEED THREADS SHARDS COUNT");
    }
    fflush(stdout);
}

int main(void) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    static char line[LINE];
    if (lamina__registry_create(lamina__builtin_layers, &registry, &error) != LAMINA_OK) {
        stop(error.message);
    }
    while (read_line(line)) {
        serve(registry, line);
    }
    lamina__registry_free(registry);
    return 0;
}
