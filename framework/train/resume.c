/* Resume checks. Both the checkpoint and the experiment have a resolved config, written by the same
 * code with every default filled in, so what differs between two runs differs there, and the tree
 * of one is compared with the tree of the other. */
#include "train/resume.h"

#include "base/log.h"
#include "onednn/onednn.h"

#include <inttypes.h>
#include <string.h>

#define ADVICE "; use the config it was made with, or start anew with --overwrite"

/* ---- Trees --------------------------------------------------------------------------------- */

static void write_node(const lamina__node *node, lamina__text *text) {
    if (node == NULL) {
        lamina__text_add(text, "(none)");
        return;
    }
    if (node->kind == LAMINA__NODE_SCALAR) {
        lamina__text_add(text, "%s", node->text);
        return;
    }
    bool map = node->kind == LAMINA__NODE_MAP;
    lamina__text_add(text, map ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        lamina__text_add(text, "%s%s%s", i > 0 ? ", " : "", map ? node->keys[i]->text : "",
                         map ? ": " : "");
        write_node(node->items[i], text);
    }
    lamina__text_add(text, map ? "}" : "]");
}

static bool same_node(const lamina__node *a, const lamina__node *b) {
    if (a == NULL || b == NULL || a->kind != b->kind || a->count != b->count) {
        return a == b;
    }
    if (a->kind == LAMINA__NODE_SCALAR) {
        return strcmp(a->text, b->text) == 0;
    }
    for (size_t i = 0; i < a->count; i++) {
        if ((a->kind == LAMINA__NODE_MAP && strcmp(a->keys[i]->text, b->keys[i]->text) != 0) ||
            !same_node(a->items[i], b->items[i])) {
            return false;
        }
    }
    return true;
}

/* Says what is different: `what` with both values. */
static lamina_status differs(const char *path, const char *what, const lamina__node *theirs,
                             const lamina__node *ours, lamina_error *error) {
    lamina__text old = {0}, new = {0};
    write_node(theirs, &old);
    write_node(ours, &new);
    lamina_status status =
        lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                     "%s: was trained with %s %.300s, the config says %.300s" ADVICE, path, what,
                     old.data ? old.data : "?", new.data ? new.data : "?");
    lamina__text_free(&old);
    lamina__text_free(&new);
    return status;
}

/* ---- Checks -------------------------------------------------------------------------------- */

static lamina_status compare_networks(const char *path, const lamina__node *theirs,
                                      const lamina__node *ours, lamina_error *error) {
    size_t a = theirs ? theirs->count : 0, b = ours ? ours->count : 0;
    for (size_t i = 0; i < a && i < b; i++) {
        if (!same_node(theirs->items[i], ours->items[i])) {
            return differs(path, "the layer", theirs->items[i], ours->items[i], error);
        }
    }
    return a == b ? LAMINA_OK
                  : lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                 "%s: was trained with %zu layers, the config has %zu" ADVICE, path,
                                 a, b);
}

/* The optimizer's and the schedule's keys: changing them is meant, but said. */
static void log_changes(const lamina__node *theirs, const lamina__node *ours, const char *prefix) {
    for (size_t i = 0; ours != NULL && ours->kind == LAMINA__NODE_MAP && i < ours->count; i++) {
        const lamina__node *old = lamina__node_get(theirs, ours->keys[i]->text);
        lamina__text a = {0}, b = {0};
        if (same_node(old, ours->items[i])) {
            continue;
        }
        write_node(old, &a);
        write_node(ours->items[i], &b);
        lamina__log(LAMINA_LOG_WARNING, "%s.%s was %s and is now %s", prefix, ours->keys[i]->text,
                    a.data ? a.data : "?", b.data ? b.data : "?");
        lamina__text_free(&a);
        lamina__text_free(&b);
    }
}

static lamina_status compare_configs(const lamina__node *theirs, const lamina__node *ours,
                                     const char *path, lamina_error *error) {
    const lamina__node *old_train = lamina__node_get(theirs, "train"),
                       *new_train = lamina__node_get(ours, "train");
    const lamina__node *old_normalize =
        lamina__node_get(lamina__node_get(theirs, "data"), "normalize");
    const lamina__node *new_normalize =
        lamina__node_get(lamina__node_get(ours, "data"), "normalize");
    const lamina__node *a = lamina__node_get(old_train, "batch"),
                       *b = lamina__node_get(new_train, "batch");
    if (!same_node(a, b)) {
        return differs(path, "train.batch", a, b, error);
    }
    if (!same_node(old_normalize, new_normalize)) {
        return differs(path, "data.normalize", old_normalize, new_normalize, error);
    }
    log_changes(lamina__node_get(old_train, "optimizer"), lamina__node_get(new_train, "optimizer"),
                "train.optimizer");
    log_changes(lamina__node_get(old_train, "schedule"), lamina__node_get(new_train, "schedule"),
                "train.schedule");
    return compare_networks(path, lamina__node_get(theirs, "network"),
                            lamina__node_get(ours, "network"), error);
}

static lamina_status nothing_left(const lamina__experiment *experiment, const char *path,
                                  const lamina__checkpoint *checkpoint, lamina_error *error) {
    const lamina__train_config *train = &experiment->train;
    const lamina__progress *progress = &checkpoint->progress;
    bool untested = progress->position > 0 && progress->position == checkpoint->data[0].samples;
    if (progress->epoch >= train->epochs) {
        return lamina__fail(error, LAMINA_ERROR_NOTHING_TO_DO,
                            "%s: has been trained for %" PRId64 " of %" PRId64
                            " epochs: nothing to do; train further with --epochs",
                            path, progress->epoch, train->epochs);
    }
    if (train->max_steps > 0 && progress->step >= train->max_steps && !untested) {
        return lamina__fail(error, LAMINA_ERROR_NOTHING_TO_DO,
                            "%s: has been trained for %" PRId64
                            " steps, train.max_steps is %" PRId64 ": nothing to do",
                            path, progress->step, train->max_steps);
    }
    return LAMINA_OK;
}

lamina_status lamina__resume_check_config(const lamina__experiment *experiment, const char *path,
                                          const lamina__checkpoint *checkpoint,
                                          lamina_error *error) {
    const char *optimizer = lamina__optimizer_config_name(&experiment->optimizer);
    const lamina__progress *progress = &checkpoint->progress;
    if (checkpoint->optimizer == NULL) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: has weights only, and no training to go on with", path);
    }
    if (progress->seed != (uint64_t)experiment->seed) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: was trained with seed %" PRIu64
                            ", the config says %" PRId64 ADVICE,
                            path, progress->seed, experiment->seed);
    }
    if (strcmp(checkpoint->optimizer, optimizer) != 0) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: was trained with optimizer %s, the config says %s" ADVICE, path,
                            checkpoint->optimizer, optimizer);
    }
    /* Read again, so that keys which a newer Lamina has beside the old ones get their defaults. */
    const lamina__experiment_options options = {
        .text = checkpoint->config_resolved ? checkpoint->config_resolved : "",
        .ignore_plugins = true,
        .plugins = (const char *const *)experiment->plugins,
        .n_plugins = experiment->n_plugins,
    };
    lamina__diags diags = {0};
    lamina__doc *theirs = NULL, *ours = NULL;
    lamina__experiment *old = NULL;
    lamina_status status = lamina__experiment_read(path, &options, &old, &diags);
    if (status == LAMINA_OK) {
        status = lamina__doc_parse(old->resolved, strlen(old->resolved), path, &diags, &theirs);
    }
    if (status == LAMINA_OK) {
        status = lamina__doc_parse(experiment->resolved, strlen(experiment->resolved),
                                   experiment->path, &diags, &ours);
    }
    if (status != LAMINA_OK) {
        if (lamina__diags_error(&diags, error) == LAMINA_OK) {
            lamina__fail_memory(error, "the checkpoint's config");
        }
        lamina__error_prefix(error, "the checkpoint's config");
        goto done;
    }
    status = compare_configs(theirs->root, ours->root, path, error);
    if (status == LAMINA_OK) {
        status = nothing_left(experiment, path, checkpoint, error);
    }

done:
    lamina__experiment_free(old);
    lamina__doc_free(theirs);
    lamina__doc_free(ours);
    lamina__diags_free(&diags);
    return status;
}

lamina_status lamina__resume_check_data(const lamina__prepared *prepared, const char *path,
                                        const lamina__checkpoint *checkpoint, lamina_error *error) {
    static const char *const names[] = {"train", "test"};
    for (int split = 0; split < 2; split++) {
        const lamina__source *source = prepared->source[split];
        const lamina__data_id *id = &checkpoint->data[split];
        if ((source != NULL) != (id->source != NULL)) {
            return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                "%s: was trained %s data.%s, the config %s" ADVICE, path,
                                id->source ? "with" : "without", names[split],
                                source ? "has it" : "has none");
        }
        if (source == NULL) {
            continue;
        }
        if (source->count != id->samples) {
            return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                "%s: data.%s had %" PRId64 " samples (%s), now it has %" PRId64
                                " (%s); use the data it was trained with",
                                path, names[split], id->samples, id->source, source->count,
                                source->description);
        }
        if (source->fingerprint != id->fingerprint) {
            return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                "%s: data.%s has other contents (%s) than what it was trained with "
                                "(%s); use that data",
                                path, names[split], source->description, id->source);
        }
    }
    const lamina__source *train = prepared->source[0];
    if (checkpoint->progress.position > train->count) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: stands at sample %" PRId64 " of %" PRId64 ": it is damaged", path,
                            checkpoint->progress.position, train->count);
    }
    return LAMINA_OK;
}

static void note_other(const char *path, const char *what, const char *then, const char *here) {
    if (then != NULL && strcmp(then, here) != 0) {
        lamina__log(LAMINA_LOG_WARNING,
                    "%s was made with %s %s, this is %s: the result may differ in the last bits",
                    path, what, then, here);
    }
}

/* Do threads share a call? Then its kernel may add in an order that their number decides. */
static bool shares_calls(const lamina__plan_record *plan) {
    bool shares = plan->shards == 1 && !plan->by_shard;
    for (size_t i = 0; i < plan->count; i++) {
        shares = shares || plan->kernels[i].whole;
    }
    return shares;
}

int lamina__resume_threads(int asked, const char *path, const lamina__checkpoint *checkpoint) {
    note_other(path, "the instruction set", checkpoint->isa, lamina__onednn_isa());
    note_other(path, "oneDNN", checkpoint->onednn_version, lamina__onednn_version());
    if (!shares_calls(&checkpoint->plan) || checkpoint->threads < 1) {
        return asked;
    }
    if (asked > 0 && asked != checkpoint->threads) {
        lamina__log(
            LAMINA_LOG_WARNING,
            "%s was made with --threads %d, this is %d, and threads share calls: the result may "
            "differ in the last bits",
            path, checkpoint->threads, asked);
        return asked;
    }
    return checkpoint->threads;
}
