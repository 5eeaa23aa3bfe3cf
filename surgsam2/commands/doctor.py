"""`surgsam2 doctor` tells what is installed, which devices work, and what to install."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

INSTALL_SAM2 = "SAM2_BUILD_CUDA=0 pip install --no-build-isolation --no-deps sam2==1.1.0"

# module, distribution, and what to do if it is missing or broken
REQUIRED = (
    ("torch", "torch", "pip install torch (see https://pytorch.org/get-started for your GPU)"),
    ("sam2.modeling.sam2_base", "sam2", f"after torch: {INSTALL_SAM2}"),
    ("numpy", "numpy", "pip install numpy"),
    ("hydra", "hydra-core", "pip install hydra-core"),
    ("iopath", "iopath", "pip install iopath"),
    ("PIL", "pillow", "pip install pillow"),
    ("cv2", "opencv-python-headless", "pip install opencv-python-headless"),
    ("av", "av", "pip install av"),
    ("pydicom", "pydicom", "pip install pydicom"),
    ("pycocotools", "pycocotools", "pip install pycocotools"),
    ("safetensors", "safetensors", "pip install safetensors"),
    ("tqdm", "tqdm", "pip install tqdm"),
    ("jinja2", "jinja2", "pip install jinja2"),
    ("fsspec", "fsspec", "pip install fsspec"),
)
# distribution, and what it is for
_EXPORT = "for surgsam2 export: pip install onnx onnxscript onnxruntime"
OPTIONAL = (
    ("SimpleITK", "for DICOM, NRRD and MHA sequences: pip install SimpleITK"),
    ("monai", "for the MONAI bundle: pip install 'monai[fire,ignite]'"),
    ("onnx", _EXPORT),
    ("onnxscript", _EXPORT),
    ("onnxruntime", _EXPORT),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    status: str
    """`ok`, `missing`, `broken` or `note`."""
    subject: str
    """The package, device or other thing that was examined."""
    text: str
    """The version or state, or what to do."""

    def __str__(self) -> str:
        return f"{self.status:8} {self.subject:24} {self.text}"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `doctor`."""
    parser = subparsers.add_parser("doctor", help="check the installation and the devices")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 2 if something that is required is missing or broken."""
    findings = list(examine())
    for finding in findings:
        print(finding)
    bad = [f for f in findings if f.status in ("missing", "broken")]
    if bad:
        print(f"\n{len(bad)} to mend: do what the lines marked missing or broken say.")
        return 2
    print("\nEverything that is needed works.")
    return 0


def examine() -> Iterator[Finding]:
    """Examine Python, packages, devices, the built-in model, the cache and temporary files."""
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    working = set()
    for module, name, remedy in REQUIRED:
        finding = _required(module, name, remedy)
        if finding.status == "ok":
            working.add(name)
        yield finding
    for name, purpose in OPTIONAL:
        yield _optional(name, purpose)
    yield _torchvision()
    if "torch" in working:
        yield from _devices()
    if len(working) == len(REQUIRED):
        yield from _models()
    yield _temporary_files()


def _required(module: str, name: str, remedy: str) -> Finding:
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken binary package can raise anything on import
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        package = module.partition(".")[0]
        if missing == package:
            return Finding("missing", name, remedy)
        if missing and missing.partition(".")[0] != package:
            return Finding("missing", name, f"needs {missing}: pip install {missing}")
        text = f"{type(error).__name__}: {_first_line(error)}; reinstall it: {remedy}"
        return Finding("broken", name, text)
    return Finding("ok", name, _version(name, module))


def _optional(name: str, purpose: str) -> Finding:
    """Look up the version of a package without importing it.

    Importing MONAI takes seconds, and it imports torchvision where that is installed.
    """
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding("note", name, purpose)


def _torchvision() -> Finding:
    """Look up whether torchvision is installed without importing it.

    One that does not match torch can crash the process.
    """
    try:
        installed = version("torchvision")
    except PackageNotFoundError:
        return Finding("ok", "torchvision", "not installed, and not needed")
    return Finding("ok", "torchvision", f"{installed} is installed; surgsam2 does not use it")


def _devices() -> Iterator[Finding]:
    import torch

    from surgsam2.model.devices import available_devices, resolve_dtype

    for name in available_devices():
        try:
            value = float((torch.ones(2, 2, device=name) @ torch.ones(2, 2, device=name)).sum())
        except (
            RuntimeError,
            AssertionError,
        ) as error:  # AssertionError comes from torch without CUDA
            yield Finding("broken", f"device {name}", f"{_first_line(error)}; update its driver")
            continue
        title = torch.cuda.get_device_name(name) if name.startswith("cuda") else "works"
        yield Finding("ok" if value == 8 else "broken", f"device {name}", title)
        precision = str(resolve_dtype("auto", torch.device(name))).removeprefix("torch.")
        yield Finding("ok", f"precision {name}", f"{precision} where dtype is auto")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            f"torch is built for CUDA {built}, but finds no usable GPU or driver"
            if built
            else "this torch is built without CUDA"
        )
        yield Finding("note", "device cuda", f"{why}; the CPU is used")


def _models() -> Iterator[Finding]:
    from surgsam2.model.build import BUILT_IN, UNTRAINED
    from surgsam2.model.zoo import cache_folder, known_checkpoints

    trained = BUILT_IN.is_file()
    yield Finding("ok" if trained else "note", "model demo", "built in" if trained else UNTRAINED)
    here = [entry.name for entry in known_checkpoints().values() if entry.path.is_file()]
    yield Finding("ok", "downloaded models", f"{', '.join(here) or 'none'} in {cache_folder()}")


def _temporary_files() -> Finding:
    """Remove what processes that were killed have left."""
    from surgsam2.storage.temporary import remove_abandoned

    removed = len(remove_abandoned())
    text = (
        f"{removed} folders of processes that were killed were removed" if removed else "none left"
    )
    return Finding("ok", "temporary files", text)


def _version(name: str, module: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # another distribution, such as opencv-python, has the module
        return f"imported from {getattr(sys.modules[module], '__file__', None) or 'memory'}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
