"""What is installed, what is missing, which weights are found."""

from __future__ import annotations

import importlib
import os
import platform
from dataclasses import dataclass
from importlib import metadata

from hoirecon import __version__


@dataclass(frozen=True)
class Dependency:
    """One package that hoirecon uses."""

    module: str
    """Import name."""
    package: str
    """Name in the registry."""
    extra: str
    """Extra that brings it; '' for what is always installed."""
    use: str
    """What it is used for."""


DEPENDENCIES = (
    Dependency("numpy", "numpy", "", "arrays at the seams"),
    Dependency("scipy", "scipy", "", "distance transforms, trees"),
    Dependency("torch", "torch", "", "batched least squares"),
    Dependency("roma", "roma", "", "rotation maps"),
    Dependency("trimesh", "trimesh", "", "mesh files"),
    Dependency("skimage", "scikit-image", "", "sub-pixel contours"),
    Dependency("cv2", "opencv-python-headless", "", "image warps, GrabCut"),
    Dependency("PIL", "pillow", "", "image files"),
    Dependency("ai_edge_litert.interpreter", "ai-edge-litert", "perception", "runs BlazePose"),
    Dependency("open3d", "open3d", "render", "pictures, exact distances"),
    Dependency("viser", "viser", "viewer", "live view, report page"),
    Dependency("segment_anything", "segment-anything", "sam", "masks with a user's checkpoint, InteractVLM's MV-Loc"),
    Dependency("pytorch3d", "easypytorch3d", "softras", "differentiable rasteriser"),
    Dependency("warp", "warp-lang", "warp", "object fits three times faster on a CPU, soft rasteriser"),
    Dependency("transformers", "transformers", "vlm", "contact by InteractVLM, boxes by name"),
    Dependency("sentencepiece", "sentencepiece", "vlm", "InteractVLM's vocabulary"),
    Dependency("safetensors", "safetensors", "vlm", "weights without pickle"),
    Dependency("transformers", "transformers", "retrieval", "retrieval by CLIP and OpenShape with a user's weights"),
    Dependency("safetensors", "safetensors", "retrieval", "the embedded networks of retrieval, converted weights"),
    Dependency("faiss", "faiss-cpu", "faiss", "indices of a million objects and more on one machine"),
    Dependency("qdrant_client", "qdrant-client", "qdrant", "indices on a Qdrant server, for more than one machine"),
    Dependency("manifold3d", "manifold3d", "objects", "found meshes with large flat areas made smaller in seconds"),
    Dependency("bitsandbytes", "bitsandbytes", "quant", "weights in 8 and 4 bits"),
    Dependency("peft", "peft", "vlm", "LoRA adapters"),
    Dependency("kornia", "kornia", "vlm", "lens undistortion"),
    Dependency("smplx", "smplx", "smplx", "oracle of the body tests (non-commercial licence)"),
)


@dataclass(frozen=True)
class Finding:
    """State of one thing."""

    name: str
    ok: bool
    required: bool
    detail: str


def versions() -> dict[str, str]:
    """Versions of hoirecon and of the packages that a result depends on."""
    names = ("numpy", "scipy", "torch", "trimesh", "scikit-image", "opencv-python-headless", "ai-edge-litert", "open3d")
    found = {"hoirecon": __version__, "python": platform.python_version()}
    return found | {name: v for name in names if (v := _version(name))}


def examine() -> list[Finding]:
    """Look at every dependency, model file and device; nothing is installed or changed."""
    return [*[_examine_package(d) for d in DEPENDENCIES], *_examine_models(), _examine_device()]


def report(findings: list[Finding]) -> str:
    """The findings as text, one line each."""
    width = max(len(f.name) for f in findings) + 2
    marks = {(True, True): "ok", (True, False): "ok", (False, True): "MISSING", (False, False): "absent"}
    return "\n".join(f"{marks[f.ok, f.required]:<8} {f.name:<{width}} {f.detail}" for f in findings)


def _examine_package(dep: Dependency) -> Finding:
    try:
        importlib.import_module(dep.module)
    except Exception as err:  # a broken native library fails in many ways; each is worth showing
        advice = f"pip install 'hoirecon[{dep.extra}]'" if dep.extra else "pip install hoirecon"
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        return Finding(dep.package, False, not dep.extra, f"{dep.use}: {reason}: {advice}")
    extra = f" (extra {dep.extra})" if dep.extra else ""
    return Finding(dep.package, True, not dep.extra, f"{_version(dep.package) or 'found'}: {dep.use}{extra}")


def _examine_models() -> list[Finding]:
    from hoirecon.perception import models

    missing = models.missing_models()
    return [
        Finding(f.name, f not in missing, False, str(models.models_dir() / f.name) if f not in missing else
                f"BlazePose cannot run without it: fetch it with  {models.FETCH_COMMAND}")
        for f in models.MODEL_FILES
    ]  # fmt: skip


def _examine_device() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("device", False, True, "torch is missing")
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return Finding("device", True, True, f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, {cuda}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
