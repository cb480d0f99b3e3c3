#!/bin/sh
# Make a Debian root file system in /rootfs of exactly the .deb files that /run/debs.txt lists
# (SHA-256, package, version), as envbuilder's own engine does: apt sees a repository that holds
# these and nothing else. The files come from the sources that this image's apt is set up with.
. /run/build/step.sh
suite=$1 architecture=$2

apt-get -qq -o APT::Update::Error-Mode=any update
apt-get -qq install --yes --no-install-recommends mmdebstrap >/dev/null
mkdir /tmp/debs
cd /tmp/debs
while read -r sha256 name version; do
  apt-cache madison "$name" | grep -qF " $version |" || {
    echo "the archive has no $name $version any more: lock anew" >&2
    exit 1
  }
  apt-get -qq download "$name:$architecture=$version" 2>/tmp/said \
    || apt-get -qq download "$name:all=$version" || {
    cat /tmp/said >&2
    exit 1
  }
  echo "$sha256  $(echo "$name"_*.deb)" | sha256sum --check --quiet
  mv "$name"_*.deb "$sha256.deb"
  dpkg-deb --field "$sha256.deb"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
    "$sha256.deb" "$(stat -c %s "$sha256.deb")" "$sha256"
done </run/debs.txt >Packages
printf 'Suite: %s\nCodename: %s\nArchitectures: %s\nDate: Sat, 01 Jan 2000 00:00:00 GMT\nSHA256:\n %s %s Packages\n' \
  "$suite" "$suite" "$architecture" "$(sha256sum <Packages | cut -d ' ' -f 1)" \
  "$(stat -c %s Packages)" >Release

# Debian's own tools leave their bytecode, as everywhere else; what packages ask py3compile for is
# compiled at once, in the end.
unset PYTHONDONTWRITEBYTECODE
mmdebstrap --quiet --mode=root --variant=essential --architectures="$architecture" \
  --include="$(cut -d ' ' -f 2 /run/debs.txt | paste -s -d ,)" \
  --setup-hook='install -D -m 644 /run/build/slim.cfg "$1/etc/dpkg/dpkg.cfg.d/slim"' \
  --essential-hook='install -m 755 /run/build/py3compile "$1/usr/local/sbin/py3compile"' \
  --customize-hook='rm "$1/usr/local/sbin/py3compile"' \
  --customize-hook='test ! -x "$1/usr/bin/python3" ||
    PYTHONHASHSEED=0 chroot "$1" /usr/bin/python3 -s -S -B - /usr /run/py3compile </run/build/unchecked_pyc.py' \
  "$suite" /rootfs 'deb [trusted=yes] copy:/tmp/debs ./'

# What only served the installation, differs from one run to the next, or slim images go without.
cd /rootfs
find usr/share/doc -mindepth 1 ! -type d ! -name copyright -delete
for manuals in groff info linda lintian locale man; do
  [ ! -d "usr/share/$manuals" ] || find "usr/share/$manuals" -mindepth 1 -delete
done
for empty in dev proc sys tmp var/tmp var/cache/apt var/cache/ldconfig var/cache/fontconfig \
  var/cache/man var/lib/apt/lists; do
  [ ! -d "$empty" ] || find "$empty" -mindepth 1 -delete
done
find run -mindepth 1 ! -path run/lock -delete
find var/log ! -type d -delete
rm -f etc/hostname etc/resolv.conf etc/.pwd.lock etc/passwd- etc/group- etc/shadow- etc/gshadow- \
  etc/subuid- etc/subgid- etc/apt/sources.list var/cache/debconf/*-old var/lib/apt/extended_states \
  var/lib/dbus/machine-id var/lib/dpkg/*-old var/lib/dpkg/lock var/lib/dpkg/lock-frontend \
  var/lib/dpkg/triggers/Lock
find . -exec touch --no-dereference --date=@946684800 {} +
