"""Building and installing the extension with a stand-in for Slicer's CMake package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cmake import CMAKE_BIN_DIR

CMAKE, CTEST = str(Path(CMAKE_BIN_DIR) / "cmake"), str(Path(CMAKE_BIN_DIR) / "ctest")
REPOSITORY = Path(__file__).parents[2]
EXTENSION = REPOSITORY / "SurgSAM2Extension"
MODULE = EXTENSION / "SurgSAM2"
PLACE = Path("lib/Slicer-5.12/qt-scripted-modules")


def files_below(folder: Path) -> set[str]:
    """Return the relative paths of all files except those that Python or CMake wrote."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def configure(build: Path, *options: str) -> list[str]:
    """Return the command that configures the extension with the stand-in for Slicer."""
    slicer = REPOSITORY / "tests/extension/slicer_cmake"
    command = [CMAKE, "-S", str(REPOSITORY), "-B", str(build), f"-DSlicer_DIR={slicer}", *options]
    return command if shutil.which("cc") and shutil.which("c++") else [*command, *NO_COMPILER]


# CMake looks for compilers although nothing is compiled; these settings name one
NO_COMPILER = [
    f"-DCMAKE_{language}_COMPILER{what}"
    for language in ("C", "CXX")
    for what in (f"={sys.executable}", "_FORCED=1", "_ID_RUN=1", "_ID=GNU")
]


def run(command: list[str]) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The build tree and the install tree."""
    build, installed = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("installed")
    command = configure(build, "-DBUILD_TESTING=ON")
    run(command)
    run([command[0], "--build", str(build)])
    run([command[0], "--install", str(build), "--prefix", str(installed)])
    return build, installed


def test_the_list_names_every_file() -> None:
    """A file that is not listed would be missing in the installed extension."""
    text = re.sub(r"#.*", "", (MODULE / "CMakeLists.txt").read_text())
    blocks = re.findall(
        r"set\(MODULE_PYTHON_\w+(.*?)\)", text.replace("${MODULE_NAME}", "SurgSAM2"), re.S
    )
    listed = [name for block in blocks for name in block.split()]
    there = {
        name
        for name in files_below(MODULE)
        if name.endswith(".py") or name.startswith("Resources/")
    }
    assert set(listed) == there
    folders = {
        path.parent.relative_to(MODULE).as_posix() for path in MODULE.rglob("CMakeLists.txt")
    }
    assert folders == {".", "Testing", "Testing/Python"}
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("tree", ["built", "installed"])
def test_every_file_arrives(trees: tuple[Path, Path], tree: str) -> None:
    folder = trees[0 if tree == "built" else 1] / PLACE
    arrived = files_below(folder)
    package = {f"surgsam2/{name}" for name in files_below(REPOSITORY / "surgsam2")}
    module = {name for name in files_below(MODULE) if Path(name).name != "CMakeLists.txt"}
    assert arrived == package | module
    model = "surgsam2/bundle/models/model.pt"
    assert (folder / model).read_bytes() == (REPOSITORY / model).read_bytes()


def test_surgsam2_imports_from_the_installed_folder(trees: tuple[Path, Path]) -> None:
    folder = trees[1] / PLACE
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import surgsam2, "
        "surgsam2.engine.client.client; "
        "assert 'torch' not in sys.modules; print(surgsam2.__file__)"
    )
    command = [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else []
    command = command or [sys.executable, "-c", code]
    done = subprocess.run(
        [*command, folder], capture_output=True, text=True, check=False, cwd=folder.anchor
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == folder / "surgsam2/__init__.py"


def test_tests_are_registered(trees: tuple[Path, Path]) -> None:
    listed = run([CTEST, "-N", "--test-dir", str(trees[0])])
    names = re.findall(r"Test +#\d+: (\S+)", listed)
    assert sorted(names) == ["py_SurgSAM2", "py_nomainwindow_SurgSAM2ModuleGenericTest"]


def test_a_build_without_tests(tmp_path: Path) -> None:
    run(configure(tmp_path, "-DBUILD_TESTING=OFF"))


def test_a_machine_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extension has nothing to compile, so it configures without a compiler."""
    command = configure(tmp_path)
    for name in ("CC", "CXX"):
        monkeypatch.setenv(name, str(tmp_path / "no_such_compiler"))
    run([*command, *NO_COMPILER])


def test_the_extensions_manager_is_told_the_truth(trees: tuple[Path, Path]) -> None:
    told = dict(
        line.split("=", 1) for line in (trees[0] / "extension.txt").read_text().splitlines()
    )
    entry = json.loads((EXTENSION / "SurgSAM2.json").read_text())
    assert entry["scm_url"] == told["HOMEPAGE"] + ".git"
    assert entry["build_dependencies"] == told["DEPENDS"].split()
    prefix = f"{told['HOMEPAGE']}/raw/{entry['scm_revision']}/"
    assert (REPOSITORY / told["ICONURL"].removeprefix(prefix)).is_file()
    shown = {url.removeprefix(prefix) for url in told["SCREENSHOTURLS"].split()}
    assert shown
    assert all((REPOSITORY / name).is_file() for name in shown)


def test_the_index_entry_fits_its_schema() -> None:
    """The entry meets the requirements of Slicer's extension catalogue, schema 1.0.2."""
    entry = json.loads((EXTENSION / "SurgSAM2.json").read_text())
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
    allowed = {
        "$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies",
        "build_subdirectory", "dicom_support_rule", "enabled", "tier",
    }  # fmt: skip
    assert {"$schema", "category", "scm_url"} <= set(entry) <= allowed
    assert entry["tier"] in range(1, 6)
    assert entry["scm_type"] in ("git", "local")
    assert isinstance(entry["build_dependencies"], list)
