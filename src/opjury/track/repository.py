"""The git repository of the working directory: its commits, and their files in temporary folders."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from opjury.model.registry import Impossible


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git. Its exit status is 127 where it is not installed."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(arguments, 127, "", str(error))


def commit_of(name: str) -> str | None:
    """The hash of the commit that a branch, a tag or an abbreviated hash names, or None where there is none."""
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return found.stdout.strip() if found.returncode == 0 else None


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Check a commit out, until the end of the context. Raises `Impossible` where that fails."""
    with tempfile.TemporaryDirectory(prefix="opjury-") as folder:
        tree = Path(folder) / commit[:10]
        made = git("worktree", "add", "--detach", str(tree), commit)
        if made.returncode:
            raise Impossible(f"commit {commit[:10]} cannot be checked out: {made.stderr.strip()}")
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))
