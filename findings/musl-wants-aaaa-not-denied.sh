#!/bin/bash
# Guess: when a name server has an A record and answers the question for AAAA with "no such name", a refusal or a failure, a
# program that takes either family connects by IPv4.
# Seen (musl 1.2.3-1 of Debian 12, against this machine's glibc): glibc does. musl gives up although the address came: NXDOMAIN for
# AAAA means that the name is not there, and SERVFAIL, REFUSED and NOTIMP mean "try again", until its time is up. Only an
# empty NOERROR lets the A record count.
# Follows: a name server for containers answers NOERROR without records for every type that it does not have, for each
# name that exists, and passes an upstream's failure for one type on with care. Alpine's images are musl.
set -euo pipefail
[ "${1:-}" = inside ] || {
    dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
    cd "$dir"; apt-get -q -o APT::Sandbox::User=root download musl=1.2.3-1 musl-dev=1.2.3-1 musl-tools=1.2.3-1 > /dev/null; echo musl=1.2.3-1
    for package in *.deb; do dpkg -x "$package" root; done
    sed "s|/usr/lib/x86_64-linux-musl|$dir/root&|g; s|/usr/include/x86_64-linux-musl|$dir/root&|g" root/usr/lib/x86_64-linux-musl/musl-gcc.specs > specs
    cat > ask.c <<'C'
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **words) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = count == 2 ? getaddrinfo(words[1], "80", &hints, &found) : EAI_FAIL;
    if (error) return puts(error == EAI_NONAME ? "no such name" : error == EAI_AGAIN ? "try again" : "failed"), 0;
    for (; found; found = found->ai_next) {
        char text[64];
        getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
        puts(text);
    }
}
C
    gcc -o glibc ask.c; gcc -specs specs -static -o musl ask.c
    cat > names.py <<'PY'
import socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
open("ready", "w").close()
codes = {"noerror": 0, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}
while True:
    question, asker = server.recvfrom(2048)
    end = 12 + question[12:].index(0) + 5
    label = question[13:13 + question[12]].decode()
    is_a = struct.unpack(">H", question[end - 4:end - 2])[0] == 1
    code = 0 if is_a else codes[label]
    answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7]) if is_a else b""
    server.sendto(question[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, bool(answer), 0, 0) + question[12:end] + answer, asker)
PY
    export dir; timeout 120 unshare --net --mount --pid --fork --kill-child bash "$(realpath "$OLDPWD/$0" 2> /dev/null || realpath "$0")" inside
    exit
}
cd "$dir"; ip link set lo up
echo 'nameserver 127.0.0.1' > resolv.conf; mount --bind resolv.conf /etc/resolv.conf
python3 names.py & until [ -e ready ]; do sleep 0.1; done
bad=0
expect() { # LIBRARY NAME ANSWER
    seen=$("./$1" "$2.example.") || true; echo "$1: AAAA answered by $2 -> $seen"; [ "$seen" = "$3" ] || { bad=1; echo "   expected: $3"; }
}
for code in noerror nxdomain servfail refused notimp; do expect glibc $code 192.0.2.7; done
expect musl noerror 192.0.2.7
expect musl nxdomain 'no such name'
for code in servfail refused notimp; do expect musl $code 'try again'; done
exit $bad
