#!/bin/bash
# Guess: the small inits that are put in front of a container's program (docker's --init is tini, podman's is catatonit, many images
# bring dumb-init) keep to the shell's codes: 127 for a program that is not there, 126 for one that cannot be executed.
# Seen (tini 0.19.0-1+b3, dumb-init 1.2.5-2, catatonit 0.1.7-1+b2, of Debian 12): tini does. dumb-init exits 2 and catatonit 1 for both, which are
# ordinary exit codes of programs, though all three agree on 128+n for a signal, up to the real-time ones.
# Follows: "command not found" cannot be told by 127 behind an init; with `restart: on-failure` such a service is tried
# again for ever. An init of one's own checks the program before it starts.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"; apt-get -q -o APT::Sandbox::User=root download tini=0.19.0-1+b3 dumb-init=1.2.5-2 catatonit=0.1.7-1+b2 > /dev/null
for package in *.deb; do echo "$package"; dpkg -x "$package" root; done
echo text > plain; bad=0
code() { rc=0; timeout 10 "$@" > /dev/null 2>&1 || rc=$?; echo $rc; }
for case in "tini-static 127 126" "dumb-init 2 2" "catatonit 1 1"; do
    read -r init missing plain <<< "$case"
    seen="$(code "root/usr/bin/$init" -- "$dir/missing") $(code "root/usr/bin/$init" -- "$dir/plain") $(code "root/usr/bin/$init" -- bash -c 'kill -KILL $$') $(code "root/usr/bin/$init" -- bash -c 'kill -35 $$')"
    echo "$init: missing, not executable, SIGKILL, signal 35 -> $seen"
    [ "$seen" = "$missing $plain 137 163" ] || bad=1
done
exit $bad
