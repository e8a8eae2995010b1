#!/bin/bash
# Guess: a registry that is asked for a manifest without `Accept`, or with `Accept: */*`, sends what is stored.
# Seen (docker-registry 2.8.2+ds1-1 of Debian 12, the "distribution" program): nothing is sent to either. An OCI manifest or index
# answers 404 MANIFEST_UNKNOWN, as if the tag were not there; a Docker manifest or list answers 400 MANIFEST_INVALID, because
# it tries to make the first, signed format of it. A list asked for as a single manifest is answered by another document:
# the manifest of linux/amd64, or 404 where the list has none for it.
# Follows: name all four types in every request, and take a 404 for "not there" only when you did; a HEAD of `curl -I` proves
# nothing about a tag.
set -euo pipefail
want=docker-registry=2.8.2+ds1-1
dir=$(mktemp -d); pid=; trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$dir"' EXIT
cd "$dir"; apt-get -q -o APT::Sandbox::User=root download "$want" > /dev/null; dpkg -x docker-registry_*.deb root; echo "$want"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: "127.0.0.1:%s"}\nlog: {level: error}\n' "$dir" "$port" > registry.yml
root/usr/bin/docker-registry serve registry.yml > log 2>&1 & pid=$!
timeout 60 python3 - "$port" <<'PY'
import hashlib, json, sys, time, urllib.error, urllib.request

base = f"http://127.0.0.1:{sys.argv[1]}/v2/"

def ask(method, url, data=None, **headers):
    request = urllib.request.Request(url if "://" in url else base + url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()

def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()

while True:
    try:
        ask("GET", "")
        break
    except OSError:
        time.sleep(0.1)

config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
place = ask("POST", "a/blobs/uploads/")[1]["Location"]
ask("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest(config), config, **{"Content-Type": "application/octet-stream"})
oci, docker = "application/vnd.oci.image.", "application/vnd.docker.distribution.manifest."

def manifest(kind, of):
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": of, "digest": digest(config), "size": len(config)}, "layers": []}).encode()

def index(kind, inner, of, machine):
    entry = {"mediaType": of, "digest": digest(inner), "size": len(inner), "platform": {"architecture": machine, "os": "linux"}}
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).encode()

types = {"oci": oci + "manifest.v1+json", "docker": docker + "v2+json", "index": oci + "index.v1+json", "list": docker + "list.v2+json", "list-arm64": docker + "list.v2+json"}
stored = {"oci": manifest(types["oci"], oci + "config.v1+json"), "docker": manifest(types["docker"], "application/vnd.docker.container.image.v1+json")}
stored["index"] = index(types["index"], stored["oci"], types["oci"], "amd64")
stored["list"] = index(types["list"], stored["docker"], types["docker"], "amd64")
stored["list-arm64"] = index(types["list"], stored["docker"], types["docker"], "arm64")
for tag, data in stored.items():
    assert ask("PUT", f"a/manifests/{tag}", data, **{"Content-Type": types[tag]})[0] == 201, tag

def get(tag, accept):
    status, _, body = ask("GET", f"a/manifests/{tag}", **({"Accept": accept} if accept else {}))
    if status == 200:
        return next(name for name, data in stored.items() if data == body)
    return f"{status} {json.loads(body)['errors'][0]['code']}"

every = ", ".join(dict.fromkeys(types.values()))
seen = {(tag, how): get(tag, accept) for tag in stored for how, accept in (("nothing", None), ("*/*", "*/*"), ("a single manifest", types["docker"]), ("every type", every))}
for (tag, how), answer in seen.items():
    print(f"{tag:<10} asked with {how:<17} -> {answer}")
lost, bad, missing = "404 MANIFEST_UNKNOWN", "400 MANIFEST_INVALID", "404 MANIFEST_UNKNOWN"
for how in ("nothing", "*/*"):
    assert [seen[tag, how] for tag in stored] == [lost, bad, lost, bad, missing], how
assert seen["list", "a single manifest"] == "docker" and seen["list-arm64", "a single manifest"] == missing
assert all(seen[tag, "every type"] == tag for tag in stored)
PY
