"""The `sagewai` 1.0.1 server: tasks over HTTP, kept in PostgreSQL. A finished task stays as a row.

Started as its documentation says (`db upgrade`, `admin serve`), with its database setting and
nothing else; it has one process and no batch calls. A worker is a keep-alive client that claims
and reports; `single` is its claim and report.
"""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg

from shared.driver import Wrong, measure
from shared.http import Connection, Pool

HOST = "127.0.0.1"
BASE = "/api/v1/fleet"
START_LIMIT = 120
# Longer than any run needs: a claim that finds nothing comes back and asks again.
POLL_TIMEOUT = 30
COUNT = "SELECT count(*) FROM fleet_tasks WHERE status {} 'completed'"


class Sagewai:
    def __init__(self):
        self.server = None
        self.home = None

    async def open(self, options):
        self.home = tempfile.TemporaryDirectory()
        self.database = await asyncpg.connect(options.url)
        port = self.start_server(options.url)
        token = await self.sign_in(port)
        self.operator = Pool(options.concurrency, HOST, port, {"Authorization": f"Bearer {token}"})
        _, key = await self.operator.post(
            f"{BASE}/enrollment-keys", {"name": "peers", "max_uses": 100_000}
        )
        return {"port": port, "key": key["key"]}

    def start_server(self, url):
        program = Path(sys.executable).with_name("sagewai")
        environment = {
            **os.environ,
            "SAGEWAI_DATABASE_URL": url,
            "SAGEWAI_HOME": self.home.name,
            # It would look for a newer list of prices of models on the network.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([program, "db", "upgrade"], check=True, **quiet)
        with socket.create_server((HOST, 0)) as probe:
            port = probe.getsockname()[1]
        serve = [program, "admin", "serve", "--host", HOST, "--port", str(port)]
        self.server = subprocess.Popen(serve, **quiet)
        return port

    async def sign_in(self, port):
        """Makes the administrator of the fresh server and gives the token of a session."""
        await self.until_it_answers(port)
        person = {"admin_email": "peers@example.com", "admin_password": secrets.token_urlsafe(24)}
        connection = Connection(HOST, port)
        await connection.post("/api/v1/setup", {"org_name": "peers", **person})
        login = {"email": person["admin_email"], "password": person["admin_password"]}
        status, session = await connection.post("/api/v1/auth/login", login)
        connection.close()
        if status != 200:
            raise Wrong(f"signing in was answered by {status}")
        return session["access_token"]

    async def until_it_answers(self, port):
        for _ in range(START_LIMIT * 10):
            if self.server.poll() is not None:
                raise Wrong("the server ended while it started")
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
        raise Wrong("the server did not start")

    async def submit(self, payload):
        status, answer = await self.operator.post(f"{BASE}/tasks", {"payload": payload})
        if status != 201:
            raise Wrong(f"a submit was answered by {status}: {answer}")

    async def submit_many(self, payloads):
        await asyncio.gather(*(self.submit(payload) for payload in payloads))

    async def unfinished(self):
        return await self.database.fetchval(COUNT.format("<>"))

    async def finished(self):
        return await self.database.fetchval(COUNT.format("="))

    async def work(self, options, handle):
        loops = (self.one_worker(options.handed, handle) for _ in range(options.concurrency))
        await asyncio.gather(*loops)

    async def one_worker(self, handed, handle):
        connection = Connection(HOST, handed["port"], {"X-Enrollment-Key": handed["key"]})
        status, worker = await connection.post(
            f"{BASE}/register", {"name": "peer", "models": [], "enrollment_key": handed["key"]}
        )
        if status != 201 or worker["status"] != "approved":
            raise Wrong(f"a registration was answered by {status}: {worker}")
        connection.close()
        who, secret = worker["worker_id"], worker["worker_secret"]
        credentials = {"X-Worker-Id": who, "X-Worker-Secret": secret}
        connection = Connection(HOST, handed["port"], credentials)
        while True:
            status, task = await connection.post(f"{BASE}/claim", {"poll_timeout": POLL_TIMEOUT})
            if status == 204:
                continue
            if status != 200:
                raise Wrong(f"a claim was answered by {status}: {task}")
            handle(task["payload"])
            report = {"run_id": task["run_id"], "status": "completed", "output": "done"}
            status, answer = await connection.post(f"{BASE}/report", report)
            if status != 200:
                raise Wrong(f"a report was answered by {status}: {answer}")

    async def close(self):
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        if self.home is not None:
            self.home.cleanup()


measure(Sagewai())
