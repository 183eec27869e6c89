"""A private PostgreSQL, the same for every peer, or the one that an address names."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

USER = "postgres"
# The durability is PostgreSQL's default and ours: said here so that nobody wonders. Room for 64
# workers and as many submitters of one peer. Memory and log are large enough that no checkpoint
# falls into one peer's run and not another's.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "300",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
}
CLOCK_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


class Postgres:
    """Started by `start`; `close` stops it. With an address given, neither happens."""

    def __init__(self, folder, url=None):
        self.programs = find_programs()
        self.folder = folder
        self.given = url
        self.port = None
        # PostgreSQL refuses to be root.
        other = {"user": USER, "group": USER, "extra_groups": []}
        self.identity = other if os.geteuid() == 0 else {}

    def start(self):
        if self.given:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.identity:
            shutil.chown(self.folder, USER, USER)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        initdb = ["--username", USER, "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self.call("initdb", "--pgdata", "data", *initdb)
        settings = {
            **SETTINGS,
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = ["--log", "log", "--wait", "--options", options]
        self.call("pg_ctl", "--pgdata", "data", *log, "start")

    def close(self):
        if self.port is not None:
            self.call("pg_ctl", "--pgdata", "data", "--wait", "--mode", "fast", "stop")
            self.port = None

    def url(self, database=USER):
        if self.given:
            place, _, query = self.given.partition("?")
            scheme, _, rest = place.partition("://")
            return f"{scheme}://{rest.split('/')[0]}/{database}" + (f"?{query}" if query else "")
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def fresh(self, name):
        """The address of a new, empty database. What came before is written out, so that this run
        does not pay for it.
        """
        self.say(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.say(f"CREATE DATABASE {name}")
        self.say("CHECKPOINT")
        return self.url(name)

    def drop(self, name):
        self.say(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def version(self):
        return self.say("SHOW server_version").split()[0]

    def cpu_us(self):
        """Processor time of all its processes so far, ended ones too; None where the server is
        not ours.
        """
        postmaster = self.postmaster()
        if postmaster is None:
            return None
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        total = sum(ticks(postmaster, ended_children=True))
        return CLOCK_TICK_US * (total + sum(sum(ticks(child)) for child in children))

    def postmaster(self):
        """The number of the process that the others are children of; None where it is not ours."""
        if self.port is None:
            return None
        return int((self.folder / "data/postmaster.pid").read_text().split("\n", 1)[0])

    def say(self, sql):
        # Also for the private server by the address of its maintenance database.
        command = [self.programs / "psql", "-XAtq", "-d", self.given or self.url(), "-c", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def call(self, program, *arguments):
        command = [self.programs / program, *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        if program == "pg_ctl":
            # The server would inherit a pipe and hold it open for as long as it lives.
            quiet["stderr"] = subprocess.DEVNULL
        done = subprocess.run(command, cwd=self.folder, **quiet, **self.identity)
        if done.returncode:
            said = (done.stderr or b"").decode()
            raise SystemExit(f"{program} failed; see {self.folder}/log\n{said}")


def ticks(process, ended_children=False):
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return (0,)
    # Fields 14 to 17 of proc(5); the first two ended before the name's parenthesis.
    return tuple(map(int, fields[11:15] if ended_children else fields[11:13]))


def find_programs():
    homes = Path("/usr/lib/postgresql").glob("*/bin")
    homes = sorted(homes, key=lambda home: float(home.parent.name))
    if homes:
        return homes[-1]
    found = shutil.which("postgres")
    if found is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).parent
