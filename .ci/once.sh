# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# What clones share is built once, by one of those who want it at the same time. Sourced.

# once DIRECTORY WHAT COMMAND...: have COMMAND make DIRECTORY, unless it was made and is complete.
# WHAT is what it says meanwhile. The output of COMMAND is in DIRECTORY.log, and its end is shown
# when it fails; then this does, too. `set -e` does not hold in a COMMAND that is a function.
once() {
    local target=$1 what=$2
    shift 2
    [ ! -e "$target/.complete" ] || return 0
    mkdir -p "${target%/*}"
    exec 9>"$target.lock"
    flock 9
    [ ! -e "$target/.complete" ] || return 0
    echo "$what (once; log: $target.log)" >&2
    rm -rf "$target"
    # Not inherited: a process left behind by COMMAND must not hold the lock.
    if ! "$@" >"$target.log" 2>&1 9>&-; then
        tail -n 20 "$target.log" >&2
        return 1
    fi
    touch "$target/.complete"
}
