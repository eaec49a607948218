/* The floor of looking whether anything changed: one lstat of each file, on one thread.
 *
 *     lstat LIST     LIST has a path a line, relative to the current folder
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct stat facts;
    int list = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    if (list < 0 || fstat(list, &facts)) {
        fprintf(stderr, "usage: lstat LIST\n");
        return 2;
    }
    char *text = mmap(NULL, facts.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, list, 0);
    char *end = text + facts.st_size;
    unsigned long long newest = 0, count = 0;
    for (char *line = text; line < end;) {
        char *stop = memchr(line, '\n', end - line);
        if (!stop) break;
        *stop = 0;
        if (lstat(line, &facts)) {
            perror(line);
            return 2;
        }
        unsigned long long time = facts.st_mtim.tv_sec * 1000000000ULL + facts.st_mtim.tv_nsec;
        if (time > newest) newest = time;
        count++;
        line = stop + 1;
    }
    printf("%llu %llu\n", count, newest);
    return 0;
}
