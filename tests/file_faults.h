/* The calls by which the library reaches files, wrapped at link time (the Makefile's WRAPPED): the n-th
 * of them from now fails, or kills the process, or all of them do less than they were asked to. Of the
 * process's own calls alone, not those inside the C library. They also see in which order a file is
 * written, synced and renamed, and its folder synced. */
#ifndef SN_TESTS_FILE_FAULTS_H
#define SN_TESTS_FILE_FAULTS_H

#include <stddef.h>

struct file_faults {
    int armed;
    size_t n;        /* calls since then */
    size_t at;       /* this one fails with `error`, or kills; 0 = none */
    int error;       /* 0: as a disk would that is full (writes) or broken (all else) */
    int kill;        /* by SIGKILL; of a write half has been done then */
    size_t most;     /* bytes that one read or write does; 0 = all */
    int interrupt;   /* every second call of reading, writing, opening, syncing gives EINTR */
    char failed[16]; /* which call failed, "" if none came to it */
    int failed_with;
    int failed_behind;   /* it was a folder's sync, behind a rename: the file stood already */
    size_t failed_after; /* bytes that this process had written then */
    size_t n_bytes;      /* written */
    size_t n_renamed;
    size_t n_renamed_too_soon; /* before all that was written was synced */
    size_t n_folders_due;      /* in which a rename has not been synced */
};
extern struct file_faults file_faults;

void file_faults_arm(void); /* counts from here */
void file_faults_disarm(void);

#endif
