# Sourced: an apt of our own in $apt, in which nothing is installed, on Debian's archive as this
# machine's apt knows it. Whoever sources this has a function `fail`, which says what it was about.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

private_apt() {
  apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" \
    -o Dir::Cache="$apt" -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success::= \
    -o APT::Install-Recommends=false -o Acquire::Languages=none "$@"
}

archive() {
  apt-get indextargets --format '$(REPO_URI)' \
    'Identifier: Packages' 'Label: Debian' 'Component: main' | head -n 1
}

open_archive() {
  [ -r "$keyring" ] || fail "needs Debian's keyring: apt-get install debian-archive-keyring"
  mirror=$(archive)
  if [ -z "$mirror" ]; then
    apt-get -qq update
    mirror=$(archive)
  fi
  [ -n "$mirror" ] || fail "apt knows no Debian archive; add one to its sources"
  rm -rf "$apt"
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
}

# Let it know one suite, and no other.
know() {
  echo "deb [signed-by=$keyring] $mirror $1 main" >"$apt/sources.list"
  private_apt update
}
