#!/bin/sh
# Fills an empty folder with all that the image has: the binary, the certificates by which it knows TLS servers, a folder for
# temporary files, and a name for the user it runs as. Times in logs and answers are UTC, so there are no time zones.
#
#   scripts/image-root.sh DIR
set -eu
root=${1:?"want the folder to fill"}
mkdir -p "$root/etc/ssl/certs" "$root/tmp"
root=$(cd "$root" && pwd)
cd "$(dirname "$0")/.."
scripts/build-static.sh "$root/edgecache"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'edgecache:x:65532:65532::/:/' >"$root/etc/passwd"
echo 'edgecache:x:65532:' >"$root/etc/group"
chmod 755 "$root" "$root/etc" "$root/etc/ssl" "$root/etc/ssl/certs" "$root/edgecache"
chmod 644 "$root/etc/passwd" "$root/etc/group" "$root/etc/ssl/certs/ca-certificates.crt"
chmod 1777 "$root/tmp"
