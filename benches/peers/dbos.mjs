// DBOS Transact: a library that keeps each run and each step in PostgreSQL. It runs in the process
// that starts the runs, so that process is what is counted as the engine.
import { DBOS } from "@dbos-inc/dbos-sdk";
import pg from "pg";
import { STEPS, measure } from "./shared/workflows.mjs";

const CONNECTIONS = Number(process.env.PEERS_CONNECTIONS ?? 20);
const COMPLETED =
  "SELECT count(*)::int AS completed FROM dbos.workflow_status WHERE status = 'SUCCESS'";

// Its driver of PostgreSQL warns once of what a later version of that will not do.
process.noDeprecation = true;

let workflow;
let url;

await measure({
  async open(options, stepped) {
    url = options.url;
    DBOS.setConfig({
      name: "peers",
      systemDatabaseUrl: url,
      systemDatabasePoolSize: CONNECTIONS,
      logLevel: "error",
    });
    const run = async (value) => {
      for (const step of STEPS) {
        const given = value;
        const execute = async () => {
          stepped();
          return { step, value: given + 1 };
        };
        ({ value } = await DBOS.runStep(execute, { name: step }));
      }
      return { value };
    };
    workflow = DBOS.registerWorkflow(run, { name: "workflow" });
    await DBOS.launch();
  },

  async run(workflowID, value) {
    const handle = await DBOS.startWorkflow(workflow, { workflowID })(value);
    return handle.getResult();
  },

  async completed() {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query(COMPLETED);
    await client.end();
    return rows[0].completed;
  },

  server: () => process.pid,

  close: () => DBOS.shutdown(),
});
