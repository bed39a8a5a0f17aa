#!/bin/bash
# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# boot.sh NAME INIT DIRECTORY LAYERS [OUTSIDE INSIDE]...: become process 1 of a machine, in
# namespaces made for it: INIT is "systemd", or "shell" for one that starts nothing. The
# directory OUTSIDE of the real machine is seen as INSIDE.
# LAYERS are the read-only directories of its root, the top one first, joined by colons;
# DIRECTORY holds what the machine writes. Says "ready" when the machine can be entered, and goes
# on when it is told, by a line, that its network is plugged in.
set -eu
name=$1 init=$2 directory=$3 layers=$4 root=$3/root
shift 4

mount --make-rprivate /
mkdir -p "$root" "$directory/upper" "$directory/work"
if ! mount -t overlay overlay "$root" \
    -o "lowerdir=$layers,upperdir=$directory/upper,workdir=$directory/work"; then
    # A container's own root is an overlay, which cannot hold the upper part of another.
    echo "boot: $directory cannot hold an overlay; the machine's files are kept in memory" >&2
    mount -t tmpfs -o mode=755 tmpfs "$directory/upper"
    mkdir "$directory/upper/files" "$directory/upper/work"
    mount -t overlay overlay "$root" \
        -o "lowerdir=$layers,upperdir=$directory/upper/files,workdir=$directory/upper/work"
fi

cd "$root"
mkdir -p dev proc sys run tmp root
mount -t proc -o nosuid,nodev,noexec proc proc
# What is the kernel's own, and so the real machine's, may not be set from here.
for path in proc/sys proc/sysrq-trigger; do
    [ -e "$path" ] || continue
    mount --bind "$path" "$path"
    mount -o remount,bind,ro,nosuid,nodev,noexec "$path"
done
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw,nosuid,nodev,noexec proc/sys/net
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
if [ "$init" = systemd ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
fi
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
mount -t tmpfs -o mode=755,nosuid tmpfs dev
mkdir run/lock dev/pts dev/shm dev/net
for node in null zero full random urandom tty kvm fuse userfaultfd net/tun; do
    if [ -e "/dev/$node" ]; then
        : >"dev/$node"
        mount --bind "/dev/$node" "dev/$node"
    fi
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
while [ $# -gt 0 ]; do
    mkdir -p ".$2"
    mount --bind "$1" ".$2"
    shift 2
done

hostname "$name"
ip link set lo up
pivot_root . .
umount -l .
cd /
echo ready
read -r _
if [ "$init" = systemd ]; then
    exec env -i container=lowtide PATH="$PATH" /lib/systemd/systemd --system \
        </dev/null >/dev/null 2>&1
fi
# As process 1 the shell reaps whatever is left to it.
exec /bin/bash -c 'trap : TERM; while :; do sleep infinity & wait; done' init \
    </dev/null >/dev/null 2>&1
