// pg-boss: jobs in PostgreSQL by SKIP LOCKED. A finished job stays as a row.
//
// `closed`, `single`: each worker is a loop of `fetch` and `complete` with one job. Its `work()`
// with single jobs waits at least half a second between fetches, so the loop is what its
// documentation has for speed. `batched`: the same loop with `batchSize` and an array of ids.
// `latency`: `work()` woken by LISTEN/NOTIFY.
import { PgBoss } from "pg-boss";
import { measure } from "./shared/driver.mjs";

const QUEUE = "step";
const COUNT = "SELECT count(*)::int AS count FROM pgboss.job WHERE name = $1 AND state";
const UNFINISHED = `${COUNT} < 'completed'`;
const FINISHED = `${COUNT} = 'completed'`;

const BATCH_SIZE = Number(process.env.PEERS_BATCH_SIZE ?? 1000);
const LOOPS_DRAINING = Number(process.env.PEERS_LOOPS ?? 4);
/// Only while the queue is empty, which the closed loop avoids.
const EMPTY_PAUSE_MS = 2;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let boss;

async function start(url, connections) {
  // Schedules and supervision are off: neither has a part in what is measured.
  boss = new PgBoss({
    connectionString: url,
    max: connections,
    schedule: false,
    supervise: false,
    useListenNotify: true,
  });
  boss.on("error", (error) => console.error(error.message));
  await boss.start();
}

async function count(sql) {
  const { rows } = await boss.getDb().executeSql(sql, [QUEUE]);
  return rows[0].count;
}

async function loop(batchSize, handle) {
  for (;;) {
    const jobs = await boss.fetch(QUEUE, { batchSize });
    if (jobs.length === 0) {
      await sleep(EMPTY_PAUSE_MS);
      continue;
    }
    for (const job of jobs) handle(job.data);
    await boss.complete(QUEUE, jobs.map((job) => job.id));
  }
}

await measure({
  async open({ url, mode, concurrency }) {
    await start(url, concurrency);
    // A table of its own is its advice for large queues. Waking costs, so only who waits for it
    // asks for it.
    await boss.createQueue(QUEUE, { partition: true, notify: mode === "latency" });
  },

  submit: (payload) => boss.send(QUEUE, payload),

  submitMany: (payloads) => boss.insert(QUEUE, payloads.map((data) => ({ data }))),

  unfinished: () => count(UNFINISHED),

  finished: () => count(FINISHED),

  async work({ url, mode, concurrency }, handle) {
    await start(url, concurrency);
    if (mode === "latency") {
      const polling = { pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 0.5 };
      const waiting = { ...polling, localConcurrency: concurrency };
      return boss.work(QUEUE, waiting, async ([job]) => handle(job.data));
    }
    const [loops, size] = mode === "batched" ? [LOOPS_DRAINING, BATCH_SIZE] : [concurrency, 1];
    for (let index = 0; index < loops; index++) {
      loop(size, handle).catch((error) => {
        console.error(error);
        process.exit(1);
      });
    }
  },
});
