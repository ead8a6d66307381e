/* lamina: finds the subcommand and makes sure that its output arrived. */
#include "cli/cli.h"
#include "layers/isa.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const lamina__command lamina__train_command, lamina__test_command, lamina__summary_command,
    lamina__profile_command, lamina__layers_command, lamina__dump_command, lamina__plugin_command,
    lamina__checkpoint_command, lamina__version_command;

static const lamina__command *const commands[] = {
    &lamina__train_command,   &lamina__test_command,       &lamina__summary_command,
    &lamina__profile_command, &lamina__layers_command,     &lamina__dump_command,
    &lamina__plugin_command,  &lamina__checkpoint_command, &lamina__version_command,
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to) {
    fprintf(to, "usage: lamina COMMAND ...\n\n"
                "Lamina trains convolutional networks on CPUs, from a YAML file.\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(to, "\n\"lamina COMMAND --help\" explains a command.\n"
                "Exit status: 0 done, 1 failed, 2 wrong usage or config, 3 nothing to do,\n"
                "4 a value is not finite, 130 or 143 stopped by a signal.\n");
}

static int dispatch(int argc, char **argv) {
    const char *names[N_COMMANDS];
    if (argc < 2) {
        print_help(stderr);
        return LAMINA__EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return LAMINA__EXIT_DONE;
    }
    if (!lamina__isa_is_valid()) {
        return lamina__usage("LAMINA_ISA=%s: must be portable, avx2 or avx512, and this processor "
                             "has %s at most",
                             getenv("LAMINA_ISA"), lamina__isa_name(lamina__isa_of_processor()));
    }
    name = strcmp(name, "--version") == 0 ? "version" : name;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i]->name;
        if (strcmp(name, names[i]) == 0) {
            return commands[i]->run(commands[i], argc - 2, argv + 2);
        }
    }
    const char *near = lamina__nearest(name, names, N_COMMANDS);
    if (near != NULL) {
        return lamina__usage("unknown command \"%s\"; did you mean \"%s\"?", name, near);
    }
    return lamina__usage("unknown command \"%s\"; see \"lamina --help\"", name);
}

/* A descriptor of 0 to 2 that is closed would be the next file's that is opened, and what is
 * printed would go into that file. */
static bool open_standard(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) != fd) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    if (!open_standard()) {
        return LAMINA__EXIT_FAILED; /* with nowhere to say so */
    }
    /* A closed pipe and a file size limit are write errors like any other. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    int status = dispatch(argc, argv);
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fflush(stdout) != 0 || failed) {
        fprintf(stderr, "lamina: the output could not be written%s%s\n", errno ? ": " : "",
                errno ? strerror(errno) : "");
        status = status == LAMINA__EXIT_DONE ? LAMINA__EXIT_FAILED : status;
    }
    return status;
}
