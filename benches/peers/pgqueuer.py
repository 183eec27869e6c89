"""pgqueuer: jobs in PostgreSQL, woken by LISTEN/NOTIFY. A finished job leaves its queue for a log, here a durable one.

It always takes jobs in batches and finishes them through a buffer. `closed`, `single` and `latency` take one job a
statement; `batched` takes many, as its documentation advises for throughput.
"""

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
        pool = await asyncpg.create_pool(options.url, min_size=4, max_size=16)
        queue = PgQueuer.from_asyncpg_pool(pool)

        @queue.entrypoint(ENTRYPOINT)
        async def step(job):
            handle(json.loads(job.payload))

        batched = options.mode == "batched"
        await queue.run(
            batch_size=BATCH_SIZE if batched else 1,
            max_concurrent_tasks=2 * BATCH_SIZE if batched else options.concurrency,
        )

    async def close(self):
        await self.pool.close()


measure(Driver())
