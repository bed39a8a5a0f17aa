/* Copyright (c) 2026, The Lowtide authors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Preloaded into libvirtd and QEMU on a host that pretends to have more processors and memory
 * cells than the machine: what they ask of cells that are not there succeeds and does nothing,
 * and a processor that is not there is one of those that are.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

struct bitmask;

long set_mempolicy(int mode, const unsigned long *nodes, unsigned long most)
{
    return (void)mode, (void)nodes, (void)most, 0;
}

long mbind(void *start, unsigned long length, int mode, const unsigned long *nodes,
           unsigned long most, unsigned flags)
{
    return (void)start, (void)length, (void)mode, (void)nodes, (void)most, (void)flags, 0;
}

long migrate_pages(int pid, unsigned long most, const unsigned long *from, const unsigned long *to)
{
    return (void)pid, (void)most, (void)from, (void)to, 0;
}

void numa_set_membind(struct bitmask *nodes) { (void)nodes; }
void numa_set_preferred(int node) { (void)node; }
void numa_set_interleave_mask(struct bitmask *nodes) { (void)nodes; }

static int allowed[CPU_SETSIZE], count;

__attribute__((constructor)) static void find_processors(void)
{
    cpu_set_t own;
    CPU_ZERO(&own);
    syscall(SYS_sched_getaffinity, 0, sizeof own, &own);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &own))
            allowed[count++] = cpu;
}

int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *wanted)
{
    cpu_set_t mapped;
    CPU_ZERO(&mapped);
    for (size_t cpu = 0; cpu < size * 8 && cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET_S(cpu, size, wanted) && count)
            CPU_SET(allowed[cpu % count], &mapped);
    return syscall(SYS_sched_setaffinity, pid, sizeof mapped, &mapped) < 0 ? -1 : 0;
}
