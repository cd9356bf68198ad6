#!/bin/sh
# Installs the system libraries that open3d loads, with apt where that is possible, and says what is missing elsewhere.
set -eu

missing=""
check() { # library file, Debian package
    if ! ldconfig -p 2>/dev/null | grep -q "$1"; then missing="$missing $2"; fi
}
# Only Linux has this list; on macOS open3d's wheel brings its own.
[ "$(uname -s)" = "Linux" ] || exit 0
PATH="$PATH:/sbin:/usr/sbin"
check libusb-1.0.so.0 libusb-1.0-0
check libGL.so.1 libgl1
check libEGL.so.1 libegl1
check libgomp.so.1 libgomp1
[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" = "0" ] || sudo="sudo -n"
if command -v apt-get >/dev/null 2>&1 && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
    echo "installing system libraries:$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "missing system libraries:$missing" >&2
    echo "install them with your package manager (Debian's names), then run make again" >&2
    exit 1
fi
