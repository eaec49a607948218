/* The floor of making a bundle from wheels: copies the members of wheels, compressed as they are,
 * into one zip. It checks nothing, sorts nothing, hashes nothing, and knows neither the layout of
 * wheels nor two owners of one name. Files beside the wheels go in stored.
 *
 *     rawcopy OUTPUT WHEEL... [-- FILE...]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PARTS = 1024, LOCAL = 30, CENTRAL = 46, END = 22 };

static int output;
static uint64_t written;
static struct iovec parts[PARTS];
static int waiting;
static char *directory;
static size_t directory_size, directory_room, entries;

static void stop(const char *what) {
    perror(what);
    exit(2);
}

static uint32_t get(const uint8_t *from, int size) {
    uint32_t value = 0;
    for (int i = size; i-- > 0;) value = value << 8 | from[i];
    return value;
}

static void put(uint8_t *to, uint32_t value, int size) {
    for (int i = 0; i < size; i++) to[i] = value >> (8 * i) & 0xff;
}

static void flush(void) {
    struct iovec *next = parts;
    while (waiting > 0) {
        ssize_t done = writev(output, next, waiting);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) stop("write");
        while (waiting > 0 && (size_t)done >= next->iov_len) {
            done -= next->iov_len;
            next++;
            waiting--;
        }
        if (waiting > 0) {
            next->iov_base = (char *)next->iov_base + done;
            next->iov_len -= done;
        }
    }
}

static void append(void *data, size_t size) {
    if (size == 0) return;
    if (waiting == PARTS) flush();
    parts[waiting++] = (struct iovec){data, size};
    written += size;
}

static uint8_t *file(const char *path, size_t *size) {
    struct stat facts;
    int source = open(path, O_RDONLY);
    if (source < 0 || fstat(source, &facts)) stop(path);
    *size = facts.st_size;
    if (*size == 0) return (uint8_t *)"";
    int flags = MAP_PRIVATE | MAP_POPULATE;
    uint8_t *data = mmap(NULL, *size, PROT_READ, flags, source, 0);
    if (data == MAP_FAILED) stop(path);
    close(source);
    return data;
}

/* `record` is a central header without its name, whose place in the file is set here. */
static void add(uint8_t *record, const char *name, size_t length, uint8_t *data, size_t size) {
    put(record + 30, 0, 4); /* no extra field, no comment */
    put(record + 42, written, 4);
    if (directory_size + CENTRAL + length > directory_room) {
        directory_room = 2 * (directory_size + CENTRAL + length) + 65536;
        directory = realloc(directory, directory_room);
        if (!directory) stop("memory");
    }
    memcpy(directory + directory_size, record, CENTRAL);
    memcpy(directory + directory_size + CENTRAL, name, length);
    directory_size += CENTRAL + length;
    entries++;
    uint8_t *local = malloc(LOCAL + length);
    if (!local) stop("memory");
    put(local, 0x04034b50, 4);
    memcpy(local + 4, record + 6, 24);
    put(local + 28, 0, 2);
    memcpy(local + LOCAL, name, length);
    append(local, LOCAL + length);
    append(data, size);
}

static void wheel(const char *path) {
    size_t size;
    uint8_t *data = file(path, &size), *end = data + size - END;
    while (end > data && get(end, 4) != 0x06054b50) end--;
    if (end <= data) stop(path);
    uint8_t *at = data + get(end + 16, 4);
    for (uint32_t left = get(end + 10, 2); left > 0; left--) {
        uint32_t length = get(at + 28, 2), compressed = get(at + 20, 4);
        uint32_t skip = length + get(at + 30, 2) + get(at + 32, 2);
        const char *name = (const char *)at + CENTRAL;
        uint8_t *local = data + get(at + 42, 4), record[CENTRAL];
        uint8_t *content = local + LOCAL + get(local + 26, 2) + get(local + 28, 2);
        memcpy(record, at, CENTRAL);
        record[8] &= ~8; /* no data descriptor follows: the sizes stand in front */
        if (name[length - 1] != '/') add(record, name, length, content, compressed);
        at += CENTRAL + skip;
    }
}

static uint32_t crc32(const uint8_t *data, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void stored(const char *path) {
    size_t size;
    uint8_t *data = file(path, &size), record[CENTRAL] = {0};
    put(record, 0x02014b50, 4);
    put(record + 4, 0x0314, 2);
    put(record + 6, 20, 2);
    put(record + 14, 0x21, 2);
    put(record + 16, crc32(data, size), 4);
    put(record + 20, size, 4);
    put(record + 24, size, 4);
    put(record + 28, strlen(path), 2);
    put(record + 38, 0100644u << 16, 4);
    add(record, path, strlen(path), data, size);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: rawcopy OUTPUT WHEEL... [-- FILE...]\n");
        return 2;
    }
    output = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (output < 0) stop(argv[1]);
    void (*take)(const char *) = wheel;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) take = stored;
        else take(argv[i]);
    }
    uint8_t end[END] = {0};
    uint32_t start = written;
    append(directory, directory_size);
    put(end, 0x06054b50, 4);
    put(end + 8, entries, 2);
    put(end + 10, entries, 2);
    put(end + 12, directory_size, 4);
    put(end + 16, start, 4);
    append(end, END);
    flush();
    return close(output) ? 2 : 0;
}
