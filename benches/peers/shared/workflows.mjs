// What the Node drivers of workflow engines share: the closed loop of clients and the measuring.
// `workflows.py` is the same for Python.
//
// A run is three durable steps, one after the other: each takes a number and returns
// `{ step, value }` with the number after it; the run returns `{ value }` of the last one.
//
// A driver gives `measure` an object with these functions:
//   open(options, stepped)   starts the server, or the library in this process; what it returns is
//                            handed to `work`
//   work(handed, stepped)    in a process of its own, where the engine has workers apart: serves
//                            steps until it is killed; what it returns is handed to `join`
//   join(ready)              tells the server of the worker
//   run(id, value)           one run to its end: what it returned
//   completed()              how many runs the engine says have completed
//   server()                 the process that is counted as the engine
//   close()                  stops what `open` started
// `stepped` is called at each execution of a step.
import { fork } from "node:child_process";
import { parseArgs } from "node:util";
import { databaseTime, processTime } from "./processor.mjs";

export const STEPS = ["first", "second", "third"];

const NANOSECONDS = 1e9;
/// Nanoseconds of the monotonic clock.
const now = () => Number(process.hrtime.bigint());

function options() {
  const { values } = parseArgs({
    options: {
      mode: { type: "string" },
      url: { type: "string" },
      jobs: { type: "string" },
      concurrency: { type: "string", default: "128" },
      processes: { type: "string", default: "1" },
    },
  });
  const { url, jobs, concurrency } = values;
  const inFlight = Number(concurrency);
  // Fewer would leave nothing between the warm-up and the end.
  return { url, runs: Math.max(Number(jobs), 4 * inFlight), inFlight };
}

/// Runs the driver and prints one line of JSON.
export async function measure(engine) {
  if (process.send) return workerProcess(engine);
  const given = options();
  let steps = 0;
  let crew;
  try {
    const handed = await engine.open(given, () => steps++);
    if (engine.work) crew = await Worker.start(handed);
    if (crew) await engine.join(crew.ready);
    const outcome = await closed(engine, crew, given);
    if (crew) steps = await crew.steps();
    await check(engine, steps, given.runs);
    console.log(JSON.stringify(outcome));
  } finally {
    await crew?.stop();
    await engine.close();
  }
  process.exit(0);
}

/// A client for each run in flight: it starts the next one when it has the result of the last.
/// What is measured begins and ends with all of them at work: after the warm-up, a tenth of the
/// runs and at least one for each client, and before the last run of each client.
async function closed(engine, crew, { runs, inFlight }) {
  const warm = Math.max(Math.floor(runs / 10), inFlight);
  const took = [];
  let next = 0;
  let ended = 0;
  let before;
  let after;
  const client = async () => {
    while (next < runs) {
      const id = next++;
      const begin = now();
      const { value } = await engine.run(`run-${id}`, id);
      if (value !== id + STEPS.length) throw new Error(`run ${id} returned ${value}`);
      ended += 1;
      if (before && !after) took.push((now() - begin) / 1e6);
      if (ended === warm) before = spent(engine, crew);
      if (ended === runs - inFlight) after = spent(engine, crew);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, client));
  return outcome(runs, took, before, after);
}

/// The clock, and the processor time so far of all who have a part.
function spent(engine, crew) {
  return {
    at: now(),
    server: processTime(engine.server()),
    database: databaseTime(),
    worker: crew && processTime(crew.child.pid),
    client: engine.work && processTime(process.pid),
  };
}

function outcome(runs, took, before, after) {
  const counted = took.length;
  const each = (who) =>
    after[who] == null ? undefined : Math.round((after[who] - before[who]) / counted);
  const sorted = took.sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(counted - 1, Math.floor(share * counted))];
  return {
    runs,
    runs_per_second: (counted / (after.at - before.at)) * NANOSECONDS,
    start_to_result_p50_ms: at(0.5),
    start_to_result_p99_ms: at(0.99),
    server_us_per_run: each("server"),
    database_us_per_run: each("database"),
    worker_us_per_run: each("worker"),
    client_us_per_run: each("client"),
  };
}

async function check(engine, steps, runs) {
  const completed = await engine.completed();
  if (completed !== runs) throw new Error(`${runs} started, ${completed} completed`);
  if (steps !== runs * STEPS.length) throw new Error(`${runs} runs, ${steps} steps`);
}

/// The process that executes steps.
class Worker {
  static async start(handed) {
    const worker = new Worker();
    worker.child = fork(process.argv[1], process.argv.slice(2));
    worker.child.on("exit", (code) => code && process.exit(code));
    worker.child.send({ handed });
    worker.ready = (await worker.answer()).ready;
    return worker;
  }

  answer() {
    return new Promise((resolve) => this.child.once("message", resolve));
  }

  async steps() {
    this.child.send({});
    return (await this.answer()).steps;
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
}

/// A child: serves until it is killed, and says how many steps it has executed when it is asked.
function workerProcess(engine) {
  let steps = 0;
  process.on("disconnect", () => process.exit(0));
  process.on("message", async ({ handed }) => {
    if (handed === undefined) return process.send({ steps });
    process.send({ ready: await engine.work(handed, () => steps++) });
  });
}
