"""BuildKit, driven through ``docker buildx``: a rendered folder becomes an image, or wheels."""

from .builder import Builder, find_builder
from .buildx import Build, build
from .secrets import Secrets, gather

__all__ = ["Build", "Builder", "Secrets", "build", "find_builder", "gather"]
