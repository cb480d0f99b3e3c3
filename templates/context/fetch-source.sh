#!/bin/sh
# Fetch one commit from git into /source: $COMMIT of $REPOSITORY, whose files must be the tree $TREE.
# Nothing of it runs here, where the network and the secrets are.
. /run/build/step.sh

command -v git >/dev/null || {
  echo "there is no git in the base: add it to the spec's system packages" >&2
  exit 1
}
git init --quiet /source
cd /source
git fetch --quiet --depth 1 -- "$REPOSITORY" "$COMMIT"
git checkout --quiet FETCH_HEAD
found=$(git rev-parse 'HEAD^{tree}')
[ "$found" = "$TREE" ] || {
  echo "commit $COMMIT holds tree $found, not $TREE as locked" >&2
  exit 1
}
if [ -n "$SUBMODULES" ]; then
  git submodule --quiet update --init --recursive --depth 1
fi
rm -rf .git
if [ -n "$DESCRIBE" ]; then
  # What tools that make versions of tags read where there is no .git; the commit's own may be a
  # link.
  rm -f .git_archival.txt
  printf 'node: %s\ndescribe-name: %s\n' "$COMMIT" "$DESCRIBE" >.git_archival.txt
fi
