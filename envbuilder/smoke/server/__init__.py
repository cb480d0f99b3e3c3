"""The smoke test of a running server: prompts with pictures, sound and video, and their lengths.

:func:`smoke_server` asks an OpenAI-compatible server and judges what it counted. What it should
have counted comes from :func:`expectation`, run in an environment that holds transformers.
"""

from envbuilder.smoke.judge.server import Counted, Counts

from .client import Server
from .expected import expectation
from .talk import smoke_server

__all__ = ["Counted", "Counts", "Server", "expectation", "smoke_server"]
