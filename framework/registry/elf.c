/* The headers of an ELF file against the file's size and this process. What the sections hold is
 * not looked at: a plugin is code, and runs as it is. */
#include "registry/elf.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef ElfW(Ehdr) elf_header;
typedef ElfW(Phdr) program_header;

typedef struct elf_file {
    FILE *file;
    const char *shown;
    uint64_t size;
    elf_header header;
    lamina_error *error;
} elf_file;

static bool is_elf(const unsigned char *ident) {
    return memcmp(ident, ELFMAG, SELFMAG) == 0;
}

static lamina_status cut_short(const elf_file *elf, uint64_t needed) {
    return lamina__fail(elf->error, LAMINA_ERROR_PLUGIN,
                        "plugin %s: is cut short: the file has %" PRIu64
                        " bytes, its headers need %" PRIu64 "; build or copy it again",
                        elf->shown, elf->size, needed);
}

static lamina_status unreadable(const elf_file *elf) {
    return lamina__fail(elf->error, LAMINA_ERROR_PLUGIN, "plugin %s: cannot be read: %s",
                        elf->shown, strerror(errno != 0 ? errno : EIO));
}

/* Reads `bytes` at `offset`, both inside the file. */
static bool read_at(FILE *file, uint64_t offset, void *dst, size_t bytes) {
    errno = 0;
    return fseeko(file, (off_t)offset, SEEK_SET) == 0 && fread(dst, 1, bytes, file) == bytes;
}

/* The kind of machine is that of the running program. */
static lamina_status check_machine(const elf_file *elf) {
    elf_header own;
    FILE *file = fopen("/proc/self/exe", "re");
    if (file == NULL) {
        return LAMINA_OK; /* no /proc: dlopen decides */
    }
    bool read = read_at(file, 0, &own, sizeof(own)) && is_elf(own.e_ident);
    fclose(file);
    const unsigned char *ident = elf->header.e_ident;
    if (!read ||
        (ident[EI_CLASS] == own.e_ident[EI_CLASS] && ident[EI_DATA] == own.e_ident[EI_DATA] &&
         elf->header.e_machine == own.e_machine)) {
        return LAMINA_OK;
    }
    return lamina__fail(elf->error, LAMINA_ERROR_PLUGIN,
                        "plugin %s: is built for another kind of machine (ELF class %d, data %d, "
                        "machine %d; this program has %d, %d, %d); build it on this one",
                        elf->shown, (int)ident[EI_CLASS], (int)ident[EI_DATA],
                        (int)elf->header.e_machine, (int)own.e_ident[EI_CLASS],
                        (int)own.e_ident[EI_DATA], (int)own.e_machine);
}

/* Grows *end to where a piece ends; a sum beyond 64 bits becomes the largest. */
static void reach(uint64_t *end, uint64_t offset, uint64_t bytes) {
    uint64_t piece = bytes > UINT64_MAX - offset ? UINT64_MAX : offset + bytes;
    *end = piece > *end ? piece : *end;
}

/* The tables of headers, then the segments that are loaded. */
static lamina_status check_extent(const elf_file *elf) {
    const elf_header *header = &elf->header;
    uint64_t end = sizeof(*header);
    if (header->e_phnum == 0 || header->e_phentsize != sizeof(program_header)) {
        return lamina__fail(elf->error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: is not a shared library (it has no program headers); build "
                            "it with -shared -fPIC",
                            elf->shown);
    }
    reach(&end, header->e_phoff, (uint64_t)header->e_phnum * sizeof(program_header));
    if (end > elf->size) {
        return cut_short(elf, end);
    }
    if (header->e_shoff != 0) {
        reach(&end, header->e_shoff, (uint64_t)header->e_shnum * header->e_shentsize);
    }
    for (uint64_t i = 0; i < header->e_phnum; i++) {
        program_header segment;
        if (!read_at(elf->file, header->e_phoff + i * sizeof(segment), &segment, sizeof(segment))) {
            return unreadable(elf);
        }
        if (segment.p_type == PT_LOAD) {
            reach(&end, segment.p_offset, segment.p_filesz);
        }
    }
    return end > elf->size ? cut_short(elf, end) : LAMINA_OK;
}

static lamina_status check_file(elf_file *elf) {
    unsigned char *ident = elf->header.e_ident;
    size_t known = elf->size < sizeof(elf->header) ? (size_t)elf->size : sizeof(elf->header);
    if (!read_at(elf->file, 0, &elf->header, known)) {
        return unreadable(elf);
    }
    if (known < SELFMAG || !is_elf(ident)) {
        return lamina__fail(elf->error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: is not a shared library%s; give the path of a plugin's .so",
                            elf->shown, known == 0 ? " (the file is empty)" : "");
    }
    if (known < sizeof(elf->header)) {
        return cut_short(elf, sizeof(elf->header));
    }
    lamina_status status = check_machine(elf);
    return status == LAMINA_OK ? check_extent(elf) : status;
}

lamina_status lamina__elf_check(const char *real, const char *shown, lamina_error *error) {
    elf_file elf = {.shown = shown, .error = error};
    struct stat info;
    if (stat(real, &info) != 0) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN, "plugin %s: %s", shown, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) { /* before it is opened: a pipe would wait */
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "plugin %s: is not a file; give the path of a shared library (.so)",
                            shown);
    }
    elf.size = (uint64_t)info.st_size;
    elf.file = fopen(real, "re");
    if (elf.file == NULL) {
        return unreadable(&elf);
    }
    lamina_status status = check_file(&elf);
    fclose(elf.file);
    return status;
}
