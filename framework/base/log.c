/* The log: one function of the caller's, called by one thread at a time. Messages are cut at 2 KB,
 * so logging never allocates and works when memory is short. */
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lamina_log_fn *receiver;
static void *receiver_user;

void lamina_set_log(lamina_log_fn *fn, void *user) {
    pthread_mutex_lock(&lock);
    receiver = fn;
    receiver_user = user;
    pthread_mutex_unlock(&lock);
}

void lamina__log_va(int32_t level, const char *fmt, va_list args) {
    char message[2048];
    if (vsnprintf(message, sizeof(message), fmt, args) < 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    if (receiver != NULL) {
        receiver(receiver_user, level, message);
    }
    pthread_mutex_unlock(&lock);
}

void lamina__log(int32_t level, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    lamina__log_va(level, fmt, args);
    va_end(args);
}
