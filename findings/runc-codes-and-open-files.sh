#!/bin/bash
# Guess: an OCI runtime exits 127 for a program that is not in the container and 126 for one that cannot be executed; without `rlimits` in
# config.json the container has the limits of whoever calls.
# Seen (runc 1.1.5+ds1-1+deb12u1 of Debian 12): `run` exits 1 and `exec` 255 for both, so that 127 and 126 of `docker run` are made out of the
# error's words; a signal of an exec is 128+n. The soft limit of open files becomes the hard one on the way: the Go runtime that runc
# is built with (since 1.19) raises it for itself, and the container inherits that. Other limits pass as they are.
# Follows: tell the kinds of a failed start apart before exec, not by the code; set the limit of open files in the container
# whenever it matters (programs that loop over all descriptors, or use select(), do mind).
set -euo pipefail
dir=$(mktemp -d); runc() { "$dir/root/usr/sbin/runc" --root "$dir/state" "$@"; }
trap 'runc delete --force one 2> /dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"; apt-get -q -o APT::Sandbox::User=root download runc=1.1.5+ds1-1+deb12u1 busybox-static=1:1.35.0-4+deb12u1+b1 > /dev/null
for package in *.deb; do dpkg -x "$package" root; done; runc --version | head -1
export LD_LIBRARY_PATH=; mkdir -p bundle/rootfs/bin; cp root/bin/busybox bundle/rootfs/bin/; echo text > bundle/rootfs/plain; cd bundle; runc spec
bad=0
expect() { echo "$1: $2"; [ "$2" = "$3" ] || { bad=1; echo "   before: $3"; }; }
args() { python3 -c 'import json, sys
spec = json.load(open("config.json")); spec["process"].update(terminal=False, args=sys.argv[1:]); spec["process"].pop("rlimits", None)
json.dump(spec, open("config.json", "w"))' "$@"; }
code() { rc=0; timeout -s KILL 20 "$@" < /dev/null > /dev/null 2>&1 || rc=$?; echo $rc; }
export dir; export -f runc
args /missing; expect "run, missing" "$(code bash -c 'runc run one')" 1
args /plain; expect "run, not executable" "$(code bash -c 'runc run one')" 1
args /bin/busybox sh -c 'ulimit -Sn; ulimit -Hn; ulimit -Ss'
hard=$(ulimit -Hn); expect "soft and hard limit of open files, and of the stack, called with 300, $hard and 4096" \
    "$(ulimit -Sn 300 && ulimit -Ss 4096 && timeout -s KILL 20 bash -c 'runc run one' < /dev/null | tr '\n' ' ')" "$hard $hard 4096 "
args /bin/busybox sleep 60; runc run --detach one < /dev/null > /dev/null 2>&1
expect "exec, missing" "$(code bash -c 'runc exec one /missing')" 255
expect "exec, not executable" "$(code bash -c 'runc exec one /plain')" 255
expect "exec, false" "$(code bash -c 'runc exec one /bin/busybox false')" 1
expect "exec, killed" "$(code bash -c "runc exec one /bin/busybox sh -c 'kill -KILL \$\$'")" 137
exit $bad
