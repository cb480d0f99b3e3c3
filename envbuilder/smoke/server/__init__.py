"""The smoke test of a running server: prompts with pictures, sound and video, and their lengths.

:func:`smoke_server` asks an OpenAI-compatible server and judges what it counted. What it should
have counted comes from :func:`expectation`, run in an environment that holds transformers.
"""

from .client import Server
from .expected import Expectation, expectation
from .talk import smoke_server

__all__ = ["Expectation", "Server", "expectation", "smoke_server"]
