/* Copyright (c) 2026, The Lowtide authors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * agent [RATE [WORKING_SET]]: writes memory at a rate, and takes orders on TCP port 2323,
 * one a line, each answered with one line:
 *   dirty RATE WORKING_SET   write RATE MiB/s (0: as fast as possible) over WORKING_SET MiB
 *   stop                     write nothing
 *   status                   rate=.. working_set=.. written_mib=.. seconds=..
 * The memory holds random data, so that neither zero pages nor compression make it cheap.
 */
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 2323
#define CLIENTS 16
#define LINE 128
#define PAGE 4096
#define PAGES_PER_MIB 256.0
#define WORDS_PER_PAGE 8
#define BATCH 32

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static double rate;           /* MiB/s; 0: no limit */
static long working_set;      /* MiB; 0: write nothing */
static unsigned long order;   /* counts the orders, so that the writer notices a new one */
static volatile double written, since;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t random_word(void)
{
    static uint64_t x = 88172645463325252ULL;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static void command(double new_rate, long new_working_set)
{
    pthread_mutex_lock(&lock);
    rate = new_rate;
    working_set = new_working_set;
    order++;
    written = 0;
    since = now();
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void write_batch(uint8_t *memory, unsigned long pages, unsigned long *next)
{
    for (int i = 0; i < BATCH; i++) {
        uint64_t *page = (uint64_t *)(memory + *next * PAGE);
        for (int word = 0; word < WORDS_PER_PAGE; word++)
            page[word * (PAGE / 8 / WORDS_PER_PAGE) + *next % 64] = random_word();
        *next = (*next + 1) % pages;
    }
}

/* Write over one working set until there is another order. */
static void write_memory(double at_rate, long mib, unsigned long of_order)
{
    unsigned long pages = mib * PAGES_PER_MIB, next = 0;
    uint8_t *memory = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    for (unsigned long i = 0; i < pages * PAGE / 8 && order == of_order; i++)
        ((uint64_t *)memory)[i] = random_word();

    double start = now(), done = 0;
    while (*(volatile unsigned long *)&order == of_order) {
        write_batch(memory, pages, &next);
        done += BATCH / PAGES_PER_MIB;
        written += BATCH / PAGES_PER_MIB;
        if (at_rate <= 0)
            continue;
        double ahead = done / at_rate - (now() - start);
        if (ahead > 0.002)
            usleep(ahead * 1e6);
        else if (ahead < -0.5) {
            /* Stopped or slowed from outside: what was missed is not made up for. */
            start = now();
            done = 0;
        }
    }
    munmap(memory, pages * PAGE);
}

static void *writer(void *unused)
{
    unsigned long seen = 0;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (order == seen)
            pthread_cond_wait(&changed, &lock);
        seen = order;
        double at_rate = rate;
        long mib = working_set;
        pthread_mutex_unlock(&lock);
        if (mib > 0)
            write_memory(at_rate, mib, seen);
    }
    return unused;
}

static void answer(int client, char *line)
{
    char text[LINE];
    double wanted;
    long mib;
    if (sscanf(line, "dirty %lf %ld", &wanted, &mib) == 2 && wanted >= 0 && mib > 0) {
        command(wanted, mib);
        printf("agent: writing %g MiB/s over %ld MiB\n", wanted, mib);
        snprintf(text, sizeof text, "ok\n");
    } else if (!strncmp(line, "stop", 4)) {
        command(0, 0);
        printf("agent: writing nothing\n");
        snprintf(text, sizeof text, "ok\n");
    } else if (!strncmp(line, "status", 6)) {
        snprintf(text, sizeof text, "rate=%g working_set=%ld written_mib=%.0f seconds=%.1f\n",
                 rate, working_set, written, now() - since);
    } else {
        snprintf(text, sizeof text, "error: dirty RATE WORKING_SET, stop, or status\n");
    }
    if (write(client, text, strlen(text)) < 0)
        perror("agent: write");
}

/* Read what a client sent; return 0 when it is gone. */
static int serve(int client, char *buffer, size_t *used)
{
    ssize_t got = read(client, buffer + *used, LINE - 1 - *used);
    if (got <= 0)
        return 0;
    *used += got;
    buffer[*used] = 0;
    for (char *end; (end = strchr(buffer, '\n')); *used = strlen(buffer)) {
        *end = 0;
        answer(client, buffer);
        memmove(buffer, end + 1, strlen(end + 1) + 1);
    }
    return *used < LINE - 1;
}

/* A switch in user space passes on what the interface sends, and completes no checksum. */
static void complete_checksums(const char *interface)
{
    struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM, .data = 0};
    struct ifreq request = {.ifr_data = (void *)&value};
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    if (ioctl(any, SIOCETHTOOL, &request))
        perror("agent: checksums");
    close(any);
}

static int listen_at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, CLIENTS)) {
        perror("agent: listen");
        exit(1);
    }
    return server;
}

int main(int count, char **words)
{
    static char buffers[CLIENTS + 1][LINE];
    static size_t used[CLIENTS + 1];
    struct pollfd polled[CLIENTS + 1];
    pthread_t thread;

    setvbuf(stdout, 0, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    complete_checksums("eth0");
    since = now();
    pthread_create(&thread, 0, writer, 0);
    if (count > 1 && *words[1])
        command(atof(words[1]), count > 2 && *words[2] ? atol(words[2]) : 64);
    polled[0] = (struct pollfd){.fd = listen_at(PORT), .events = POLLIN};
    for (int i = 1; i <= CLIENTS; i++)
        polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    for (;;) {
        if (poll(polled, CLIENTS + 1, -1) < 0)
            continue;
        for (int i = 1; i <= CLIENTS; i++)
            if (polled[i].fd >= 0 && polled[i].revents && !serve(polled[i].fd, buffers[i], &used[i])) {
                close(polled[i].fd);
                polled[i].fd = -1;
            }
        if (!(polled[0].revents & POLLIN))
            continue;
        int client = accept(polled[0].fd, 0, 0), slot = 1;
        while (slot <= CLIENTS && polled[slot].fd >= 0)
            slot++;
        if (slot > CLIENTS) {
            close(client);
        } else if (client >= 0) {
            polled[slot].fd = client;
            polled[slot].revents = 0;
            used[slot] = 0;
        }
    }
}
