"""The tests of pushes, evidence and verification once more, on a registry with the referrers API.

Not part of all tests, for it compiles that registry first: `make referrers`.
"""

from types import SimpleNamespace

import pytest

from tests.integration.test_evidence_cosign import *  # noqa: F403 (tests, and what they need)
from tests.integration.test_registry_commands import *  # noqa: F403
from tests.integration.test_registry_crane import *  # noqa: F403
from tests.servers.referrers import referrers_registry

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server():
    """In place of docker-registry."""
    with referrers_registry() as host:
        yield SimpleNamespace(host=host)


@pytest.fixture
def host():
    """In place of crane's."""
    with referrers_registry() as running:
        yield running
