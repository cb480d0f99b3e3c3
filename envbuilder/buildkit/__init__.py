"""BuildKit, driven through ``docker buildx``: a rendered folder becomes an image, or wheels."""

from .build import Build, build
from .builder import Builder, find_builder
from .secrets import Secrets, gather

__all__ = ["Build", "Builder", "Secrets", "build", "find_builder", "gather"]
