/* Settings files: what is accepted is printed, and read back as the same. */
#include "base/config.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static enum hf_status load(struct hf_config *config, const void *data, size_t size,
                           struct hf_error *err)
{
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC);

    hf_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    hf_config_init(config);
    enum hf_status status = hf_config_load(config, path, err);
    close(fd);
    return status;
}

static char *print(const struct hf_config *config, size_t *out_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, out_size);

    hf_assert(out != NULL);
    hf_config_print(config, out);
    fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hf_config config, again;
    struct hf_error err = {0};
    size_t first_size, second_size;

    if (load(&config, data, size, &err) != HF_OK) {
        hf_assert(err.text[0] != '\0' && strlen(err.text) < sizeof err.text);
        return 0;
    }
    char *first = print(&config, &first_size);
    hf_assert(load(&again, first, first_size, &err) == HF_OK);
    char *second = print(&again, &second_size);
    hf_assert(first_size == second_size && memcmp(first, second, first_size) == 0);
    free(first);
    free(second);
    return 0;
}
