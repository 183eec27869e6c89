"""pgqueuer: jobs in PostgreSQL, woken by LISTEN/NOTIFY.

A finished job leaves its queue for a log, here a durable one.

It finishes jobs through a buffer, always. `closed` and `single` take one job a statement, in
several workers because each takes one after the other; `latency` has one worker, which is woken
soonest; `batched` takes many a statement, as it advises for throughput.
"""

import asyncio
import json
import os
import sys

# Python puts the folder of the script first, and this script has the name of the package.
sys.path.append(sys.path.pop(0))

import asyncpg  # noqa: E402
from pgqueuer import PgQueuer  # noqa: E402
from pgqueuer.queries import Queries  # noqa: E402

from shared.driver import measure  # noqa: E402

ENTRYPOINT = "step"
BATCH_SIZE = int(os.environ.get("PEERS_BATCH_SIZE", 500))
WORKERS = 8
WORKERS_DRAINING = 2
UNFINISHED = "SELECT count(*) FROM pgqueuer"
FINISHED = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"


class Driver:
    async def open(self, options):
        self.pool = await asyncpg.create_pool(
            options.url, min_size=options.concurrency, max_size=options.concurrency
        )
        self.queries = Queries.from_asyncpg_pool(self.pool)
        await self.queries.install()

    async def submit(self, payload):
        await self.queries.enqueue(ENTRYPOINT, json.dumps(payload).encode())

    async def submit_many(self, payloads):
        encoded = [json.dumps(payload).encode() for payload in payloads]
        await self.queries.enqueue([ENTRYPOINT] * len(encoded), encoded, [0] * len(encoded))

    async def unfinished(self):
        return await self.pool.fetchval(UNFINISHED)

    async def finished(self):
        return await self.pool.fetchval(FINISHED)

    async def work(self, options, handle):
        # A worker holds one connection for listening.
        connections = options.concurrency + WORKERS
        pool = await asyncpg.create_pool(options.url, min_size=4, max_size=connections)
        if options.mode == "batched":
            sizes = [(BATCH_SIZE, 2 * BATCH_SIZE)] * WORKERS_DRAINING
        elif options.mode == "latency":
            sizes = [(1, options.concurrency)]
        else:
            sizes = [(1, options.concurrency // WORKERS)] * WORKERS
        await asyncio.gather(*(one_worker(pool, *size, handle) for size in sizes))

    async def close(self):
        await self.pool.close()


async def one_worker(pool, batch_size, slots, handle):
    queue = PgQueuer.from_asyncpg_pool(pool)

    @queue.entrypoint(ENTRYPOINT)
    async def step(job):
        handle(json.loads(job.payload))

    await queue.run(batch_size=batch_size, max_concurrent_tasks=slots)


measure(Driver())
