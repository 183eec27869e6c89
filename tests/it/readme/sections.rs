//! One reader for each section of the README, from its first line of shell to its last.

use serde_json::Value;
use tokio::runtime::Runtime;

use super::blocks;
use super::reader::{Reader, comment};
use crate::fixture::*;

/// `dev` first, then a server on PostgreSQL with a worker of another machine.
pub(super) fn try_it(lines: Vec<String>) {
    let mut reader = Reader::new();
    let database = Runtime::new().unwrap().block_on(Place::postgres()).url();
    let etc = reader.folder.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    reader.knows("/etc/fleetward", etc.to_str().unwrap());
    reader.knows("postgres://user@host/fleetward", &database);
    reader.knows("0.0.0.0:7700", "127.0.0.1:0");
    reader.knows("FLEETWARD_ADMIN_TOKEN=fwt_...", &format!("FLEETWARD_ADMIN_TOKEN={ADMIN}"));
    reader.writes("run-task", "#!/bin/sh\ncat\n");

    for line in lines {
        if line.starts_with("export FLEETWARD_TOKEN=...") {
            let token = reader.token_of_dev();
            reader.knows("FLEETWARD_TOKEN=...", &format!("FLEETWARD_TOKEN={token}"));
        }
        if line.contains("worker approve ID") {
            reader.screen("worker run").until("registered");
            let listed = reader.says("fleetward worker list --status pending");
            reader.knows(" ID", &format!(" {}", text(&listed["workers"][0]["id"])));
        }
        let said = reader.types(&line);
        if line.starts_with("fleetward task submit") {
            assert!(said.contains("completed"), "{said}");
        }
        if line.starts_with("fleetward serve") {
            let address = address(&reader, "http://");
            reader.has("FLEETWARD_SERVER", &address);
            reader.has("FLEETWARD_TOKEN", ADMIN);
            reader.knows("http://host:7700", &address);
        }
    }

    let done = reader.types("fleetward task submit --pool gpu --payload 1 --wait");
    assert!(done.contains("completed"), "{done}");
}

/// A provider of models on this machine stands for those of the file.
pub(super) fn agents(lines: Vec<String>) {
    let runtime = Runtime::new().unwrap();
    let (provider, asked) = runtime.block_on(crate::agents::provider());
    let mut reader = Reader::with_dev_server("cat");
    let written = blocks::all().into_iter();
    let ours = |block: &blocks::Block| block.heading == "## Agents" && block.language == "toml";
    let mut file = written.filter(|block| block.file == "README.md").find(ours).unwrap().text;
    file = file.replace("http://10.0.0.7:8000", &provider);
    assert!(file.contains(&provider), "{file}");
    reader.writes("agents.toml", &file);
    reader.has("VLLM_KEY", "secret");
    reader.joins();
    reader.knows(" ...", "");

    let said: Vec<_> = lines.iter().map(|line| reader.types(line)).collect();

    assert!(said.last().unwrap().contains("Bees dance."), "{said:?}");
    let asked = asked.lock().unwrap();
    let asked_for = [r#""model":"qwen3-8b""#, r#""max_tokens":2000"#, "Three facts about bees."];
    assert!(asked_for.iter().all(|words| asked[0].contains(words)), "{asked:?}");
}

/// The one worker fails whatever it gets, so that there is something to retry.
pub(super) fn dispatch(lines: Vec<String>) {
    let mut reader = Reader::with_dev_server("exit 1");
    reader.types("fleetward task submit --payload 1 --max-attempts 1 --wait || true");
    let found = reader.says("fleetward dead-letter groups");
    reader.knows("3f2a...", text(&found["groups"][0]["group"]));
    let tomorrow = chrono::Utc::now() + chrono::Duration::days(1);
    reader.knows("2027-01-31T12:00:00Z", &tomorrow.format("%FT%TZ").to_string());
    // Somebody who could take the tasks of the pool, but for their labels.
    reader.types("fleetward key create --name gpu --pool gpu --auto-approve");
    reader.types("ENROLLMENT_KEY=wrt-1... fleetward worker run --pool gpu --exec cat");
    reader.screen("worker run").until("registered");

    for line in lines {
        if line.starts_with("fleetward policy set caps.json") {
            // What is in the file stands behind it.
            reader.writes("caps.json", &comment(&line));
        }
        let said = reader.types(&line);
        if line.starts_with("fleetward task submit") {
            let mut printed = said.split_whitespace();
            let id = printed.find(|word| word.len() == 36).expect("its id");
            reader.knows(" ID", &format!(" {id}"));
        }
        if line.starts_with("fleetward task why") {
            assert!(said.contains("region"), "{said}");
        }
        if line.starts_with("fleetward dead-letter retry") {
            assert!(said.contains('1'), "{said}");
        }
    }
}

/// From a document to a picture of its run, and to its schedule.
pub(super) fn workflows(lines: Vec<String>) {
    let mut reader = Reader::with_dev_server("cat");

    for line in lines {
        if line.starts_with("fleetward run approve") {
            // They read what they are asked.
            reader.screen("run watch").until("wait  review  approval");
        }
        if line.starts_with("fleetward run timeline") {
            reader.screen("run watch").until("completed");
        }
        reader.types(&line);
    }

    assert_eq!(reader.end_of("run watch"), Some(0));
    assert!(reader.reads("workflow.schema.json").contains("json-schema.org"));
    assert!(reader.reads("ants.svg").contains("waits for people"));
}

/// A worker's identity is copied to another machine.
pub(super) fn identity(lines: Vec<String>) {
    let mut reader = Reader::with_dev_server("cat");
    reader.joins();
    reader.types("fleetward worker run --name rack --identity rack.json --exec cat");
    reader.screen("worker run").until("registered");
    let kept: Value = serde_json::from_str(&reader.reads("rack.json")).unwrap();
    let worker = text(&kept["worker_id"]).to_owned();
    reader.knows(" ID", &format!(" {worker}"));
    reader.types("fleetward audit tail --after 0 --type worker.token_issued --worker ID");
    reader.screen("audit tail").until("worker.token_issued");
    let tokens = reader.says(&format!("fleetward worker tokens {worker}"));
    reader.knows("JTI", text(&tokens["tokens"][0]["id"]));

    for line in lines {
        if line.starts_with("fleetward worker unlock") {
            reader.types("cp rack.json copy.json");
            reader.types("fleetward worker run --name rack --identity copy.json --exec cat");
            reader.types("fleetward audit tail --after 0 --type worker.locked");
            reader.screen("audit tail").until("worker.locked");
        }
        if line.starts_with("fleetward signing-key") {
            let keys = reader.says("fleetward signing-key list");
            let id = text(&keys["keys"][0]["id"]);
            reader.knows("signing-key retire ID", &format!("signing-key retire {id}"));
        }
        reader.types(&line);
    }
}

/// The record of what `dev` did to begin with.
pub(super) fn record(lines: Vec<String>) {
    let mut reader = Reader::with_dev_server("cat");
    let done = reader.types("fleetward task submit --payload 1 --wait");
    assert!(done.contains("completed"), "{done}");
    reader.knows("2027-01-31", "2026-01-31");
    reader.knows("4711", "0");

    for line in lines {
        let said = reader.types(&line);
        if line.starts_with("fleetward audit list") {
            assert!(said.contains("key.created") && said.contains("worker."), "{said}");
        }
    }

    reader.screen("audit tail").until("worker.registered");
}

/// From an authority to a revoked certificate; the fleet's name is this machine's.
pub(super) fn tls(lines: Vec<String>) {
    let mut reader = Reader::new();
    reader.has("FLEETWARD_ADMIN_TOKEN", ADMIN);
    reader.has("FLEETWARD_TOKEN", ADMIN);
    reader.knows("fleet.example.com", "localhost");

    for line in lines {
        if line.starts_with("fleetward serve") {
            reader.knows(" ...", " --database-url sqlite://fleet.db --listen 127.0.0.1:0");
        }
        if line.starts_with("fleetward worker run") {
            let server = address(&reader, "https://").replace("127.0.0.1", "localhost");
            reader.knows("https://fleet.example.com:7700", &server);
            reader.knows(" ...", " --exec cat");
            reader.has("FLEETWARD_SERVER", &server);
            reader.has("FLEETWARD_CA", "ca/ca.pem");
            reader.types("fleetward ca issue operator ops");
            reader.has("FLEETWARD_CERT", "ops.pem");
            reader.has("FLEETWARD_CERT_KEY", "ops-key.pem");
            reader.joins();
        }
        if line.starts_with("fleetward ca renew") {
            reader.screen("worker run").until("registered");
        }
        reader.types(&line);
    }

    reader.screen("fleetward serve").until("not believed any more");
}

/// Something is encrypted before the first line, so that there is something to encrypt again.
pub(super) fn encryption(lines: Vec<String>) {
    let mut reader = Reader::with_dev_server("cat");
    let done = reader.types("fleetward task submit --payload 1 --wait");
    assert!(done.contains("completed"), "{done}");
    reader.joins();
    reader.knows(" ...", " --exec cat");

    for line in lines {
        reader.types(&line);
    }

    reader.screen("worker run").until("registered");
    let keys = reader.says("fleetward org key list");
    let states: Vec<_> =
        keys["keys"].as_array().unwrap().iter().map(|key| text(&key["state"])).collect();
    assert_eq!(states, ["retired", "primary"]);
}

/// Where the server in the newest window listens.
fn address(reader: &Reader, scheme: &str) -> String {
    let line = reader.screen("fleetward serve").until("listening on");
    format!("{scheme}{}", line.split_once("://").unwrap().1)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}
