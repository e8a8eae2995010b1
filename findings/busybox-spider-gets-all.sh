#!/bin/bash
# Guess: `wget --spider`, the usual health check of small images, asks with HEAD, as GNU wget does, and `-q` prints nothing.
# Seen (busybox 1:1.35.0-4+deb12u1+b1, static, of Debian 12): it sends GET, so that the server makes and logs the whole page for each probe; it
# does not read the body, so an answer that breaks off is a success for it and a failure without --spider; 206 is a
# failure for both; and -q still prints the server's error.
# Follows: a probe of a costly page costs its price each time; what a probe that failed printed is worth showing.
set -euo pipefail
want=busybox-static=1:1.35.0-4+deb12u1+b1
dir=$(mktemp -d); pid=; trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$dir"' EXIT
cd "$dir"; apt-get -q -o APT::Sandbox::User=root download "$want" > /dev/null; dpkg -x busybox-static_*.deb root; echo "$want"
cat > server.py <<'PY'
import socket
server = socket.create_server(("127.0.0.1", 0))
open("port.new", "w").write(str(server.getsockname()[1]))
import os; os.rename("port.new", "port")
answers = {"/cut": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "/partial": "HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n", "/gone": "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}
while True:
    client, _ = server.accept()
    method, path, _ = client.recv(4096).decode().split(" ", 2)
    print(method, path, file=open("asked", "a"))
    client.sendall(answers[path].encode())
    client.close()
PY
timeout 60 python3 server.py & pid=$!; until [ -e port ]; do sleep 0.1; done
ask() { rc=0; timeout 10 root/bin/busybox wget -q "$@" 2> err || rc=$?; }
bad=0
for case in "/cut 0 1" "/partial 1 1" "/gone 1 1"; do
    read -r path spider whole <<< "$case"
    ask --spider "http://127.0.0.1:$(cat port)$path"; one=$rc; said=$(cat err)
    ask -O /dev/null "http://127.0.0.1:$(cat port)$path"
    echo "$path: --spider exits $one, without it $rc; said: ${said:-nothing}"
    [ "$one $rc" = "$spider $whole" ] || bad=1
done
sort asked | uniq -c; ! grep -qv '^GET ' asked || bad=1
case $said in *404*) ;; *) bad=1 ;; esac
exit $bad
