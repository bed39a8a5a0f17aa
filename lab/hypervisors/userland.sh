#!/bin/bash
# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# userland.sh ROOT: turn a Debian just installed into the root of the lab's machines.
set -eu
root=$1

# What the packages make for one machine each must not be the same on all of them.
rm -rf "$root"/etc/ssh/ssh_host_* "$root"/etc/machine-id "$root"/var/lib/dbus/machine-id \
    "$root"/etc/hostname "$root"/var/lib/mysql/* "$root"/var/lib/rabbitmq/.erlang.cookie \
    "$root"/etc/libvirt/qemu/networks/* "$root"/etc/netplan/*
: >"$root/etc/resolv.conf"
: >"$root/etc/hosts"

# Nothing starts with a machine but what the lab, or whoever configures it, enables.
mkdir -p "$root/etc/systemd/system-preset" "$root/etc/systemd/journald.conf.d"
echo 'disable *' >"$root/etc/systemd/system-preset/00-lab.preset"
chroot "$root" systemctl --quiet preset-all
chroot "$root" systemctl --quiet set-default multi-user.target
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\nForwardToSyslog=no\n' \
    >"$root/etc/systemd/journald.conf.d/lab.conf"
# libvirt would ask them for a control group per guest, and for leave to let the machine sleep.
rm -f "$root"/usr/share/dbus-1/system-services/org.freedesktop.{login1,machine1}.service
# These belong to hardware, to consoles, or to what the machines share with the real one.
for unit in dev-hugepages.mount dev-mqueue.mount getty.target kmod-static-nodes.service \
    ldconfig.service proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    systemd-ask-password-console.path systemd-ask-password-wall.path systemd-binfmt.service \
    systemd-firstboot.service systemd-hwdb-update.service systemd-journal-catalog-update.service \
    systemd-logind.service systemd-machine-id-commit.service systemd-machined.service \
    systemd-modules-load.service \
    systemd-pcrmachine.service systemd-pcrphase-sysinit.service systemd-pcrphase.service \
    systemd-random-seed.service systemd-remount-fs.service systemd-repart.service \
    systemd-sysusers.service systemd-tmpfiles-setup-dev-early.service \
    systemd-tmpfiles-setup-dev.service systemd-udev-trigger.service systemd-udevd.service \
    systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-update-done.service \
    systemd-update-utmp-runlevel.service systemd-update-utmp.service \
    systemd-user-sessions.service var-lib-machines.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# No machine runs udevd, whose devices are the real machine's: netplan, for one, would wait for it.
cat >"$root/usr/local/bin/udevadm" <<'EOF'
#!/bin/sh
case $1 in control | settle | trigger) exit 0 ;; esac
exec /usr/bin/udevadm "$@"
EOF
chmod 755 "$root/usr/local/bin/udevadm"
