"""Python projects for tests, one per way of building: file name -> content."""

FLIT = {
    "pyproject.toml": """\
[build-system]
requires = ["flit_core>=3.9,<4"]
build-backend = "flit_core.buildapi"
[project]
name = "flitty"
version = "1.2"
description = "x"
dependencies = ["packaging>=24"]
""",
    "flitty.py": '"""x"""\n',
}

HATCH = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "hatchy"
version = "0.3"
[project.optional-dependencies]
extra = ["iniconfig"]
""",
    "src/hatchy/__init__.py": "",
}

POETRY = {
    "pyproject.toml": """\
[build-system]
requires = ["poetry-core>=1.9"]
build-backend = "poetry.core.masonry.api"
[project]
name = "poetic"
version = "2.0"
dependencies = ["iniconfig"]
[tool.poetry]
packages = [{include = "poetic"}]
""",
    "poetic/__init__.py": "",
}

SCM = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "scmy"
dynamic = ["version"]
dependencies = ["packaging"]
[tool.setuptools.packages.find]
where = ["src"]
[tool.setuptools_scm]
""",
    "src/scmy/__init__.py": "",
    "src/scmy/data.txt": "tracked by git, so part of the package\n",
}

NATIVE = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
""",
    "setup.py": """\
import os
from setuptools import Extension, setup
setup(
    name="natty", version="0.1",
    ext_modules=[Extension(name, [name + ".c"]) for name in ("natty", "other")],
    options={"build_ext": {"parallel": int(os.environ.get("MAX_JOBS", "4"))}},
)
""",
    "natty.c": """\
#include <Python.h>
static char about[] = __FILE__ ", compiled on " __DATE__ " at " __TIME__;
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "natty", about, -1, NULL};
PyMODINIT_FUNC PyInit_natty(void) { return PyModule_Create(&module); }
""",
    "other.c": """\
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "other", __FILE__, -1, NULL};
PyMODINIT_FUNC PyInit_other(void) { return PyModule_Create(&module); }
""",
}

LEGACY = {
    "setup.py": """\
import setuptools
setuptools.setup(
    name="oldy", version="3", py_modules=["oldy"], setup_requires=["iniconfig"],
    install_requires=["packaging"],
)
""",
    "oldy.py": "",
}
