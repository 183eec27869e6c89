// graphile-worker: jobs in PostgreSQL, woken by LISTEN/NOTIFY. It deletes a job when it is
// finished.
//
// `closed`, `single`, `latency`: every job is taken and finished by a statement of its own.
// `batched`: the configuration of its performance page: a local queue and batched completion.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import { measure } from "./shared/driver.mjs";

const TASK = "step";
const UNFINISHED = "SELECT count(*)::int AS count FROM graphile_worker._private_jobs";
const SUBMIT = "SELECT graphile_worker.add_job('step', $1::json)";

const LOCAL_QUEUE_SIZE = Number(process.env.PEERS_LOCAL_QUEUE ?? 500);
const CONCURRENCY_DRAINING = Number(process.env.PEERS_CONCURRENCY ?? 24);
const BATCH_DELAY_MS = Number(process.env.PEERS_BATCH_DELAY ?? 0);

const quiet = new Logger(() => (level, message) => level === "error" && console.error(message));
let pool;
let utils;

await measure({
  async open({ url, concurrency }) {
    pool = new pg.Pool({ connectionString: url, max: concurrency });
    pool.on("error", (error) => console.error(error.message));
    pool.on("connect", (client) => client.on("error", (error) => console.error(error.message)));
    utils = await makeWorkerUtils({ pgPool: pool, logger: quiet });
    await utils.migrate();
  },

  /// By SQL, as its documentation does for speed and for other languages; prepared by name.
  submit: (payload) =>
    pool.query({ name: "submit", text: SUBMIT, values: [JSON.stringify(payload)] }),

  submitMany: (payloads) =>
    utils.addJobs(payloads.map((payload) => ({ identifier: TASK, payload }))),

  unfinished: async () => (await pool.query(UNFINISHED)).rows[0].count,

  finished: async () => null,

  async work({ url, mode, concurrency }, handle) {
    const batched = {
      concurrentJobs: CONCURRENCY_DRAINING,
      maxPoolSize: CONCURRENCY_DRAINING + 1,
      localQueue: { size: LOCAL_QUEUE_SIZE },
      completeJobBatchDelay: BATCH_DELAY_MS,
      failJobBatchDelay: BATCH_DELAY_MS,
    };
    const single = { concurrentJobs: concurrency, maxPoolSize: concurrency + 1 };
    const configuration = mode === "batched" ? batched : single;
    await run({
      preset: { worker: { connectionString: url, logger: quiet, ...configuration } },
      taskList: { [TASK]: (payload) => handle(payload) },
      noHandleSignals: true,
    });
  },
});
