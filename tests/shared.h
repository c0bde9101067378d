/* The folder of golden and damaged models, outside the sources: SPARSENET_SHARED, by default ../shared. */
#ifndef SN_TESTS_SHARED_H
#define SN_TESTS_SHARED_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Path of something in it, lent until the next call; NULL, after a message, when it is not there. */
static inline const char *shared_path(const char *name)
{
    static char path[512];
    const char *shared = getenv("SPARSENET_SHARED");
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", shared && *shared ? shared : "../shared", name);
    if (stat(path, &status) == 0)
        return path;
    printf("%s is not there: skipped\n", path);
    return NULL;
}

#endif
