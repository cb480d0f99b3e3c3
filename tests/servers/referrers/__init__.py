"""A registry that lists what refers to an image by API: go-containerregistry's, compiled here."""

import contextlib
import subprocess
from collections.abc import Iterator

from tests.servers.crane import FOLDER, ROOT


@contextlib.contextmanager
def referrers_registry() -> Iterator[str]:
    """Serve an empty registry on loopback; give HOST:PORT."""
    program = FOLDER / "referrers-registry"
    subprocess.run([ROOT / "tests/referrers_registry.sh", FOLDER], check=True)
    with subprocess.Popen(
        [program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
