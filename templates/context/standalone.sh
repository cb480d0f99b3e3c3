#!/bin/sh
# Unpack the archive $1, whose SHA-256 is $2, as /opt/python, with the modes that envbuilder's own
# layers have, and without packages: those are the lock's business.
set -e
echo "$2  $1" | sha256sum -c - >/dev/null
mkdir -p /opt/python
tar -xzf "$1" -C /opt/python --strip-components 1 --no-same-owner
rm -rf /opt/python/lib/python3.*/site-packages/* /opt/python/bin/pip*
chmod -R u=rwX,go=rX /opt/python
find /opt/python -type d -empty -delete
