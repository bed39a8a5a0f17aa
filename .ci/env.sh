# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# `source .ci/env.sh`: the development tools on PATH, and this clone as lowtide.compute.
. "$(dirname "${BASH_SOURCE[0]:-$0}")/paths.sh"
if _lowtide_venv=$("$LOWTIDE_ROOT/.ci/venv" dev); then
    PATH=$_lowtide_venv/bin:$PATH
    export PATH
    unset _lowtide_venv
else
    unset _lowtide_venv
    false
fi
