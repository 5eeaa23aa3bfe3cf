"""Run the first lines of the engine process, by path, in whatever Python it is started.

That Python may be too old or lack surgsam2, so this file uses nothing but the standard
library and runs in old versions too. It imports the surgsam2 that is installed there, else
the application's own copy, whose folder is the first argument. The folder itself is not put
on the path, because it may hold packages that were built for another Python. The second
argument is the module whose `main` is run.

A problem is reported as one line on the error output, ``surgsam2-engine KIND: MESSAGE``.
"""

import importlib
import importlib.util
import os
import sys


def fail(kind: str, message: str) -> None:
    """Report a problem on the error output and end the process."""
    sys.stderr.write("\nsurgsam2-engine " + kind + ": " + message + "\n")
    sys.stderr.flush()
    os._exit(3)


def load_copy(folder: str) -> None:
    """Import the copy of surgsam2 that lies in a folder."""
    package = os.path.join(folder, "surgsam2")  # noqa: PTH118
    start = os.path.join(package, "__init__.py")  # noqa: PTH118
    spec = importlib.util.spec_from_file_location(
        "surgsam2", start, submodule_search_locations=[package]
    )
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    sys.modules["surgsam2"] = module
    spec.loader.exec_module(module)


def run() -> None:
    """Check this Python, import surgsam2 and run the engine process."""
    sys.path.pop(0)  # this file's own folder, whose modules are not top-level ones
    if sys.version_info < (3, 10):  # noqa: UP036
        version = ".".join(map(str, sys.version_info[:3]))
        fail("install", sys.executable + " is Python " + version + "; surgsam2 needs 3.10 or newer")
    try:
        if importlib.util.find_spec("surgsam2") is None:
            load_copy(sys.argv[1])
        module = importlib.import_module(sys.argv[2])
    except Exception as error:
        advice = "; install it there: " + sys.executable + " -m pip install surgsam2"
        missing = getattr(error, "name", None) or "surgsam2"
        if missing.startswith("surgsam2."):
            fail("version", "the surgsam2 of " + sys.executable + " is too old; update it")
        reason = " ".join(str(error).split())
        fail(
            "install",
            "Python package " + missing + " is missing or broken there (" + reason + ")" + advice,
        )
    module.main()


if __name__ == "__main__":
    run()
