"""Redis streams with `appendfsync always`: XADD, XREADGROUP, XACK.

A finished entry stays in the stream. `closed`, `single`, `latency`: 64 consumers, each with a
connection and one entry a call. `batched`: many entries a read, one acknowledgement for all of
them; submitted in pipelines.
"""

import asyncio
import json
import os

from redis.asyncio import Redis

from shared.driver import Wrong, measure

STREAM, GROUP = "step", "workers"
COUNT = int(os.environ.get("PEERS_COUNT", 1000))
CONSUMERS_DRAINING = 4
BLOCK_MS = 5000


class Driver:
    async def open(self, options):
        self.redis = Redis.from_url(options.url, max_connections=options.concurrency + 1)
        if (await self.redis.config_get("appendfsync"))["appendfsync"] != "always":
            raise Wrong("this server does not sync every write")
        await self.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    async def submit(self, payload):
        await self.redis.xadd(STREAM, {"payload": json.dumps(payload)})

    async def submit_many(self, payloads):
        async with self.redis.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.xadd(STREAM, {"payload": json.dumps(payload)})
            await pipeline.execute()

    async def unfinished(self):
        (group,) = await self.redis.xinfo_groups(STREAM)
        return group["lag"] + group["pending"]

    async def finished(self):
        """Entries that the group has read and that are pending no more."""
        (group,) = await self.redis.xinfo_groups(STREAM)
        return group["entries-read"] - group["pending"]

    async def work(self, options, handle):
        draining = options.mode == "batched"
        consumers, count = (CONSUMERS_DRAINING, COUNT) if draining else (options.concurrency, 1)
        redis = Redis.from_url(options.url, max_connections=consumers + 1)
        loops = (consume(redis, f"consumer-{index}", count, handle) for index in range(consumers))
        await asyncio.gather(*loops)

    async def close(self):
        await self.redis.aclose()


async def consume(redis, name, count, handle):
    while True:
        answer = await redis.xreadgroup(GROUP, name, {STREAM: ">"}, count=count, block=BLOCK_MS)
        for _, entries in answer or ():
            for _, fields in entries:
                handle(json.loads(fields[b"payload"]))
            await redis.xack(STREAM, GROUP, *(entry for entry, _ in entries))


measure(Driver())
