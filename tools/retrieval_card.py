"""Write the model card of the embedded retrieval from the report of tools/retrieval_bench.py and the weights' file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hoirecon.files import atomic_file
from hoirecon.retrieval.embedded.encoder import POINT_FILE, VIEW_FILE, WEIGHTS
from hoirecon.retrieval.embedded.gallery import LIBRARY

CARD = Path(__file__).parent.parent / "docs" / "model-cards" / "embedded-retrieval.md"
TEMPLATE = Path(__file__).with_name("retrieval_card_template.md")


def main() -> None:
    """Read the report, write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="what tools/retrieval_bench.py printed")
    parser.add_argument("--out", type=Path, default=CARD)
    options = parser.parse_args()
    report = json.loads(options.report.read_text(encoding="utf-8"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(options.out) as tmp:
        tmp.write_text(TEMPLATE.read_text(encoding="utf-8").format(**_values(report)), encoding="utf-8")


def _values(report: dict[str, Any]) -> dict[str, Any]:
    from safetensors import safe_open

    sizes: dict[str, int] = {}
    for name in (VIEW_FILE, POINT_FILE):
        with safe_open(str(WEIGHTS / name), "pt") as file:
            made_by = json.loads(file.metadata()["made_by"])
            sizes |= {f"{name}:{key}": file.get_tensor(key).numel() for key in file.keys()}  # noqa: SIM118  (no dict)
    config, mean = report["config"], report["mean"]
    categories, total = len(config["categories"]), len(config["categories"]) * config["per_category"]
    learned = {k: v for k, v in sizes.items() if "running" not in k and "tracked" not in k}
    return {
        "view_parameters": sum(v for k, v in learned.items() if k.startswith(VIEW_FILE)),
        "point_parameters": sum(v for k, v in learned.items() if k.startswith(POINT_FILE)),
        "weights_mb": sum((WEIGHTS / name).stat().st_size for name in (VIEW_FILE, POINT_FILE)) / 1e6,
        "gallery_mb": LIBRARY.stat().st_size / 1e6,
        "library": len(json.loads(LIBRARY.with_suffix(".json").read_text(encoding="utf-8"))["names"]),
        "sha": json.loads(LIBRARY.with_suffix(".json").read_text(encoding="utf-8"))["weights"],
        "shapes": made_by["shapes"],
        "view_steps": made_by["training"]["view_steps"],
        "point_steps": made_by["training"]["point_steps"],
        "seed": made_by["training"]["seed"],
        **{name: report["rank"][name] for name in ("points", "overlap", "missing")},
        "seeds": " ".join(map(str, report["seeds"])),
        "shapes_tested": total,
        "categories": categories,
        "queries": config["queries"],
        "hidden": f"{config['hidden'][0]:.0%} to {config['hidden'][1]:.0%}",
        "table": "\n".join(_row(mean, *names) for names in _METHODS),
        "siblings": "\n".join(_sibling_row(mean, *names) for names in _METHODS if f"{names[2]}_with_label" in mean),
        "chance_instance": 1 / total,
        "chance_five": 5 / total,
        "chance_category": 1 / categories,
        "other_queries": report["other_makers"]["queries"],
        "other_first": _short(report["other_makers"]["category_at_1"]),
        "other_five": _short(report["other_makers"]["category_at_5"]),
        "cost": mean["cost"]["cpu_seconds_per_query"],
    }


_METHODS = (
    ("clean", "ours", "clean"),
    ("clean", "ours, normals known", "clean_normals"),
    ("clean", "networks alone", "network_alone_clean"),
    ("clean", "unlearned silhouettes", "unlearned_clean"),
    ("occluded", "ours", "occluded"),
    ("occluded", "networks alone", "network_alone_occluded"),
    ("occluded", "unlearned silhouettes", "unlearned_occluded"),
)


def _row(mean: dict[str, Any], masks: str, method: str, key: str) -> str:
    cells = [_cell(mean[key], name) for name in ("instance_at_1", "instance_at_5", "category_at_1")]
    return "| " + " | ".join([masks, method, *cells]) + " |"


def _sibling_row(mean: dict[str, Any], masks: str, method: str, key: str) -> str:
    cells = [_cell(mean[f"{key}_with_label"], name) for name in ("kept", "removed", "chamfer", "chamfer_random")]
    return "| " + " | ".join([masks, method, *cells]) + " |"


def _cell(table: dict[str, float], name: str) -> str:
    spread = f" ({_short(table[f'{name}_sd'])})" if f"{name}_sd" in table else ""
    return _short(table[name]) + spread


def _short(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


if __name__ == "__main__":
    main()
