# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
set -eu
# Makes /output/vmlinuz and /output/initrd.gz; runs in a root that has busybox, kmod and apt.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
apt-get -q update
apt-get -q install -y -t "$suite" --no-install-recommends cpio gcc libc6-dev linux-libc-dev
package=$(apt-cache show "linux-image-cloud-amd64/$suite" |
    sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
mkdir -p /output /tmp/kernel /tmp/root/bin /tmp/root/modules
cd /tmp/kernel
apt-get -q download "$package"
dpkg-deb --extract ./*.deb .
version=$(basename lib/modules/*)

# The MBR signature that lets firmware start a kernel makes Nova take it for a disk image whose
# partitions are wrong. QEMU loads the kernel itself and does not look.
cp "boot/vmlinuz-$version" /output/vmlinuz
printf '\0\0' | dd of=/output/vmlinuz bs=1 seek=510 conv=notrunc status=none

depmod --basedir . "$version"
for module in virtio_pci virtio_net virtio_blk virtio_balloon button evdev; do
    modprobe --dirname . --set-version "$version" --show-depends "$module" |
        awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$1]++' >modules
while read -r path; do
    cp "$path" /tmp/root/modules/
    echo "/modules/$(basename "$path")" >>/tmp/root/modules/order
done <modules

gcc -O2 -Wall -Werror -static -pthread -o /tmp/root/bin/agent "$SOURCES/agent.c"
cp /bin/busybox /tmp/root/bin/
install -m 755 "$SOURCES/init" /tmp/root/init
install -m 755 "$SOURCES/udhcpc" "$SOURCES/power" /tmp/root/bin/
cd /tmp/root
find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc | gzip -9n >/output/initrd.gz
