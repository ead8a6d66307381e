/* A process that crashes with plugins loaded dies of it as it would have without this file, but
 * says first which plugins they are: their code is the likeliest to be at fault, and `lamina plugin
 * check` finds out. */
#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { N_SIGNALS = sizeof(signals) / sizeof(signals[0]) };

/* All made beforehand: a handler may neither allocate nor format. */
static struct sigaction before[N_SIGNALS];
static lamina__text told;

static void on_crash(int number, siginfo_t *info, void *context) {
    ssize_t written = write(STDERR_FILENO, told.data, told.length);
    (void)written, (void)context;
    for (int i = 0; i < N_SIGNALS; i++) {
        sigaction(signals[i], &before[i], NULL);
    }
    if (info->si_code <= 0) { /* sent; else the instruction at fault is run again */
        raise(number);
    }
}

void lamina__name_plugins_in_crash(const lamina__experiment *experiment) {
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO};
    static bool installed;
    if (experiment->n_plugins == 0 || installed) {
        return;
    }
    lamina__text_add(&told,
                     "\nlamina: crashed, with plugins loaded; to see whether one is wrong:\n");
    for (size_t i = 0; i < experiment->n_plugins; i++) {
        lamina__text_add(&told, "    lamina plugin check %s\n", experiment->plugins[i]);
    }
    if (told.failed) {
        return;
    }
    installed = true;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_SIGNALS; i++) {
        sigaction(signals[i], &action, &before[i]);
    }
}
