#!/usr/bin/env bash
# Apptainer for the tests, on Debian 12, where no package has it: Debian's own of its next releases, with the C library it was built
# for in a directory of its own. Nothing else of the system changes. Takes root; a minute. Ends at once where apptainer is there.
set -euo pipefail

if command -v apptainer >/dev/null; then
    apptainer --version
    exit 0
fi

libraries=/opt/raythena-tests/apptainer-libraries
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,program,library} "$libraries"

export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends patchelf squashfs-tools uidmap ca-certificates >/dev/null

# a list of packages of its own: the system goes on knowing nothing of the other release
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | sed -n 1p)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources.list"
other=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/nonexistent
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
"${other[@]}" update
(cd "$work" && "${other[@]}" download apptainer libc6 libseccomp2 libsqlite3-0)

dpkg-deb -x "$work"/apptainer_*.deb "$work/program"
for package in libc6 libseccomp2 libsqlite3-0; do
    dpkg-deb -x "$work/${package}"_*.deb "$work/library"
done

machine=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)
find "$work/library/usr/lib" -name '*.so*' -exec cp -a {} "$libraries/" \;
loader=$(basename "$(find "$libraries" -name 'ld-linux*' | head -n 1)")
cp -a "$work"/program/etc/apptainer /etc/
cp -a "$work/program/usr/lib/$machine/apptainer" "/usr/lib/$machine/"
mkdir -p /var/lib/apptainer/mnt/session
for binary in "$work/program/usr/bin/apptainer" "/usr/lib/$machine/apptainer/bin/starter"; do
    patchelf --set-interpreter "$libraries/$loader" --force-rpath --set-rpath "$libraries" "$binary"
done
install -m 755 "$work/program/usr/bin/apptainer" /usr/bin/apptainer
apptainer --version
