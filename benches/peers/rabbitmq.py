"""RabbitMQ: a quorum queue of one node, persistent messages, publisher confirms, acks by hand.

A finished message is gone. `closed`, `single`, `latency`: 64 consumers with one message each.
`batched`: consumers with a prefetch, and an acknowledgement for many messages at once, as its
documentation advises for throughput. An acknowledgement is not confirmed by the broker, so
"durably finished" is what the queue says afterwards.
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
            consumers = [self.single(connection, handle) for _ in range(options.concurrency)]
        await asyncio.gather(*consumers)
        await asyncio.Future()

    async def single(self, connection, handle):
        queue = await consuming(connection, 1)

        async def step(message):
            handle(json.loads(message.body))
            await message.ack()

        await queue.consume(step)

    async def many(self, connection, handle):
        queue = await consuming(connection, PREFETCH)
        arrived = asyncio.Queue()
        await queue.consume(arrived.put)
        last, waiting = None, 0
        while True:
            try:
                last = await asyncio.wait_for(arrived.get(), REMAINDER_AFTER)
            except TimeoutError:
                if waiting:
                    await last.ack(multiple=True)
                    waiting = 0
                continue
            handle(json.loads(last.body))
            waiting += 1
            if waiting == ACKNOWLEDGED_AT_ONCE:
                await last.ack(multiple=True)
                waiting = 0

    async def close(self):
        await self.connection.close()


async def consuming(connection, prefetch):
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=prefetch)
    return await channel.declare_queue(QUEUE, **QUORUM)


measure(Driver())
