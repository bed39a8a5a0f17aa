#!/bin/bash
# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# layer.sh DIRECTORY LAYERS [PATH...] <SCRIPT: run SCRIPT in a root made of LAYERS (joined by
# colons, the top one first), with the machine's network; what it writes is DIRECTORY/files.
# The script sees each PATH of the machine at the same place, as long as it runs.
# Runs in a mount namespace of its own, so that nothing is left mounted whatever happens.
set -eu
directory=$1 layers=$2
shift 2

mount --make-rprivate /
mkdir -p "$directory/files" "$directory/work" "$directory/root"
if ! mount -t overlay overlay "$directory/root" \
    -o "lowerdir=$layers,upperdir=$directory/files,workdir=$directory/work"; then
    echo "layer: $directory cannot hold an overlay; point LOWTIDE_CACHE at another filesystem" >&2
    exit 1
fi
cd "$directory/root"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm
for node in null zero full random urandom; do
    : >"dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
ln -s /proc/self/fd dev/fd
made=()
for path in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt "$@"; do
    if [ -d "$path" ]; then
        [ -d ".$path" ] || made+=("${path#/}")
        mkdir -p ".$path"
    elif [ -e "$path" ]; then
        [ -e ".$path" ] || made+=("${path#/}")
        mkdir -p ".${path%/*}"
        touch ".$path"
    else
        continue
    fi
    mount --bind "$path" ".$path"
done
cat >tmp/script
chroot . /bin/bash -eu /tmp/script </dev/null
for path in ${made[@]+"${made[@]}"}; do
    umount "$path"
    if [ -d "$path" ]; then rmdir "$path"; else rm "$path"; fi
    rmdir -p --ignore-fail-on-non-empty "${path%/*}"
done
