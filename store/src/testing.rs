//! A PostgreSQL of one's own for tests: a real server on an empty data directory, with fsync on.
//!
//! With `DATABASE_URL` set, databases are made on that server instead, and it cannot be killed.

mod process;

use std::{
    env,
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use self::process::{Programs, children, children_end, kill, postmaster};

/// The user inside the server; it may do anything there and is known nowhere else.
const USER: &str = "fleetward";

/// Stops the server and removes its directory when the test process ends in any way, kill -9
/// included: then its standard input ends. Signals of the terminal are for the tests, not for it.
const UNDERTAKER: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
note=$1/data/postmaster.pid
if kill -QUIT "$(head -n 1 "$note" 2>/dev/null)" 2>/dev/null; then
    for _ in $(seq 200); do
        [ -e "$note" ] || break
        sleep 0.05
    done
fi
rm -rf -- "$1"
"#;

/// A PostgreSQL server for tests.
pub struct Postgres {
    place: Place,
    /// How many names were given away.
    names: AtomicUsize,
    /// The database of the schemas.
    schemas: OnceCell<String>,
}

enum Place {
    /// Somebody else's server: the address of its maintenance database.
    Given { url: String },
    /// Ours, started here.
    Own(Own),
}

struct Own {
    programs: Programs,
    /// Short enough for a socket: the limit of a path is 107 bytes.
    folder: PathBuf,
    port: u16,
    undertaker: Child,
}

impl Postgres {
    /// The one server of this test process, started by whoever needs it first.
    ///
    /// # Panics
    /// As `start`.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server on an empty data directory, or takes the one that `DATABASE_URL` names.
    ///
    /// # Panics
    /// If no PostgreSQL is installed or it does not start; the text says what to do.
    pub fn start() -> Self {
        let place = match env::var("DATABASE_URL") {
            Ok(url) => Place::Given { url },
            Err(_) => Place::Own(Own::start()),
        };
        Self::at(place)
    }

    /// As `start`, without a look at `DATABASE_URL`: for tests that kill it.
    ///
    /// # Panics
    /// As `start`.
    pub fn start_own() -> Self {
        Self::at(Place::Own(Own::start()))
    }

    /// The address of a database, by TCP.
    pub fn url(&self, database: &str) -> String {
        match &self.place {
            Place::Given { url } => with_database(url, database),
            Place::Own(own) => format!("postgres://{USER}@127.0.0.1:{}/{database}", own.port),
        }
    }

    /// The address of a new, empty database.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn fresh_database(&self) -> String {
        let name = self.fresh_name();
        let maintenance = match &self.place {
            Place::Given { url } => url.clone(),
            Place::Own(_) => self.url("postgres"),
        };
        execute(&maintenance, format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// The address of a new, empty schema in a database that such schemas share: for tests that
    /// look at nothing but their own tables, and ten times faster than a database.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn fresh_schema(&self) -> String {
        let name = self.fresh_name();
        let database = self.schemas.get_or_init(|| self.fresh_database()).await;
        execute(database, format!("CREATE SCHEMA {name}")).await;
        let separator = if database.contains('?') { '&' } else { '?' };
        format!("{database}{separator}options[search_path]={name}")
    }

    /// Ends the server and all its processes as a power cut would: nothing is flushed or said.
    ///
    /// # Panics
    /// If the server is not ours, or does not run.
    pub fn kill9(&self) {
        let own = self.own();
        let server = postmaster(&own.folder).expect("it runs");
        let children = children(server);
        // The parent first: it would answer the death of a child by stopping in an orderly way.
        kill(server);
        children.iter().copied().for_each(kill);
        children_end(server, &children);
        // They name the server by its number, which stays taken until somebody asks how it ended,
        // and is then another's.
        let _ = fs::remove_file(own.folder.join("data/postmaster.pid"));
        let _ = fs::remove_file(own.folder.join(format!(".s.PGSQL.{}.lock", own.port)));
    }

    /// Starts the server again on the same data and the same port, and waits until it answers.
    ///
    /// # Panics
    /// If the server is not ours or does not start.
    pub fn start_again(&self) {
        self.own().run();
    }

    fn at(place: Place) -> Self {
        Self { place, names: AtomicUsize::new(0), schemas: OnceCell::new() }
    }

    /// Not used before on this server, whoever else uses it.
    fn fresh_name(&self) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("test_{}_{number}", process_mark())
    }

    fn own(&self) -> &Own {
        match &self.place {
            Place::Own(own) => own,
            Place::Given { .. } => panic!("the server of DATABASE_URL is not ours to stop"),
        }
    }
}

impl Own {
    fn start() -> Self {
        let programs = Programs::find();
        let folder = programs.make_folder();
        let undertaker = std::process::Command::new("sh")
            .args(["-c", UNDERTAKER, "sh"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell is there");
        let own = Self { programs, folder, port: free_port(), undertaker };
        let data = own.folder.join("data");
        // Not syncing is about the empty files only; the server itself syncs.
        own.programs.run("initdb", &own.folder, |command| {
            command.arg("--pgdata").arg(&data).args(["--username", USER, "--no-sync"]);
            command.args(["--auth=trust", "--encoding=UTF8", "--locale=C"]);
        });
        own.run();
        own
    }

    fn run(&self) {
        let (data, log) = (self.folder.join("data"), self.folder.join("log"));
        let mut settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={}",
            self.port,
            self.folder.display()
        );
        for setting in ["fsync=on", "synchronous_commit=on", "max_connections=200"] {
            let _ = write!(settings, " -c {setting}");
        }
        self.programs.run("pg_ctl", &self.folder, |command| {
            command.arg("--pgdata").arg(&data).arg("--log").arg(&log);
            command.args(["--wait", "--timeout=60", "--options", &settings, "start"]);
        });
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.undertaker.stdin.take());
        // Only fails if it is gone, and then there is nothing left to wait for.
        let _ = self.undertaker.wait();
    }
}

async fn execute(url: &str, sql: String) {
    let mut connection = PgConnection::connect(url).await.expect("the test server answers");
    let answer = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
    answer.expect("its user may make databases and schemas");
}

fn free_port() -> u16 {
    let probe = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    probe.local_addr().expect("it is bound").port()
}

/// The same server, another database.
fn with_database(url: &str, database: &str) -> String {
    let (place, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
    let (scheme, rest) = place.split_once("://").unwrap_or(("postgres", place));
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{host}/{database}{query}")
}

fn process_mark() -> String {
    use std::hash::{BuildHasher, RandomState};
    static MARK: OnceLock<u64> = OnceLock::new();
    // Random by the standard library's own seed; unique is all it has to be.
    let mark = MARK.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    format!("{mark:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_keeps_the_rest_of_the_address() {
        let url = "postgres://ann:pw@db:6000/main?sslmode=require";

        assert_eq!(with_database(url, "t1"), "postgres://ann:pw@db:6000/t1?sslmode=require");
    }
}
