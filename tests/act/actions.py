"""Stand-ins for the actions that nightly-scan.yml uses: composite actions that call this file, which keeps artifacts and caches in a folder.

    actions.py checkout|upload|download|restore|save      with INPUT_* in the environment and the folder in HEIRLOOM_ACT_STORE

The real ones are fetched from GitHub. These keep what the workflow relies on: an artifact begins at what its paths have in common, the newest
cache of a prefix is taken, one that is there is not written again.
"""

import glob
import os
import pathlib
import shutil
import sys

STORE = pathlib.Path(os.environ.get("HEIRLOOM_ACT_STORE", "store"))
# What each asks for. An input that is missing here and is used by the workflow is refused by `act`.
ACTIONS = {
    "checkout": ["repository", "ref", "path", "persist-credentials"],
    "upload": ["name", "path"],
    "download": ["name", "pattern", "path"],
    "restore": ["path", "key", "restore-keys"],
    "save": ["path", "key"],
}


def given(name):
    return os.environ.get(f"INPUT_{name.replace('-', '_').upper()}", "").strip()


def put(source, to):
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, to)  # an artifact keeps no mode


def checkout():
    # What the tested commit of the program needs to be built is not copied: the test's cargo brings the program.
    pathlib.Path(given("path"), "target/release").mkdir(parents=True, exist_ok=True)


def upload():
    to = STORE / "artifacts" / given("name")
    if to.exists():
        sys.exit(f"an artifact of the name {given('name')} is there")
    paths = [pathlib.Path(path).absolute() for line in given("path").splitlines() for path in glob.glob(line.strip())]
    files = sorted({file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()})
    if not files:
        print("warning: no files were found")
        return
    start = paths[0] if len(paths) == 1 and paths[0].is_dir() else pathlib.Path(os.path.commonpath([path.parent if path.is_file() else path for path in paths]))
    for file in files:
        put(file, to / file.relative_to(start))
    print(f"{given('name')}: {len(files)} files")


def download():
    to, artifacts = pathlib.Path(given("path") or "."), STORE / "artifacts"
    if given("name"):
        put(artifacts / given("name"), to)
        return
    for artifact in sorted(artifacts.glob(given("pattern"))):
        put(artifact, to / artifact.name)


def caches():
    return sorted((STORE / "caches").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True) if STORE.exists() else []


def file_name(key):
    return key.replace("/", "%2F")


def restore():
    for prefix in [given("key"), *given("restore-keys").split()]:
        found = [cache for cache in caches() if cache.name.startswith(file_name(prefix))]
        if found:
            put(found[0], pathlib.Path(given("path")))
            print(f"cache {found[0].name}")
            return
    print("no cache")


def save():
    to = STORE / "caches" / file_name(given("key"))
    if to.exists():
        sys.exit(f"a cache of the key {given('key')} is there")
    put(pathlib.Path(given("path")), to)


def define(name, folder):
    """Writes the action into `folder`."""
    inputs = ACTIONS[name]
    lines = [f"name: {name}", "inputs:", *[f"  {one}: {{ required: false, default: '' }}" for one in inputs], "runs:", "  using: composite", "  steps:"]
    lines += ["    - shell: bash", f"      run: python3 '{pathlib.Path(__file__).absolute()}' {name}", "      env:"]
    lines += [f"        INPUT_{one.replace('-', '_').upper()}: ${{{{ inputs.{one} }}}}" for one in inputs]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "action.yml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    {"checkout": checkout, "upload": upload, "download": download, "restore": restore, "save": save}[sys.argv[1]]()
