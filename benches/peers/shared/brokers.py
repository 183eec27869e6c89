"""Private RabbitMQ and Redis servers from Debian's packages, on loopback and free ports, and the
folders of servers that their drivers start.
"""

import os
import shutil
import socket
import subprocess
import time

START_LIMIT = 90


class Redis:
    """Every write is synced before it is answered: what the other peers promise, too."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None

    def start(self):
        fresh_folder(self.folder)
        port = free_port()
        settings = {
            "--port": port,
            "--bind": "127.0.0.1",
            "--dir": self.folder,
            "--appendonly": "yes",
            "--appendfsync": "always",
            "--save": "",
        }
        command = ["redis-server", *(str(part) for pair in settings.items() for part in pair)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until_it_listens(self.process, port)
        return f"redis://127.0.0.1:{port}"

    def close(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


class RabbitMq:
    """One node with everything of its own: data, cookie, ports, and the daemon that knows names
    of nodes.
    """

    PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.names = None

    def start(self):
        fresh_folder(self.folder)
        port, distribution, names = free_port(), free_port(), free_port()
        settings = self.folder / "rabbitmq.conf"
        settings.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].\n")
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "peers@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
        }
        # Started by us and not by the node, so that it is ours to stop.
        output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.names = subprocess.Popen(["epmd"], env=environment, **output)
        until_it_listens(self.names, names)
        self.process = subprocess.Popen([self.PROGRAM], env=environment, **output)
        until_it_listens(self.process, port)
        return f"amqp://guest:guest@127.0.0.1:{port}/"

    def close(self):
        for process in (self.process, self.names):
            if process is not None:
                process.terminate()
                process.wait()
        self.process = self.names = None


class Folder:
    """An empty folder, on the disk that PostgreSQL is on, for a server's data."""

    def __init__(self, folder):
        self.folder = folder

    def start(self):
        fresh_folder(self.folder)
        return str(self.folder)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def fresh_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def until_it_listens(process, port):
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended while it started")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{process.args[0]} did not start")
