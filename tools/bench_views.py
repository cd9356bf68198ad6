"""Time drawing the views of the free body and of a chair on one core: ``python tools/bench_views.py``.

Prints JSON: milliseconds for one view (1024 x 1024: face ids, barycentric weights and the shaded picture), median and
best of the repeats, by elapsed and by processor time (on a busy machine only the latter means anything), and how many
times below the goal of 100 ms the median of processor time lies. ``--pytorch3d 192`` also times pytorch3d on the CPU at
that size, and our own renderer at the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from hoirecon.contact.rendering.pytorch3d_renderer import PyTorch3DRenderer
from hoirecon.contact.rendering.surfaces import body_surface, object_surface
from hoirecon.contact.rendering.types import Renderer, Surface, ViewTable
from hoirecon.contact.rendering.views import human_views, object_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.data.body import load_body
from hoirecon.data.objects import load_object

GOAL_MS = 100.0
"""One view of 14 000 faces at 1024 x 1024 on one core."""


def timed(renderer: Renderer, surface: Surface, table: ViewTable, repeats: int) -> dict[str, float]:
    """Milliseconds for the first view of a table, after one draw that is not counted."""
    table = replace(table, views=table.views[:1])
    lights = view_lights(table)
    renderer.render(surface, table, lights)
    elapsed, used = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        renderer.render(surface, table, lights)
        elapsed.append((time.perf_counter() - wall) * 1e3)
        used.append((time.process_time() - cpu) * 1e3)
    return {
        "elapsed_ms_median": round(statistics.median(elapsed), 1),
        "processor_ms_median": round(statistics.median(used), 1),
        "processor_ms_best": round(min(used), 1),
    }


def measure(repeats: int, pytorch3d_size: int) -> dict[str, Any]:
    """Everything that is printed."""
    model = load_body()
    body = body_surface(model.rest_verts, model.faces)
    chair = object_surface(load_object("chair"))
    views = {"free_body": (body, human_views("4MV-Z_Vitru")), "chair": (chair, object_views("4MV-Z_HM"))}
    result: dict[str, Any] = {"threads": torch.get_num_threads(), "size": 1024, "goal_ms": GOAL_MS}
    for name, (surface, table) in views.items():
        times = timed(ZBufferRenderer(), surface, table, repeats)
        assert surface.faces is not None
        result[name] = {"faces": len(surface.faces), **times}
    result["times_below_goal"] = round(GOAL_MS / result["free_body"]["processor_ms_median"], 2)
    if pytorch3d_size:
        small = resized(human_views("4MV-Z_Vitru"), pytorch3d_size)
        theirs, ours = timed(PyTorch3DRenderer(), body, small, 1), timed(ZBufferRenderer(), body, small, repeats)
        ratio = theirs["processor_ms_median"] / ours["processor_ms_median"]
        result["against_pytorch3d"] = {
            "size": pytorch3d_size, "pytorch3d": theirs, "zbuffer": ours, "times_faster": round(ratio, 1),
        }  # fmt: skip
    return result


def main() -> None:
    """Read the options, measure on one thread, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--pytorch3d", type=int, default=0, metavar="SIZE", help="compare at this size; 0 does not")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(args.repeats, args.pytorch3d), indent=1))


if __name__ == "__main__":
    main()
