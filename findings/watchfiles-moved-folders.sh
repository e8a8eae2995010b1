#!/bin/bash
# Guess: a reloader's watcher reports the saving of a file as a change of it, and a folder that is moved into the tree with the files in it.
# Seen (watchfiles 1.3.0 from PyPI, on the crate notify; what uvicorn --reload and others use): an editor's save (write beside, rename
# over) is `added`, never `modified`. A folder that comes by a rename is reported alone, none of its files: a filter by
# ending, such as the usual one for Python, drops all there is. Their later changes are seen. A folder copied in place is
# reported with its files when it was slow enough to be watched in time.
# Follows: what gets edits to such a program copies file by file, or writes the files again after a rename of their folder;
# who watches reads a new folder once, after watching it; a rule may not depend on "modified" against "added".
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
python3 -m venv venv; venv/bin/pip -q install --disable-pip-version-check watchfiles==1.3.0; echo watchfiles==1.3.0
mkdir tree; echo 1 > tree/app.py
timeout 60 venv/bin/python - <<'PY'
import os, threading
import watchfiles

os.makedirs("beside/package")
open("beside/package/module.py", "w").close()
done, seen = threading.Event(), threading.Semaphore(0)

def edit():
    threading.Event().wait(1)
    for step in steps:
        step()
        seen.acquire(timeout=5)
    done.set()

def save():
    with open("tree/app.py~", "w") as file:
        file.write("2")
    os.rename("tree/app.py~", "tree/app.py")

def change():
    with open("tree/moved/package/module.py", "w") as file:
        file.write("3")

steps = [save, lambda: os.rename("beside", "tree/moved"), change]
threading.Thread(target=edit, daemon=True).start()
batches = []
for batch in watchfiles.watch("tree", stop_event=done, watch_filter=None, step=50, debounce=400):
    batches.append({path.split("/tree/", 1)[-1].removeprefix("tree/"): kind.name for kind, path in batch})
    print(batches[-1])
    seen.release()
assert batches[0].get("app.py") == "added", "a save is something else now"
assert batches[1] == {"moved": "added"}, "the files of a moved folder are told now"
assert batches[2] == {"moved/package/module.py": "modified"}
PY
