#!/bin/bash
# Guess: a chunk that is sent again with the same `Content-Range` after a lost answer is refused with 416, or written to the same place,
# and a manifest that tells another size of a blob than the stored one is refused.
# Seen (docker-registry 2.8.2+ds1-1 of Debian 12): Content-Range of a PATCH is not looked at. The same chunk again, or one from far
# beyond the end, is appended; only the digest at the end fails, and with it the whole upload. An older upload address
# answers 404 BLOB_UPLOAD_INVALID once a newer was given. Any Content-Type but application/octet-stream is answered 500.
# A wrong size in a manifest is accepted. `tags/list?n=1` sends all tags, in no order.
# Follows: resume by asking GET on the upload address for `Range` and never by sending again; count what is stored yourself
# when pulling; sort tags and expect more of them than you asked for.
set -euo pipefail
want=docker-registry=2.8.2+ds1-1
dir=$(mktemp -d); pid=; trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$dir"' EXIT
cd "$dir"; apt-get -q -o APT::Sandbox::User=root download "$want" > /dev/null; dpkg -x docker-registry_*.deb root; echo "$want"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: "127.0.0.1:%s"}\nlog: {level: error}\n' "$dir" "$port" > registry.yml
root/usr/bin/docker-registry serve registry.yml > log 2>&1 & pid=$!
timeout 60 python3 - "$port" <<'PY'
import hashlib, http.client, json, sys, time

def ask(method, url, data=None, **headers):
    link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    link.request(method, url.split(f":{sys.argv[1]}", 1)[-1], data, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = link.getresponse()
    return answer.status, answer.headers, answer.read()

while True:
    try:
        ask("GET", "/v2/")
        break
    except OSError:
        time.sleep(0.1)

def patch(url, data, start, kind="application/octet-stream"):
    return ask("PATCH", url, data, Content_Type=kind, Content_Range=f"{start}-{start + len(data) - 1}")

def put(url, data, rest=b""):
    return ask("PUT", url + "&digest=sha256:" + hashlib.sha256(data).hexdigest(), rest, Content_Type="application/octet-stream")

def expect(what, seen, wanted):
    print(f"{what}: {seen}")
    assert seen == wanted, f"before: {wanted}"

blob = b"0123456789" * 10
first = ask("POST", "/v2/a/blobs/uploads/")[1]["Location"]
status, headers, _ = patch(first, blob[:50], 0)
expect("first chunk", (status, headers["Range"]), (202, "0-49"))
status, headers, _ = patch(headers["Location"], blob[:50], 0)
expect("the same chunk again", (status, headers["Range"]), (202, "0-99"))
status, headers, _ = patch(headers["Location"], blob[50:], 5000)
expect("a chunk beyond the end", (status, headers["Range"]), (202, "0-149"))
status, _, body = put(headers["Location"], blob)
expect("the digest", (status, json.loads(body)["errors"][0]["code"]), (400, "DIGEST_INVALID"))

place = ask("POST", "/v2/a/blobs/uploads/")[1]["Location"]
expect("another content type", patch(place, blob[:50], 0, "text/plain")[0], 500)
newer = patch(place, blob[:50], 0)[1]["Location"]
status, _, body = patch(place, blob[50:], 50)
expect("an older address", (status, json.loads(body)["errors"][0]["code"]), (404, "BLOB_UPLOAD_INVALID"))
expect("progress", ask("GET", newer)[1]["Range"], "0-49")
expect("the rest with PUT", put(newer, blob, blob[50:])[0], 201)

kind = "application/vnd.oci.image.manifest.v1+json"
config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + hashlib.sha256(blob).hexdigest(), "size": 1}
manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).encode()
tags = [f"t{number:02}" for number in range(20)]
expect("a size of 1 for 100 bytes", {ask("PUT", f"/v2/a/manifests/{tag}", manifest, Content_Type=kind)[0] for tag in tags}, {201})
orders = [json.loads(ask("GET", "/v2/a/tags/list?n=1")[2])["tags"] for _ in range(5)]
expect("tags with n=1", {len(order) for order in orders}, {20})
expect("sorted", all(order == tags for order in orders), False)
PY
