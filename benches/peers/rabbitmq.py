"""RabbitMQ: a quorum queue of one node, persistent messages, publisher confirms, acks by hand.

A finished message is gone. `closed`, `single`, `latency`: 64 consumers with one message each.
`batched`: consumers with a prefetch, and an acknowledgement for many messages at once, as its
documentation advises for throughput. An acknowledgement is not confirmed by the broker, so a job
counts when its acknowledgement was sent, and "durably finished" is what the queue says afterwards.
"""

import asyncio
import json
import os

import aio_pika
from aio_pika.abc import DeliveryMode

from shared.driver import measure

QUEUE = "step"
QUORUM = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
PREFETCH = int(os.environ.get("PEERS_PREFETCH", 1000))
ACKNOWLEDGED_AT_ONCE = PREFETCH // 4
CONSUMERS_DRAINING = 2
# A remainder smaller than a batch is acknowledged after this time without a message.
REMAINDER_AFTER = 0.02


class Driver:
    async def open(self, options):
        self.connection = await aio_pika.connect(options.url)
        self.channel = await self.connection.channel(publisher_confirms=True)
        self.queue = await self.channel.declare_queue(QUEUE, **QUORUM)

    async def submit(self, payload):
        message = aio_pika.Message(
            json.dumps(payload).encode(), delivery_mode=DeliveryMode.PERSISTENT
        )
        await self.channel.default_exchange.publish(message, QUEUE)

    async def submit_many(self, payloads):
        # The broker confirms what is under way together; there is no batch call.
        await asyncio.gather(*(self.submit(payload) for payload in payloads))

    async def unfinished(self):
        """Messages that wait. Those that a consumer holds come back when it is gone, before the
        last look.
        """
        answer = await self.channel.declare_queue(QUEUE, passive=True)
        return answer.declaration_result.message_count

    async def finished(self):
        return None

    async def work(self, options, handle):
        connection = await aio_pika.connect(options.url)
        if options.mode == "batched":
            consumers = [self.many(connection, handle) for _ in range(CONSUMERS_DRAINING)]
        else:
            at_start = options.mode == "latency"
            some = range(options.concurrency)
            consumers = [self.single(connection, handle, at_start) for _ in some]
        await asyncio.gather(*consumers)
        await asyncio.Future()

    async def single(self, connection, handle, at_start):
        queue = await consuming(connection, 1)

        async def step(message):
            payload = json.loads(message.body)
            if at_start:
                handle(payload)
            await message.ack()
            if not at_start:
                handle(payload)

        await queue.consume(step)

    async def many(self, connection, handle):
        queue = await consuming(connection, PREFETCH)
        arrived = asyncio.Queue()
        await queue.consume(arrived.put)
        held = []
        while True:
            ended = False
            try:
                held.append(await asyncio.wait_for(arrived.get(), REMAINDER_AFTER))
            except TimeoutError:
                ended = True
            if len(held) == ACKNOWLEDGED_AT_ONCE or (ended and held):
                payloads = [json.loads(message.body) for message in held]
                await held[-1].ack(multiple=True)
                held.clear()
                for payload in payloads:
                    handle(payload)

    async def close(self):
        await self.connection.close()


async def consuming(connection, prefetch):
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=prefetch)
    return await channel.declare_queue(QUEUE, **QUORUM)


measure(Driver())
