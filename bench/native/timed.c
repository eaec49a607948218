/* Runs a program and writes down what it took: wall time, CPU time and peak memory of it and of all
 * that it waited for.
 *
 * Small on purpose: the kernel counts the memory of whoever starts a program as that program's own,
 * so a program started from Python would never show less than Python's.
 *
 *     timed REPORT PROGRAM [ARGUMENT...]     REPORT gets: wall ns, CPU us, peak KiB, wait status
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: timed REPORT PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    long long start = now();
    pid_t child = vfork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    struct rusage used;
    if (child < 0 || wait4(child, &status, 0, &used) != child) {
        perror("timed");
        return 2;
    }
    long long wall = now() - start;
    long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL +
                    used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    FILE *report = fopen(argv[1], "w");
    if (!report) {
        perror(argv[1]);
        return 2;
    }
    fprintf(report, "%lld %lld %ld %d\n", wall, cpu, used.ru_maxrss, status);
    return fclose(report) ? 2 : 0;
}
