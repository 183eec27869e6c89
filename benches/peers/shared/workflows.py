"""What Python drivers of workflow engines share: the closed loop of clients and the measuring.

The same as `workflows.mjs`, except that clients and worker are one process. A run is three durable
steps, one after the other: each takes a number and returns `{"step", "value"}` with the number
after it; the run returns `{"value"}` of the last one. A driver is an object with these coroutines:

    open(options, stepped)   starts the server and a worker, which calls `stepped()` at each
                             execution of a step
    run(id, value)           one run to its end: what it returned
    completed(runs)          how many runs the engine says have completed; it may know late, and
                             waits for so many
    close()                  stops what `open` started

and `server`, the number of the process that is counted as the engine.
"""

import argparse
import asyncio
import itertools
import json
import os
import time
from pathlib import Path

from shared.driver import Wrong, run

STEPS = ("first", "second", "third")
CLOCK_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def measure(engine):
    """Runs the driver and prints one line of JSON."""
    run(main(engine, parse()))


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode")
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", dest="runs", type=int, required=True)
    parser.add_argument("--concurrency", dest="in_flight", type=int, default=128)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    # Fewer would leave nothing between the warm-up and the end.
    options.runs = max(options.runs, 4 * options.in_flight)
    return options


async def main(engine, options):
    steps = itertools.count()
    try:
        await engine.open(options, lambda: next(steps))
        outcome = await closed(engine, options)
        await check(engine, next(steps), options.runs)
        print(json.dumps(outcome))
    finally:
        await engine.close()


async def closed(engine, options):
    """A client for each run in flight: it starts the next one when it has the result of the last.
    What is measured begins and ends with all of them at work: after the warm-up, a tenth of the
    runs and at least one for each client, and before the last run of each client.
    """
    runs, in_flight = options.runs, options.in_flight
    warm = max(runs // 10, in_flight)
    numbers, took, ended, before, after = iter(range(runs)), [], 0, None, None

    async def client():
        nonlocal ended, before, after
        for number in numbers:
            begin = time.monotonic_ns()
            result = await engine.run(f"run-{number}", number)
            if result["value"] != number + len(STEPS):
                raise Wrong(f"run {number} returned {result}")
            ended += 1
            if before and not after:
                took.append((time.monotonic_ns() - begin) / 1e6)
            if ended == warm:
                before = spent(engine)
            if ended == runs - in_flight:
                after = spent(engine)

    async with asyncio.TaskGroup() as clients:
        for _ in range(in_flight):
            clients.create_task(client())
    return outcome_of(runs, sorted(took), before, after)


def spent(engine):
    """The clock, and the processor time so far of the server and of the worker with its clients."""
    server, worker = process_time(engine.server), process_time(os.getpid())
    return {"at": time.monotonic_ns(), "server": server, "worker": worker}


def process_time(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    # Fields 14 and 15 of proc(5); the first two ended before the name's parenthesis.
    return CLOCK_TICK_US * sum(map(int, fields[11:13]))


def outcome_of(runs, took, before, after):
    counted = len(took)

    def at(share):
        return took[min(counted - 1, int(share * counted))]

    return {
        "runs": runs,
        "runs_per_second": counted / (after["at"] - before["at"]) * 1e9,
        "start_to_result_p50_ms": at(0.5),
        "start_to_result_p99_ms": at(0.99),
        "server_us_per_run": round((after["server"] - before["server"]) / counted),
        "worker_us_per_run": round((after["worker"] - before["worker"]) / counted),
    }


async def check(engine, steps, runs):
    completed = await engine.completed(runs)
    if completed != runs:
        raise Wrong(f"{runs} started, {completed} completed")
    if steps != runs * len(STEPS):
        raise Wrong(f"{runs} runs, {steps} steps")
