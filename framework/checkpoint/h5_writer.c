/* An HDF5 file of float32 datasets and text, for `lamina dump`. */
#include "checkpoint/checkpoint.h"
#include "checkpoint/h5.h"

#include "base/alloc.h"

#include <string.h>

struct lamina__h5_writer {
    lamina__h5_out out;
};

static lamina_status outcome(const lamina__h5_writer *writer, lamina_error *error) {
    return writer->out.status == LAMINA_OK
               ? LAMINA_OK
               : lamina__fail(error, writer->out.status, "%s", writer->out.reason);
}

lamina_status lamina__h5_create(lamina__h5_writer **writer, lamina_error *error) {
    *writer = lamina__calloc(1, sizeof(**writer));
    if (*writer == NULL) {
        return lamina__fail_memory(error, "an HDF5 file");
    }
    lamina__h5_out_open(&(*writer)->out);
    lamina_status status = outcome(*writer, error);
    if (status != LAMINA_OK) {
        lamina__h5_free(*writer);
        *writer = NULL;
    }
    return status;
}

lamina_status lamina__h5_add(lamina__h5_writer *writer, const char *name, const lamina_shape *shape,
                             const float *data, lamina_error *error) {
    lamina__h5_put_floats(&writer->out, writer->out.file, name, shape, NULL, data);
    return outcome(writer, error);
}

lamina_status lamina__h5_add_text(lamina__h5_writer *writer, const char *name, const char *text,
                                  lamina_error *error) {
    lamina__h5_put_texts(&writer->out, writer->out.file, name, 0, NULL, &text);
    return outcome(writer, error);
}

lamina_status lamina__h5_write(lamina__h5_writer *writer, const char *path, lamina_error *error) {
    size_t length = 0;
    const void *bytes = lamina__h5_out_bytes(&writer->out, &length);
    return bytes ? lamina__write_file(path, bytes, length, error) : outcome(writer, error);
}

void lamina__h5_free(lamina__h5_writer *writer) {
    if (writer != NULL) {
        lamina__h5_out_close(&writer->out);
        lamina__free(writer);
    }
}
