"""A key service as a plugin of cosign's: the program ``sigstore-kms-testkms``, for testkms://NAME.

Source: sigstore's "CLI Plugin" protocol, version 1: arguments in JSON, the data on stdin, the
answer in JSON on stdout. The key lies beside the program, whose name in the address must fit.
"""

import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PROGRAM = """\
#!{python}
import base64, json, sys
from pathlib import Path
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

asked = json.loads(sys.argv[2])
method = asked["methodName"]
with Path(__file__).with_name("calls").open("a") as calls:
    calls.write(method + "\\n")
name = asked["initOptions"]["keyResourceID"].rpartition("://")[2]
path = Path(__file__).with_name(name + ".pem")
if not path.exists():
    print(json.dumps({{"errorMessage": "the service has no key " + name}}))
    sys.exit()
key = serialization.load_pem_private_key(path.read_bytes(), None)
answer = {{}}
if method == "publicKey":
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    answer = {{"publicKeyPEM": base64.b64encode(pem).decode()}}
elif method == "signMessage":
    signature = key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256()))
    answer = {{"signature": base64.b64encode(signature).decode()}}
elif method == "defaultAlgorithm":
    answer = {{"defaultAlgorithm": "ecdsa-p256"}}
elif method == "supportedAlgorithms":
    answer = {{"supportedAlgorithms": ["ecdsa-p256"]}}
print(json.dumps({{method: answer}}))
"""


def write_service(folder: Path, name: str) -> ec.EllipticCurvePrivateKey:
    """Write the program and a key called ``name`` into ``folder``; give the key."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{name}.pem").write_bytes(pem)
    program = folder / "sigstore-kms-testkms"
    program.write_text(_PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return key
