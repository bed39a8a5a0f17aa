# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Makes /output/placement.so; runs in a root that has apt.
set -eu
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
apt-get -q update
apt-get -q install -y -t "$suite" --no-install-recommends gcc libc6-dev
mkdir /output
gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o /output/placement.so "$SOURCES/placement.c"
