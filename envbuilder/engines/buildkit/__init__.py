"""BuildKit, driven through ``docker buildx``: a rendered folder becomes an image, or wheels."""

from .builder import Builder, find_builder
from .buildx import BuildxRun, build
from .secrets import Secrets, gather

__all__ = ["Builder", "BuildxRun", "Secrets", "build", "find_builder", "gather"]
