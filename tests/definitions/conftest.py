# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One environment per release of Nova, and what it says; answers are kept by all they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RELEASES = [
    line.removeprefix("nova==").strip()
    for line in (Path(__file__).parent / "releases.txt").read_text().splitlines()
    if line.startswith("nova==")
]


@pytest.fixture(scope="session")
def environments() -> Path:
    """The directory with the environments, built when they are missing."""
    script = ROOT / ".ci" / "nova-releases"
    ran = subprocess.run([script], check=True, capture_output=True, text=True, timeout=300)
    return Path(ran.stdout.strip())


def kept(directory: Path, question: str, answer: Callable[[], Any]) -> Any:
    """The answer to a question, which is all that it depends on besides the environments."""
    file = directory / "answers" / f"{hashlib.sha256(question.encode()).hexdigest()[:32]}.json"
    if not file.exists():
        found = answer()
        file.parent.mkdir(exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(found))
        beside.replace(file)
    return json.loads(file.read_text())


@pytest.fixture(scope="session")
def run(environments: Path) -> Callable[..., Any]:
    """Run a script of this directory with a release's Python; give it JSON, take JSON."""

    def call(version: str, script: str, *given: Any) -> Any:
        path = Path(__file__).parent / script
        said = json.dumps(given)

        def ask() -> Any:
            python = environments / version / "bin" / "python"
            ran = subprocess.run(
                [python, "-I", path],
                input=said,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr
            return json.loads(ran.stdout.splitlines()[-1])

        return kept(environments, "\0".join((version, path.read_text(), said)), ask)

    return call


@pytest.fixture(scope="session", params=RELEASES)
def version(request: pytest.FixtureRequest) -> str:
    """Each release of Nova, by its package's version."""
    return request.param
