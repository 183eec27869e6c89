// Restate: one node with everything in it, its log and its state in files of its own; steps are
// `ctx.run` of a plain service behind its ingress, served over HTTP/2 in both directions at once.
//
// Every entry of its log is synced before it is acknowledged (`rocksdb-disable-wal-fsync` is off,
// its default). One partition for each processor: its default of 24 is for clusters.
import { spawn } from "node:child_process";
import http2 from "node:http2";
import { createRequire } from "node:module";
import path from "node:path";
import * as restate from "@restatedev/restate-sdk";
import { Pool } from "./shared/http.mjs";
import { STEPS, measure } from "./shared/workflows.mjs";

const PARTITIONS = process.env.PEERS_PARTITIONS ?? "2";
/// Its own default ports: it runs in a network namespace of its own.
const [INGRESS, ADMIN] = [8080, 9070];
const START_LIMIT_MS = 60_000;
const START_POLL_MS = 100;
const COMPLETED = "SELECT count(*) AS completed FROM sys_invocation WHERE status = 'completed'";

const require = createRequire(import.meta.url);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let server;
const ingress = new Pool(INGRESS);

function program() {
  const platform = `@restatedev/restate-server-linux-${process.arch}`;
  return path.join(path.dirname(require.resolve(`${platform}/package.json`)), "bin/restate-server");
}

async function untilHealthy(url) {
  const deadline = Date.now() + START_LIMIT_MS;
  for (;;) {
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return;
    if (server.exitCode !== null) throw new Error("the server ended while it started");
    if (Date.now() > deadline) throw new Error(`${url} does not become healthy`);
    await sleep(START_POLL_MS);
  }
}

async function administer(path, body) {
  const json = "application/json";
  const headers = { "Content-Type": json, Accept: json };
  const request = { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await fetch(`http://127.0.0.1:${ADMIN}${path}`, request);
  if (!answer.ok) throw new Error(`${path} was answered by ${answer.status}`);
  return answer.json();
}

await measure({
  async open({ url }) {
    const place = ["--base-dir", url, "--bind-ip=127.0.0.1", "--listen-mode=tcp"];
    const env = {
      ...process.env,
      RESTATE_DEFAULT_NUM_PARTITIONS: PARTITIONS,
      RESTATE_DISABLE_TELEMETRY: "true",
      RESTATE_LOG_FILTER: "off",
    };
    const quiet = ["ignore", "ignore", "inherit"];
    server = spawn(program(), ["--no-logo", "--node-name=peers", ...place], { env, stdio: quiet });
    await untilHealthy(`http://127.0.0.1:${ADMIN}/health`);
    await untilHealthy(`http://127.0.0.1:${INGRESS}/restate/health`);
    return {};
  },

  async work(_, stepped) {
    const run = async (ctx, { value }) => {
      for (const step of STEPS) {
        const given = value;
        const execute = () => {
          stepped();
          return { step, value: given + 1 };
        };
        ({ value } = await ctx.run(step, execute));
      }
      return { value };
    };
    const services = [restate.service({ name: "workflow", handlers: { run } })];
    // Its SDK writes two lines for every run unless somebody else takes them.
    const handler = restate.createEndpointHandler({ services, logger: () => {} });
    const endpoint = http2.createServer(handler);
    await new Promise((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
    return endpoint.address().port;
  },

  async join(port) {
    await administer("/deployments", { uri: `http://127.0.0.1:${port}` });
  },

  run: (id, value) => ingress.post("/workflow/run", { value }, { "Idempotency-Key": id }),

  async completed() {
    const { rows } = await administer("/query", { query: COMPLETED });
    return rows[0].completed;
  },

  server: () => server.pid,

  async close() {
    // What it has written is thrown away next: it need not end well.
    server?.kill("SIGKILL");
  },
});
