#!/bin/bash
# Guess: a parser of Dockerfiles that build services rewrite files with knows heredocs, which are in the syntax since 1.4.
# Seen (dockerfile-parse 2.0.1 from PyPI, beside dockerfile-ast 0.7.1 from npm): each line of a heredoc is an instruction for it. A `FROM` in
# a script of a RUN becomes a stage, and so the answer of `baseimage`; a `CMD` in a file that is copied becomes the image's
# command. There is no error, and setting `baseimage` rewrites the line in the script. dockerfile-ast reads them.
# Follows: what comes out of such a tool is compared with the file, not trusted.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
python3 -m venv venv; venv/bin/pip -q install --disable-pip-version-check dockerfile-parse==2.0.1
npm install --silent --no-audit --no-fund dockerfile-ast@0.7.1 > /dev/null
echo "dockerfile-parse==2.0.1 dockerfile-ast@0.7.1"
cat > Dockerfile <<'FILE'
FROM debian
RUN <<SCRIPT
cat > notes <<END
FROM here on
END
SCRIPT
COPY <<PAGE /page
CMD of the day
PAGE
FILE
cp Dockerfile before
venv/bin/python - <<'PY'
from dockerfile_parse import DockerfileParser
file = DockerfileParser(path=".")
print("dockerfile-parse: base", file.baseimage, "stages", file.parent_images, "command", file.cmd)
assert (file.baseimage, file.parent_images, file.cmd) == ("here", ["debian", "here"], "of the day"), "other than before"
file.baseimage = "debian:12"
PY
diff before Dockerfile || true
[ "$(sed -n 1p Dockerfile)" = "FROM debian" ] && grep -q '^FROM debian:12' Dockerfile
node -e '
const kinds = require("dockerfile-ast").DockerfileParser.parse(require("fs").readFileSync("before", "utf8")).getInstructions().map(i => i.getKeyword()).join(" ");
console.log("dockerfile-ast:", kinds); process.exit(kinds === "FROM RUN COPY" ? 0 : 1)'
