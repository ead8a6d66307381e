/* The format's tables and its seal.
 *
 * The seal is one line of text behind the last byte that HDF5 knows of:
 *
 *     lamina crc32=89abcdef bytes=00000000000000123456
 *
 * HDF5 ignores what follows its data, so h5py and h5dump read the file as any other; but with it a
 * damaged file is recognised before HDF5 parses a byte of it. The CRC-32 is zlib's, over all bytes
 * before the line. A program that changes the file drops the line (HDF5 cuts the file to its own
 * length), so a missing seal means "no longer as Lamina wrote it", not "damaged". */
#include "checkpoint/stored.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define PROGRESS(kind, name, min, clock)                                                           \
    { #name, LAMINA__FIELD_##kind, clock, offsetof(lamina__progress, name), min, false }
#define LATER(kind, name, min)                                                                     \
    { #name, LAMINA__FIELD_##kind, false, offsetof(lamina__progress, name), min, true }
#define COLUMN(kind, name, clock)                                                                  \
    { #name, LAMINA__FIELD_##kind, clock, offsetof(lamina__metrics_row, name), 0, false }

const lamina__stored_field lamina__progress_fields[LAMINA__N_PROGRESS] = {
    PROGRESS(INT, epoch, 0, false),
    PROGRESS(INT, step, 0, false),
    PROGRESS(INT, position, 0, false),
    PROGRESS(UINT, seed, 0, false),
    PROGRESS(REAL, loss_sum, 0, false),
    PROGRESS(INT, correct, 0, false),
    PROGRESS(INT, seen, 0, false),
    PROGRESS(REAL, best_accuracy, 0, false),
    PROGRESS(INT, best_epoch, -1, false),
    PROGRESS(REAL, seconds, 0, true),
    LATER(INT, labelled, 0),
    LATER(REAL, best_loss, 0),
};

const lamina__stored_field lamina__metrics_columns[LAMINA__N_COLUMNS] = {
    COLUMN(INT, epoch, false),
    COLUMN(INT, step, false),
    COLUMN(REAL, loss, false),
    COLUMN(REAL, accuracy, false),
    COLUMN(REAL, learning_rate, false),
    COLUMN(REAL, seconds, true),
    COLUMN(REAL, images_per_second, true),
};

const char *const lamina__split_names[2] = {"train", "test"};

#define SEAL_BEGINS "\nlamina crc32="
_Static_assert(sizeof(SEAL_BEGINS "89abcdef bytes=00000000000000123456\n") - 1 ==
                   LAMINA__SEAL_LENGTH,
               "the seal has one length");

void lamina__seal_make(const void *bytes, size_t length, char seal[LAMINA__SEAL_LENGTH + 1]) {
    unsigned long crc = crc32_z(crc32_z(0, NULL, 0), bytes, length);
    snprintf(seal, LAMINA__SEAL_LENGTH + 1, SEAL_BEGINS "%08lx bytes=%020llu\n", crc & 0xffffffff,
             (unsigned long long)length);
}

lamina__seal_state lamina__seal_check(const unsigned char *bytes, size_t length) {
    char expected[LAMINA__SEAL_LENGTH + 1];
    if (length < LAMINA__SEAL_LENGTH) {
        return LAMINA__SEAL_NONE;
    }
    const unsigned char *seal = bytes + length - LAMINA__SEAL_LENGTH;
    if (memcmp(seal, SEAL_BEGINS, strlen(SEAL_BEGINS)) != 0) {
        return LAMINA__SEAL_NONE;
    }
    lamina__seal_make(bytes, length - LAMINA__SEAL_LENGTH, expected);
    return memcmp(seal, expected, LAMINA__SEAL_LENGTH) == 0 ? LAMINA__SEAL_RIGHT
                                                            : LAMINA__SEAL_WRONG;
}

void lamina__add_clean(lamina__text *out, const char *text) {
    for (; *text != '\0'; text++) {
        char c = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
        lamina__text_add_bytes(out, &c, 1);
    }
}
