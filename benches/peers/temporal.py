"""Temporal's development server: its services in one process, its store an SQLite file.

With a write-ahead log and a sync for every commit: as durable as the others are, and twice as fast
as the server's default journal. Each step is an activity, which is in the history before the next
one starts; local activities are written down only at the end of a task, several at once. Clients
and worker share a process and a connection, so that the server hands a new run to the worker in its
answer. Workflow code runs without the sandbox, which costs and protects only the careless.
"""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

from shared.driver import Wrong
from shared.workflows import STEPS, measure

# Its own default port: it runs in a network namespace of its own.
ADDRESS = "127.0.0.1:7233"
QUEUE = "peers"
START_LIMIT = 60
STEP_LIMIT = timedelta(minutes=10)
SLOTS = 256
# It lists what has completed from a second table that is written a little later.
LISTED_WITHIN = 30
COMPLETED = "ExecutionStatus = 'Completed'"


@workflow.defn(name="workflow")
class Steps:
    @workflow.run
    async def run(self, value: int) -> dict:
        for step in STEPS:
            result = await workflow.execute_activity(
                "step", args=[step, value], start_to_close_timeout=STEP_LIMIT
            )
            value = result["value"]
        return {"value": value}


class Temporal:
    def __init__(self):
        self.process = None
        self.client = None
        self.working = None

    async def open(self, options, stepped):
        settings = {
            "--ip": "127.0.0.1",
            "--db-filename": Path(options.url) / "temporal.db",
            "--log-level": "never",
            "--dynamic-config-value": "frontend.enableServerVersionCheck=false",
        }
        flat = [str(part) for pair in settings.items() for part in pair]
        durable = ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=FULL"]
        program = Path(sys.executable).with_name("temporal")
        self.process = subprocess.Popen(
            [program, "server", "start-dev", "--headless", *flat, *durable],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TEMPORAL_VERSION_CHECK_DISABLED": "1", "HOME": options.url},
        )
        self.client = await self.connect()
        self.working = asyncio.create_task(self.work(stepped))

    @property
    def server(self):
        return self.process.pid

    async def connect(self):
        for _ in range(START_LIMIT * 10):
            if self.process.poll() is not None:
                raise Wrong("the server ended while it started")
            try:
                client = await Client.connect(ADDRESS)
                await client.count_workflows(COMPLETED)
            except (RPCError, RuntimeError):
                await asyncio.sleep(0.1)
            else:
                return client
        raise Wrong("the server did not start")

    async def run(self, identifier, value):
        return await self.client.execute_workflow(
            "workflow", value, id=identifier, task_queue=QUEUE, request_eager_start=True
        )

    async def work(self, stepped):
        @activity.defn
        async def step(name: str, value: int) -> dict:
            stepped()
            return {"step": name, "value": value + 1}

        pollers = PollerBehaviorAutoscaling(initial=10)
        worker = Worker(
            self.client,
            task_queue=QUEUE,
            workflows=[Steps],
            activities=[step],
            workflow_runner=UnsandboxedWorkflowRunner(),
            workflow_task_poller_behavior=pollers,
            activity_task_poller_behavior=pollers,
            max_concurrent_activities=SLOTS,
            max_concurrent_workflow_tasks=SLOTS,
        )
        try:
            await worker.run()
        except Exception as error:
            # Nobody would wait for it: the clients wait for runs.
            print(f"the worker ended: {error}", file=sys.stderr)
            os._exit(1)

    async def completed(self, runs):
        for _ in range(LISTED_WITHIN * 10):
            counted = (await self.client.count_workflows(COMPLETED)).count
            if counted >= runs:
                break
            await asyncio.sleep(0.1)
        return counted

    async def close(self):
        if self.working is not None:
            self.working.cancel()
            await asyncio.gather(self.working, return_exceptions=True)
        if self.process is not None:
            # What it has written is thrown away next: it need not end well.
            self.process.kill()
            self.process.wait()


measure(Temporal())
