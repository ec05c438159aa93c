#include "daemon/state_dir.h"

#include "base/log.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

bool hf_state_dir_make(struct hf_state_dir *dir, const char *configured, const char *name)
{
    const char *base = getenv("TMPDIR");

    if (dir->path[0] != '\0')
        return true;
    if (configured[0] != '\0') {
        snprintf(dir->path, sizeof dir->path, "%s", configured);
        return true;
    }
    snprintf(dir->path, sizeof dir->path, "%.900s/holdfastd-%s-XXXXXX",
             base != NULL && base[0] == '/' ? base : "/tmp", name);
    dir->is_temporary = mkdtemp(dir->path) != NULL;
    if (!dir->is_temporary)
        dir->path[0] = '\0';
    return dir->is_temporary;
}

static int remove_cb(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    if (remove(path) != 0)
        hf_log_debug("state_dir.left", "path=%s", path);
    return 0;
}

void hf_state_dir_close(struct hf_state_dir *dir)
{
    if (dir->is_temporary)
        nftw(dir->path, remove_cb, 8, FTW_DEPTH | FTW_PHYS);
    *dir = (struct hf_state_dir){0};
}
