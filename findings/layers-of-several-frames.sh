#!/bin/bash
# Guess: what decompresses gzip or zstd decompresses all of a file, or fails.
# Seen (fflate 0.8.3 from npm; zstandard 0.25.0 from PyPI): given two gzip members, or two zstd frames with a skippable one between, one
# after the other, fflate's gunzipSync and decompressSync, and zstandard's decompress() and decompressobj(), return the first part
# and no error; zstandard's stream_reader() and open(), fzstd 0.1.1, pako 3.0.3 and Node's zlib return all.
# Follows: image layers are such files (eStargz and zstd:chunked make a member or frame a file, so that single files can be
# fetched): read so, a layer ends after its first file, and only the digest of the uncompressed content tells.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
python3 -m venv venv; venv/bin/pip -q install --disable-pip-version-check zstandard==0.25.0
npm install --silent --no-audit --no-fund fflate@0.8.3 fzstd@0.1.1 pako@3.0.3 > /dev/null
echo "zstandard==0.25.0 fflate@0.8.3 fzstd@0.1.1 pako@3.0.3"
venv/bin/python - > seen <<'PY'
import gzip, io, zstandard
frame = zstandard.ZstdCompressor().compress
zstd = frame(b"one ") + b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + frame(b"two")
open("two.zst", "wb").write(zstd)
open("two.gz", "wb").write(gzip.compress(b"one ") + gzip.compress(b"two"))
reader = zstandard.ZstdDecompressor()
print("zstandard decompress:", reader.decompress(zstd).decode())
print("zstandard decompressobj:", reader.decompressobj().decompress(zstd).decode())
print("zstandard stream_reader:", reader.stream_reader(io.BytesIO(zstd)).read().decode())
print("zstandard open:", zstandard.open("two.zst").read().decode())
PY
node - >> seen <<'JS'
const fs = require("fs"), zstd = fs.readFileSync("two.zst"), gz = fs.readFileSync("two.gz");
const say = (what, bytes) => console.log(`${what}: ${Buffer.from(bytes)}`);
say("fflate gunzipSync", require("fflate").gunzipSync(gz));
say("fflate decompressSync", require("fflate").decompressSync(gz));
say("fzstd", require("fzstd").decompress(zstd));
say("pako", require("pako").ungzip(gz));
say("node zlib", require("zlib").gunzipSync(gz));
JS
cat seen
sed 's/ $//' seen | diff - <(printf '%s\n' "zstandard decompress: one" "zstandard decompressobj: one" "zstandard stream_reader: one two" "zstandard open: one two" \
    "fflate gunzipSync: one" "fflate decompressSync: one" "fzstd: one two" "pako: one two" "node zlib: one two")
