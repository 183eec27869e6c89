//! Somebody who reads the README and types its lines into a shell: fills in what only they can know, and opens another
//! window for what goes on.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::*;

/// What goes on until it is ended, so that it gets a window of its own.
const GOES_ON: [&str; 5] = [
    "fleetward dev",
    "fleetward serve",
    "fleetward worker run",
    "fleetward run watch",
    "fleetward audit tail",
];
/// What a line prints and a later one has as a blank: the beginning of the line, the blank, the beginning of the word.
const PRINTED: [(&str, &str, &str); 3] = [
    ("fleetward key create", "wrt-1...", "wrt-1."),
    ("fleetward token create", "fwt_...", "fwt_"),
    ("fleetward ca init", "sha256:...", "sha256:"),
];

pub(super) struct Reader {
    pub(super) folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    /// What stands in the README, and what this reader types instead. The first that fits.
    blanks: Vec<(String, String)>,
    windows: Vec<(String, Process, Lines)>,
}

impl Reader {
    /// In an empty folder, but for the examples of the repository.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        symlink(examples, folder.path().join("examples")).unwrap();
        let environment = vec![("FLEETWARD_LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        Self { folder, environment, blanks: Vec::new(), windows: Vec::new() }
    }

    /// Somebody who has done what stands under "Try it": has a server with one worker, and its token.
    pub(super) fn with_dev_server(exec: &str) -> Self {
        let mut reader = Self::new();
        // The worker of `dev` says what it did with its token within seconds.
        reader.has("FLEETWARD_HEARTBEAT_SECONDS", "1");
        reader.types(&format!("fleetward dev --exec '{exec}'"));
        let token = reader.token_of_dev();
        reader.has("FLEETWARD_TOKEN", &token);
        reader
    }

    /// Reads off where the server of `dev` is, and its token.
    pub(super) fn token_of_dev(&mut self) -> String {
        let last = |line: String| line.rsplit(' ').next().unwrap().to_owned();
        let screen = self.screen("fleetward dev");
        let (server, token) = (last(screen.until("server ")), last(screen.until("admin token ")));
        self.has("FLEETWARD_SERVER", &server);
        token
    }

    /// Sets a variable of the environment.
    pub(super) fn has(&mut self, variable: &str, value: &str) {
        self.environment.retain(|(known, _)| known != variable);
        self.environment.push((variable.to_owned(), value.to_owned()));
    }

    /// From now on they type `value` where the README says `blank`.
    pub(super) fn knows(&mut self, blank: &str, value: &str) {
        self.blanks.insert(0, (blank.to_owned(), value.to_owned()));
    }

    /// Writes a file that only its owner may read and run.
    pub(super) fn writes(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o700).open(path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn reads(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Types a line as it stands in the README. Answers what it printed, unless it goes on.
    pub(super) fn types(&mut self, line: &str) -> String {
        let line = self.filled_in(line);
        if let Some((variable, value)) =
            line.strip_prefix("export ").and_then(|set| set.split_once('='))
        {
            self.has(variable, value);
            return String::new();
        }
        if GOES_ON.iter().any(|verb| line.contains(verb)) {
            self.opens(line);
            return String::new();
        }
        let output = self.command(&line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "$ {line}\n{said}{errors}");
        for (begins, blank, word) in PRINTED {
            let printed = said.split_whitespace().find(|printed| printed.starts_with(word));
            if let Some(printed) = printed.filter(|_| line.starts_with(begins)) {
                self.knows(blank, printed);
            }
        }
        said
    }

    /// The JSON that a verb prints.
    pub(super) fn says(&mut self, line: &str) -> serde_json::Value {
        let said = self.types(&format!("{line} --output json"));
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("$ {line}\n{said}"))
    }

    /// Has a key that workers can join with.
    pub(super) fn joins(&mut self) {
        self.types("fleetward key create --name ours --auto-approve");
        self.has("ENROLLMENT_KEY", &self.filled_in("wrt-1..."));
    }

    fn filled_in(&self, line: &str) -> String {
        let put = |line: String, (blank, value): &(String, String)| line.replace(blank, value);
        let line = self.blanks.iter().fold(without_comment(line).to_owned(), put);
        assert!(!line.contains("..."), "a reader does not know what to put in: {line}");
        line
    }

    fn opens(&mut self, line: String) {
        let at = line.find("fleetward").unwrap();
        // The shell makes way for it, so that it can be ended.
        let typed = format!("{}exec {} 2>&1", &line[..at], &line[at..]);
        let mut child = self.command(&typed).stdout(Stdio::piped()).spawn().unwrap();
        let screen = Lines::of(&line, child.stdout.take().unwrap());
        self.windows.push((line, Process(child), screen));
    }

    /// What is shown in the newest window of a verb.
    pub(super) fn screen(&self, verb: &str) -> &Lines {
        let mut windows = self.windows.iter().rev();
        &windows.find(|(line, ..)| line.contains(verb)).expect("it was typed").2
    }

    /// How the program in the newest window of a verb ends by itself.
    pub(super) fn end_of(&mut self, verb: &str) -> Option<i32> {
        let mut windows = self.windows.iter_mut().rev();
        windows.find(|(line, ..)| line.contains(verb)).expect("it was typed").1.wait()
    }

    fn command(&self, line: &str) -> Command {
        let own = fleetward();
        let binary = Path::new(own.get_program()).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("PATH", format!("{}:{path}", binary.display()));
        shell.envs(self.environment.iter().map(|(name, value)| (name, value)));
        shell
    }
}

/// The lines of a block. What begins in quotes goes on until they end, and what is said about a line on the next ones.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut quoted = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let goes_on = quoted || line.trim_start().starts_with('#');
        match lines.last_mut().filter(|_| goes_on) {
            Some(begun) => *begun += &format!("\n{line}"),
            None => lines.push(line.to_owned()),
        }
        quoted ^= without_comment(line).matches('\'').count() % 2 == 1;
    }
    lines
}

/// A line without what is said about it.
fn without_comment(line: &str) -> &str {
    line.split(" # ").next().unwrap_or(line).trim_end()
}

/// What is said about a line.
pub(super) fn comment(line: &str) -> String {
    line.lines().filter_map(|line| line.split_once("# ")).map(|(_, said)| said).collect()
}
