"""What the Python drivers share: the modes, the closed loop of submitters, and the measuring.

The same as `driver.mjs`, definition for definition. A driver is an object with these coroutines:

    open(options)            connects the submitting side, makes the schema and the queue; what it
                             returns is handed to the workers as `options.handed`
    submit(payload)          one job, answered when it is durable
    submit_many(payloads)    many jobs by the peer's own batch call
    unfinished()             how many jobs are not durably finished, asked of the peer
    finished()               how many are, where the peer keeps finished jobs, else None
    work(options, handle)    in a worker process: runs jobs for ever, calling `handle(payload)` at
                             each start
    close()                  stops what `open` started

Workers are processes of their own, so that the submitting side does not take their thread.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time

REPORT_EVERY = 0.005
PRELOAD_BATCH = 1000
# Jobs that may wait beyond those that are being worked on: enough that no worker idles, so few
# that no backlog grows.
WAITING_MAX = 256
LATENCY_WARM_UP = 20
# With it a payload is about 100 bytes of JSON, as a task of Fleetward's own load test is.
PADDING = "x" * 80
SETTLE_LIMIT = 60
# What a worker has sent to a broker that does not answer it arrives within this time.
ACKNOWLEDGED_WITHIN = 1.0
# A broker notices that a worker is gone, and gives back what it had not finished, within this time.
GIVEN_BACK_AFTER = 1.0


class Wrong(Exception):
    """A job was lost, doubled or left open: the run counts for nothing."""


def measure(driver):
    """Runs the driver in the mode of the command line and prints one line of JSON."""
    options = parse()
    if options.handed is not None:
        options.handed = json.loads(options.handed)
        run(worker_process(driver, options))
    else:
        run(parent_process(driver, options))


def run(main):
    try:
        # The event loop that asyncio users install for speed, where the environment has it.
        from uvloop import run as start
    except ImportError:
        start = asyncio.run
    start(main)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--interval-ms", type=float, default=50)
    parser.add_argument("--handed")
    return parser.parse_args()


async def parent_process(driver, options):
    crew = Crew(options.processes)
    try:
        handed = await driver.open(options)
        crew.arguments = [*sys.argv, "--handed", json.dumps(handed)]
        outcome = await MODES[options.mode](driver, crew, options)
        await settled(driver)
        await asyncio.sleep(ACKNOWLEDGED_WITHIN)
        await crew.stop()
        await asyncio.sleep(GIVEN_BACK_AFTER)
        await check(driver, crew, outcome["jobs"])
        print(json.dumps(outcome))
    finally:
        await crew.stop()
        await driver.close()


async def check(driver, crew, jobs):
    unfinished, finished = await driver.unfinished(), await driver.finished()
    if unfinished != 0 or finished not in (None, jobs):
        raise Wrong(f"{jobs} submitted, {finished} finished, {unfinished} open")
    if crew.handled != jobs:
        raise Wrong(f"{jobs} submitted, {crew.handled} handled")


async def closed(driver, crew, options):
    """Submitters in a closed loop beside workers, one job a call on both sides. The first tenth
    is the warm-up.
    """
    jobs = options.jobs
    await crew.start()
    ids = itertools.count()

    async def submitter():
        while (job := next(ids)) < jobs:
            while job - crew.handled > WAITING_MAX + options.concurrency:
                await crew.progress()
            await driver.submit({"id": job, "padding": PADDING})

    submitters = (submitter() for _ in range(options.concurrency))
    started, *_ = await asyncio.gather(crew.reached(jobs // 10), *submitters)
    await crew.reached(jobs)
    await settled(driver)
    return rate(jobs, started, time.monotonic_ns())


async def backlog(driver, crew, options):
    """A backlog by the batch call, then its end: job by job (`single`), or in the fastest
    configuration that the peer documents (`batched`); which of them is the driver's part. The
    first tenth is the warm-up.
    """
    jobs = options.jobs
    before = time.monotonic_ns()
    for first in range(0, jobs, PRELOAD_BATCH):
        batch = range(first, min(jobs, first + PRELOAD_BATCH))
        await driver.submit_many([{"id": job, "padding": PADDING} for job in batch])
    enqueued = round(jobs / (time.monotonic_ns() - before) * 1e9)
    await crew.start()
    started = await crew.reached(jobs // 10)
    await crew.reached(jobs)
    await settled(driver)
    return {**rate(jobs, started, time.monotonic_ns()), "enqueued_per_second": enqueued}


async def latency(driver, crew, options):
    """One job now and then on an idle system: from the call of submit to the first line of the
    handler.
    """
    await crew.start()
    total = options.jobs + LATENCY_WARM_UP
    begin = time.monotonic()
    for job in range(total):
        await asyncio.sleep(max(0, begin + job * options.interval_ms / 1000 - time.monotonic()))
        await driver.submit({"id": job, "padding": PADDING, "at": time.monotonic_ns()})
    await crew.reached(total)
    measured = sorted(ms for job, ms in crew.measured if job >= LATENCY_WARM_UP)

    def at(share):
        return measured[min(len(measured) - 1, int(share * len(measured)))]

    return {"jobs": total, "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": measured[-1]}


MODES = {"closed": closed, "single": backlog, "batched": backlog, "latency": latency}


def rate(jobs, started, end):
    handled, at = started
    return {"jobs": jobs, "tasks_per_second": round((jobs - handled) / (end - at) * 1e9)}


async def settled(driver):
    """Until the peer says that every job is finished: a handler may be done before its completion
    is.
    """
    deadline = time.monotonic() + SETTLE_LIMIT
    while await driver.unfinished() > 0:
        if time.monotonic() > deadline:
            raise Wrong("jobs stay open")
        await asyncio.sleep(0.002)


class Crew:
    """The worker processes and what they have reported."""

    def __init__(self, processes):
        self.size = processes
        self.arguments = []
        self.children = []
        self.readers = []
        self.counts = [0] * processes
        self.measured = []
        self.handled = 0
        self.at = 0
        self.moved = asyncio.Event()

    async def start(self):
        await asyncio.gather(*(self.start_one(index) for index in range(self.size)))

    async def start_one(self, index):
        child = await asyncio.create_subprocess_exec(
            sys.executable, *self.arguments, stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        self.children.append(child)
        if not await child.stdout.readline():
            raise Wrong("a worker process ended before it was ready")
        self.readers.append(asyncio.create_task(self.read(index, child)))

    async def read(self, index, child):
        while line := await child.stdout.readline():
            report = json.loads(line)
            self.counts[index] = report["handled"]
            self.handled = sum(self.counts)
            self.measured += report["measured"]
            self.at = report["at"]
            self.moved.set()
        self.moved.set()

    async def progress(self):
        # Asked first: the end of a process is told once, and somebody else may have heard it.
        if any(reader.done() for reader in self.readers):
            raise Wrong("a worker process ended")
        self.moved.clear()
        await self.moved.wait()

    async def reached(self, count):
        while self.handled < count:
            await self.progress()
        return self.handled, self.at

    async def stop(self):
        for child in self.children:
            if child.returncode is None:
                child.kill()
            await child.wait()


async def worker_process(driver, options):
    """A child: works until it is killed, and reports how far it is a few hundred times a second."""
    handled, measured = 0, []

    def handle(payload):
        nonlocal handled
        handled += 1
        if "at" in payload:
            measured.append((payload["id"], (time.monotonic_ns() - payload["at"]) / 1e6))

    def say(report):
        print(json.dumps(report), flush=True)

    async def report():
        nonlocal measured
        reported = 0
        while True:
            await asyncio.sleep(REPORT_EVERY)
            if handled != reported:
                now, part, measured = time.monotonic_ns(), measured, []
                say({"handled": handled, "at": now, "measured": part})
                reported = handled

    reporting = asyncio.create_task(report())
    working = asyncio.create_task(driver.work(options, handle))
    say({"ready": True})
    # Neither ends by itself; whatever does is a failure and ends the process with its trace.
    done, _ = await asyncio.wait({reporting, working}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    raise Wrong("the worker stopped")
