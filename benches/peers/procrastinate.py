"""procrastinate: jobs in PostgreSQL, woken by LISTEN/NOTIFY. A finished job stays as a row.

One worker takes jobs one after the other and runs as many at once as its `concurrency`; eight of
them were no faster and were woken all at once for every job. There is a batch call for submitting
and none for the rest, so there is no `batched` mode.
"""

import logging
import sys

# Python puts the folder of the script first, and this script has the name of the package.
sys.path.append(sys.path.pop(0))

import psycopg  # noqa: E402
from procrastinate import App, PsycopgConnector  # noqa: E402

from shared.driver import measure  # noqa: E402

COUNT = "SELECT count(*) FROM procrastinate_jobs WHERE status {} 'succeeded'"


def make_app(url, connections):
    # It warns that an app belongs into a module of its own, which matters to its command line only.
    logging.disable(logging.WARNING)
    return App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=connections))


class Driver:
    async def open(self, options):
        self.app = make_app(options.url, options.concurrency)
        await self.app.open_async()
        await self.app.schema_manager.apply_schema_async()
        self.step = self.app.configure_task("step")
        self.database = await psycopg.AsyncConnection.connect(options.url, autocommit=True)

    async def submit(self, payload):
        await self.step.defer_async(payload=payload)

    async def submit_many(self, payloads):
        await self.step.batch_defer_async(*({"payload": payload} for payload in payloads))

    async def unfinished(self):
        return await self.count("<>")

    async def finished(self):
        return await self.count("=")

    async def count(self, comparison):
        answer = await self.database.execute(COUNT.format(comparison))
        return (await answer.fetchone())[0]

    async def work(self, options, handle):
        app = make_app(options.url, options.concurrency + 2)

        @app.task(name="step")
        async def step(payload):
            handle(payload)

        async with app.open_async():
            await app.run_worker_async(
                concurrency=options.concurrency, install_signal_handlers=False
            )

    async def close(self):
        await self.app.close_async()


measure(Driver())
