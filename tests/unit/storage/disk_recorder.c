/* Stands between a program and its disk (LD_PRELOAD): writes down every change it makes below RECORDED_DIRECTORY, in order, in the file
 * RECORD, and can make the n-th change from now on fail. What was written down can be replayed up to any point, so that a power cut at
 * that point can be acted out. Record: kind (1 byte), offset, length, length of path (8 bytes each), path, data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int record = -1;
static long fail_countdown = 0;
static int fail_errno = 0;
static int fail_times = 0;

/* Called by the program itself: from the n-th change on (1 is the next), `times` changes fail with `error`. */
void disk_fail(long n, int error, int times) { fail_countdown = n; fail_errno = error; fail_times = times; }

static int must_fail(void) {
    if (fail_countdown > 1) { fail_countdown--; return 0; }
    if (fail_countdown == 1 && fail_times > 0) { fail_times--; errno = fail_errno; return 1; }
    return 0;
}

static int watched(const char *path) {
    const char *directory = getenv("RECORDED_DIRECTORY");
    return directory != NULL && strncmp(path, directory, strlen(directory)) == 0;
}

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, 4095);
    if (length < 0) return 0;
    path[length] = 0;
    return watched(path);
}

static void put(const void *data, size_t length) {
    static ssize_t (*real_write)(int, const void *, size_t);
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    if (real_write(record, data, length) != (ssize_t)length) abort();
}

static void note(char kind, int64_t offset, const char *path, const void *data, int64_t length) {
    if (record < 0) {
        int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
        record = real_open(getenv("RECORD"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (record < 0) abort();
    }
    int64_t path_length = (int64_t)strlen(path);
    put(&kind, 1); put(&offset, 8); put(&length, 8); put(&path_length, 8);
    put(path, (size_t)path_length);
    if (data != NULL) put(data, (size_t)length);
}

#define PWRITE(name)                                                                      \
    ssize_t name(int descriptor, const void *data, size_t length, off64_t offset) {       \
        static ssize_t (*real)(int, const void *, size_t, off64_t);                       \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                        \
        char path[4096];                                                                  \
        int mine = path_of(descriptor, path);                                             \
        if (mine && must_fail()) return -1;                                               \
        ssize_t done = real(descriptor, data, length, offset);                            \
        if (mine && done > 0) note('w', offset, path, data, done);                        \
        return done;                                                                      \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int descriptor, const void *data, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    char path[4096];
    int mine = path_of(descriptor, path);
    if (mine && must_fail()) return -1;
    off64_t offset = mine ? lseek64(descriptor, 0, SEEK_CUR) : 0;
    ssize_t done = real(descriptor, data, length);
    if (mine && done > 0) note('w', offset, path, data, done);
    return done;
}

#define SYNC(name)                                         \
    int name(int descriptor) {                             \
        static int (*real)(int);                           \
        if (!real) real = dlsym(RTLD_NEXT, #name);         \
        char path[4096];                                   \
        int mine = path_of(descriptor, path);              \
        if (mine && must_fail()) return -1;                \
        if (mine) note('s', 0, path, NULL, 0);             \
        return real(descriptor);                           \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name)                                     \
    int name(int descriptor, off64_t length) {             \
        static int (*real)(int, off64_t);                  \
        if (!real) real = dlsym(RTLD_NEXT, #name);         \
        char path[4096];                                   \
        int mine = path_of(descriptor, path);              \
        if (mine && must_fail()) return -1;                \
        if (mine) note('t', length, path, NULL, 0);        \
        return real(descriptor, length);                   \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int unlink(const char *path) {
    static int (*real)(const char *);
    if (!real) real = dlsym(RTLD_NEXT, "unlink");
    if (watched(path) && must_fail()) return -1;
    if (watched(path)) note('u', 0, path, NULL, 0);
    return real(path);
}

int rename(const char *old, const char *new) {
    static int (*real)(const char *, const char *);
    if (!real) real = dlsym(RTLD_NEXT, "rename");
    if (watched(new) && must_fail()) return -1;
    if (watched(new)) note('r', 0, old, new, (int64_t)strlen(new));
    return real(old, new);
}
