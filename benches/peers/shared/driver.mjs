// What the Node drivers share: the modes, the closed loop of submitters, and the measuring.
//
// A driver gives `measure` an object with these functions; everything else here is the same for
// all of them:
//   open(options)            connects the submitting side, makes the schema and the queue
//   submit(payload)          one job, answered when it is durable
//   submitMany(payloads)     many jobs by the peer's own batch call
//   unfinished()             how many jobs are not durably finished, asked of the database
//   finished()               how many are, where the peer keeps finished jobs, else null
//   work(options, handle)    in a worker process: runs jobs, `handle(payload)` at each start
//
// Workers are processes of their own, so that the submitting side does not take their thread.
import { fork } from "node:child_process";
import { parseArgs } from "node:util";

const NANOSECONDS = 1e9;
const REPORT_EVERY_MS = 5;
const PRELOAD_BATCH = 1000;
/// Jobs that may wait beyond those that are being worked on: enough that no worker idles, so few
/// that no backlog grows.
const WAITING_MAX = 256;
const LATENCY_WARM_UP = 20;
/// With it a payload is about 100 bytes of JSON, as a task of Fleetward's own load test is.
const PADDING = "x".repeat(80);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/// Nanoseconds of the monotonic clock, which all processes of a machine share.
const now = () => Number(process.hrtime.bigint());

function options() {
  const { values } = parseArgs({
    options: {
      mode: { type: "string" },
      url: { type: "string" },
      jobs: { type: "string" },
      concurrency: { type: "string", default: "64" },
      processes: { type: "string", default: "1" },
      "interval-ms": { type: "string", default: "50" },
    },
  });
  return {
    mode: values.mode,
    url: values.url,
    jobs: Number(values.jobs),
    concurrency: Number(values.concurrency),
    processes: Number(values.processes),
    intervalMs: Number(values["interval-ms"]),
  };
}

/// Runs the driver in the mode of the command line and prints one line of JSON.
export async function measure(driver) {
  const given = options();
  if (process.send) return workerProcess(driver, given);
  await driver.open(given);
  const crew = new Crew(given.processes);
  const outcome = await MODES[given.mode](driver, crew, given);
  await settled(driver);
  await crew.stop();
  const [unfinished, finished] = [await driver.unfinished(), await driver.finished()];
  if (unfinished !== 0 || (finished !== null && finished !== outcome.jobs)) {
    throw new Error(`${outcome.jobs} submitted, ${finished} finished, ${unfinished} open`);
  }
  if (crew.handled !== outcome.jobs) {
    throw new Error(`${outcome.jobs} submitted, ${crew.handled} handled`);
  }
  console.log(JSON.stringify(outcome));
  // The connections of the submitting side would keep the process alive.
  process.exit(0);
}

const MODES = { closed, single: backlog, batched: backlog, latency };

/// Submitters in a closed loop beside workers, one job a call on both sides. The first tenth is
/// the warm-up.
async function closed(driver, crew, { jobs, concurrency }) {
  await crew.start();
  const warm = Math.floor(jobs / 10);
  let next = 0;
  const submitter = async () => {
    while (next < jobs) {
      const id = next++;
      while (id - crew.handled > WAITING_MAX + concurrency) await crew.progress();
      await driver.submit({ id, padding: PADDING });
    }
  };
  const submitters = Array.from({ length: concurrency }, submitter);
  const [started] = await Promise.all([crew.reached(warm), ...submitters]);
  await crew.reached(jobs);
  await settled(driver);
  return rate(jobs, started, now());
}

/// A backlog by the batch call, then its end: job by job (`single`), or in the fastest
/// configuration that the peer documents (`batched`); which of them is the driver's part. The
/// first tenth is the warm-up.
async function backlog(driver, crew, { jobs }) {
  const before = now();
  for (let first = 0; first < jobs; first += PRELOAD_BATCH) {
    const length = Math.min(PRELOAD_BATCH, jobs - first);
    const payload = (_, index) => ({ id: first + index, padding: PADDING });
    await driver.submitMany(Array.from({ length }, payload));
  }
  const enqueued = Math.round((jobs / (now() - before)) * NANOSECONDS);
  await crew.start();
  const started = await crew.reached(Math.floor(jobs / 10));
  await crew.reached(jobs);
  await settled(driver);
  return { ...rate(jobs, started, now()), enqueued_per_second: enqueued };
}

/// One job now and then on an idle system: from the call of submit to the first line of the
/// handler.
async function latency(driver, crew, { jobs, intervalMs }) {
  await crew.start();
  const total = jobs + LATENCY_WARM_UP;
  const begin = now();
  for (let id = 0; id < total; id++) {
    const wait = (begin - now()) / 1e6 + id * intervalMs;
    if (wait > 0) await sleep(wait);
    await driver.submit({ id, padding: PADDING, at: now() });
  }
  await crew.reached(total);
  const sorted = crew.latencies(LATENCY_WARM_UP).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { jobs: total, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: sorted.at(-1) };
}

/// `counted` is what the workers had started at the first clock, so that both ends belong together.
function rate(jobs, { handled, at }, end) {
  const seconds = (end - at) / NANOSECONDS;
  return { jobs, tasks_per_second: Math.round((jobs - handled) / seconds) };
}

/// Until the database says that every job is finished: a handler may be done before its
/// completion is.
async function settled(driver) {
  const deadline = now() + 60 * NANOSECONDS;
  while ((await driver.unfinished()) > 0) {
    if (now() > deadline) throw new Error("jobs stay open");
    await sleep(2);
  }
}

/// The worker processes and what they have reported.
class Crew {
  constructor(processes) {
    this.size = processes;
    this.children = [];
    this.counts = [];
    this.measured = [];
    this.handled = 0;
    this.waiting = [];
  }

  async start() {
    const ready = Array.from({ length: this.size }, (_, index) => this.startOne(index));
    await Promise.all(ready);
  }

  startOne(index) {
    const child = fork(process.argv[1], process.argv.slice(2));
    this.children.push(child);
    this.counts[index] = 0;
    child.on("exit", (code) => code && process.exit(code));
    return new Promise((resolve) => {
      child.on("message", (message) => {
        if (message.ready) return resolve();
        this.counts[index] = message.handled;
        this.handled = this.counts.reduce((sum, count) => sum + count, 0);
        this.measured.push(...message.measured);
        this.at = message.at;
        for (const wake of this.waiting.splice(0)) wake();
      });
    });
  }

  progress() {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async reached(count) {
    while (this.handled < count) await this.progress();
    return { handled: this.handled, at: this.at };
  }

  latencies(skip) {
    return this.measured.filter(({ id }) => id >= skip).map(({ ms }) => ms);
  }

  async stop() {
    const ended = this.children.map((child) => new Promise((end) => child.once("exit", end)));
    for (const child of this.children) child.kill("SIGKILL");
    await Promise.all(ended);
  }
}

/// A child: works until it is killed, and reports how far it is a few hundred times a second.
async function workerProcess(driver, given) {
  let handled = 0;
  let reported = 0;
  let measured = [];
  const handle = (payload) => {
    handled++;
    if (payload.at) measured.push({ id: payload.id, ms: (now() - payload.at) / 1e6 });
  };
  setInterval(() => {
    if (handled === reported) return;
    process.send({ handled, at: now(), measured });
    reported = handled;
    measured = [];
  }, REPORT_EVERY_MS);
  process.on("disconnect", () => process.exit(0));
  await driver.work(given, handle);
  process.send({ ready: true });
}
