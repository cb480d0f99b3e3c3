"""Load this folder as a package of its own name, so that nothing here shadows the container's."""

import importlib.util
import os
import sys
from types import ModuleType

PACKAGE = "envbuilder_probe"


def load_package() -> ModuleType:
    """Import this folder as :data:`PACKAGE` and take it off the module search path."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    spec = importlib.util.spec_from_file_location(
        PACKAGE,
        os.path.join(here, "__init__.py"),
        submodule_search_locations=[here],
    )
    if spec is None or spec.loader is None:
        raise ImportError("the probe's folder cannot be imported", path=here)
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(PACKAGE + ".supervise")


if __name__ == "__main__":
    sys.exit(load_package().main(sys.argv[1:]))
