"""Checks on committed files that no linter makes: sizes, machine paths, registry hosts, the three links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 3 << 20
# Spelt in pieces so that this file does not find itself.
FORBIDDEN = [
    ("machine path", re.compile(r"(?<![\w.])/(?:" + "|".join(["work/main", "root/\\.", "opt/py" + "pi"]) + ")")),
    ("registry host", re.compile("|".join(["py" + r"pi\.org", "files\\.python" + "hosted", "registry\\.npm" + "js"]))),
]
LINKS = ("contact", "fitting", "data")


def tracked_files() -> list[Path]:
    """Files that git tracks, links left out."""
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in out.split("\0") if name]
    return [p for p in paths if p.is_file() and not p.is_symlink()]


def problems() -> list[str]:
    """One sentence per fault found."""
    found = []
    for link in LINKS:
        path = ROOT / "hoirecon" / link
        if not (path.is_symlink() and path.resolve() == ROOT / link):
            found.append(f"hoirecon/{link} must be a link to ../{link}")
    for path in tracked_files():
        name = path.relative_to(ROOT)
        if path.stat().st_size > MAX_BYTES:
            found.append(f"{name} has {path.stat().st_size} bytes, more than {MAX_BYTES}")
        text = path.read_bytes().decode("utf-8", errors="ignore") if path.suffix not in {".png", ".npz"} else ""
        found += [f"{name} names a {what}" for what, pattern in FORBIDDEN if pattern.search(text)]
    return found


if __name__ == "__main__":
    faults = problems()
    print("\n".join(faults) or "repository checks passed")
    sys.exit(1 if faults else 0)
