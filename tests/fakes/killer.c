/* Kills the process that it is preloaded into, at the n-th call that writes, syncs, sends, receives, connects, creates,
 * renames or removes something. Calls are counted over all threads of the process.
 *
 * A process that was forked from a preloaded one arms it:
 *     killer_arm(fatal, after, kinds, report)
 *   fatal   which call is the last one, 1 for the first; 0: none, only count
 *   after   0: die before the call is made; 1: make it, then die before its answer is seen
 *   kinds   which calls count, a bit for each, in the order of NAMES
 *   report  an open file that gets one line "KIND COUNT" before the process dies
 * killer_report() writes "end KIND=COUNT ..." there: how often each was called since it was armed.
 *
 * The report goes out by a raw system call, so that it is neither counted nor buffered.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    WRITE, PWRITE, FSYNC, FDATASYNC, TRUNCATE, SEND, RECV, CONNECT, CREATE, RENAME, UNLINK, KINDS
};

/* Killer's Python side knows them by these names, in this order. */
const char *const killer_names[] = {
    "write", "pwrite", "fsync", "fdatasync", "truncate", "send", "recv", "connect", "create", "rename", "unlink", NULL
};

static atomic_long counted;
static atomic_long per_kind[KINDS];
static long fatal_call;
static int die_after;
static unsigned long counted_kinds;
static int report_to = -1;

void killer_arm(long fatal, int after, unsigned long kinds, int report)
{
    atomic_store(&counted, 0);
    for (int kind = 0; kind < KINDS; kind++)
        atomic_store(&per_kind[kind], 0);
    fatal_call = fatal;
    die_after = after;
    counted_kinds = kinds;
    report_to = report;
}

void killer_report(void)
{
    char text[512];
    int length = snprintf(text, sizeof text, "end");
    for (int kind = 0; kind < KINDS; kind++)
        length += snprintf(text + length, sizeof text - length, " %s=%ld", killer_names[kind], per_kind[kind]);
    text[length++] = '\n';
    syscall(SYS_write, report_to, text, length);
}

/* Count one call; whether it is the fatal one. Exactly one call of the process gets a yes. */
static int is_fatal(enum kind kind)
{
    if (report_to < 0)
        return 0;
    atomic_fetch_add(&per_kind[kind], 1);
    if (!(counted_kinds >> kind & 1))
        return 0;
    return atomic_fetch_add(&counted, 1) + 1 == fatal_call;
}

static void die(enum kind kind)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%s %ld\n", killer_names[kind], fatal_call);
    syscall(SYS_write, report_to, text, length);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

static int is_socket(int file)
{
    struct stat status;
    int before = errno;
    int yes = report_to >= 0 && fstat(file, &status) == 0 && S_ISSOCK(status.st_mode);
    errno = before;
    return yes;
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* The call itself, with death before or after it if `counts` and it is its turn. */
#define CALL(kind, counts, call) \
    int fatal = (counts) && is_fatal(kind); \
    if (fatal && !die_after) \
        die(kind); \
    __typeof__(call) result = call; \
    if (fatal) \
        die(kind); \
    return result

#define WRAP(kind, type, name, parameters, ...) \
    type name parameters { NEXT(name); CALL(kind, 1, next(__VA_ARGS__)); }

/* A file operation on a socket is a send or a receive: OpenSSL uses read and write. */
ssize_t write(int file, const void *data, size_t size)
{
    NEXT(write);
    enum kind kind = is_socket(file) ? SEND : WRITE;
    CALL(kind, 1, next(file, data, size));
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    NEXT(writev);
    enum kind kind = is_socket(file) ? SEND : WRITE;
    CALL(kind, 1, next(file, parts, count));
}

ssize_t read(int file, void *data, size_t size)
{
    NEXT(read);
    CALL(RECV, is_socket(file), next(file, data, size));
}

WRAP(PWRITE, ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), file, data, size, at)
WRAP(PWRITE, ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), file, data, size, at)
WRAP(FSYNC, int, fsync, (int file), file)
WRAP(FDATASYNC, int, fdatasync, (int file), file)
WRAP(TRUNCATE, int, ftruncate, (int file, off_t size), file, size)
WRAP(TRUNCATE, int, ftruncate64, (int file, off64_t size), file, size)
WRAP(SEND, ssize_t, send, (int to, const void *data, size_t size, int flags), to, data, size, flags)
WRAP(SEND, ssize_t, sendto, (int to, const void *data, size_t size, int flags, const struct sockaddr *address,
     socklen_t length), to, data, size, flags, address, length)
WRAP(SEND, ssize_t, sendmsg, (int to, const struct msghdr *message, int flags), to, message, flags)
WRAP(RECV, ssize_t, recv, (int from, void *data, size_t size, int flags), from, data, size, flags)
WRAP(RECV, ssize_t, recvfrom, (int from, void *data, size_t size, int flags, struct sockaddr *address,
     socklen_t *length), from, data, size, flags, address, length)
WRAP(RECV, ssize_t, recvmsg, (int from, struct msghdr *message, int flags), from, message, flags)
WRAP(CONNECT, int, connect, (int from, const struct sockaddr *address, socklen_t length), from, address, length)
WRAP(CREATE, int, mkdir, (const char *path, mode_t mode), path, mode)
WRAP(RENAME, int, rename, (const char *from, const char *to), from, to)
WRAP(RENAME, int, renameat, (int a, const char *from, int b, const char *to), a, from, b, to)
WRAP(UNLINK, int, unlink, (const char *path), path)
WRAP(UNLINK, int, unlinkat, (int directory, const char *path, int flags), directory, path, flags)

/* What a distribution's build may call instead, with the size of the buffer behind. */
ssize_t __read_chk(int file, void *data, size_t size, size_t room) { (void)room; return read(file, data, size); }
ssize_t __recv_chk(int from, void *data, size_t size, size_t room, int flags)
{
    (void)room;
    return recv(from, data, size, flags);
}
ssize_t __recvfrom_chk(int from, void *data, size_t size, size_t room, int flags, struct sockaddr *address,
                       socklen_t *length)
{
    (void)room;
    return recvfrom(from, data, size, flags, address, length);
}

/* Opening counts only when it may create the file. (Nobody here uses O_TMPFILE.) */
#define WRAP_OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        NEXT(name); \
        CALL(CREATE, (flags & O_CREAT) != 0, next(path, flags, mode)); \
    }
#define WRAP_OPENAT(name) \
    int name(int directory, const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        NEXT(name); \
        CALL(CREATE, (flags & O_CREAT) != 0, next(directory, path, flags, mode)); \
    }
WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
