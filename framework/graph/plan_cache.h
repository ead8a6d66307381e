/* Measured plans on disk: one small text file for each, found by its key. */
#ifndef LAMINA_GRAPH_PLAN_CACHE_H
#define LAMINA_GRAPH_PLAN_CACHE_H

#include "graph/net.h"

/* $LAMINA_CACHE (empty: no cache), else $XDG_CACHE_HOME/lamina, else ~/.cache/lamina; lamina__free.
 * NULL: there is none. */
char *lamina__plan_cache_folder(void);

/* Adds everything that a measurement depends on: processor, versions, threads, batch sizes,
 * network, kernels there are and kernels asked for. */
void lamina__plan_key(const lamina__network *, const lamina__net_options *, lamina__text *key);

/* A plan that was written for this very key; lamina__plan_record_free. False when there is none, or
 * what there is cannot be read, is damaged, or does not fit network and threads (threads: at most
 * so many shards). Whether its kernels apply is not looked at. */
bool lamina__plan_cache_read(const char *folder, const char *key, const lamina__network *,
                             int threads, lamina__plan_record *);

/* What cannot be written is not: a warning in the log says so. */
void lamina__plan_cache_write(const char *folder, const char *key, const lamina__plan_record *);

#endif
