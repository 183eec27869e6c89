//! Settings: one name in three spellings. What a flag takes as `--lease-seconds`, the environment gives as
//! `FLEETWARD_LEASE_SECONDS` and `fleetward.toml` as `lease_seconds`.
//!
//! Flags win over the environment, the environment over the file. Every flag that reads a `FLEETWARD_` variable is a
//! setting, of whatever verb; the file only gives it another default, so one parser checks all three.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use toml::{Table, Value};

use super::error::Failed;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "fleetward.toml";
/// Begins the name of every variable that is a setting.
const PREFIX: &str = "FLEETWARD_";
/// Where the file is named; itself no setting of the file.
const CONFIG: &str = "config";

/// Parses arguments with what environment and file say.
///
/// # Errors
/// When the file cannot be read, is not TOML, or has a key that is no setting. Arguments that do not fit end the process
/// with clap's message and exit code 2.
pub(super) fn parse(command: Command, arguments: Vec<OsString>) -> Result<ArgMatches, Failed> {
    let (file, table) = read(named_file(&command, &arguments).as_deref())?;
    let command = with_defaults(command, &table)
        .map_err(|why| Failed::refused(format!("{}: {why}", file.display())))?;
    Ok(command.try_get_matches_from(arguments).unwrap_or_else(|error| {
        let _ = error.print();
        if error.use_stderr() && !table.is_empty() {
            eprintln!("note: settings were also read from {}", file.display());
        }
        std::process::exit(error.exit_code())
    }))
}

/// `--config` or its variable, whatever else the arguments say.
fn named_file(command: &Command, arguments: &[OsString]) -> Option<PathBuf> {
    let matches = command.clone().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    matches.get_one::<PathBuf>(CONFIG).cloned()
}

/// The named file, or the default one if it is there.
fn read(named: Option<&Path>) -> Result<(PathBuf, Table), Failed> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let failed =
        |why: &dyn std::fmt::Display| Failed::refused(format!("{}: {why}", path.display()));
    let table = match std::fs::read_to_string(path) {
        // The message of the parser names the line, and quotes nothing of a secret's value.
        Ok(text) => text.parse().map_err(|error: toml::de::Error| failed(&error.message()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            Table::new()
        }
        Err(error) => return Err(failed(&error)),
    };
    Ok((path.to_owned(), table))
}

/// The command with the file's values as defaults of its settings.
fn with_defaults(command: Command, table: &Table) -> Result<Command, String> {
    let mut known = BTreeSet::new();
    collect(&command, &mut known);
    let unknown: Vec<_> = table.keys().filter(|key| !known.contains(*key)).cloned().collect();
    if !unknown.is_empty() {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("unknown settings: {}; there are {known}", unknown.join(", ")));
    }
    for (key, value) in table {
        texts(value)
            .ok_or_else(|| format!("{key}: a setting is a text, a number or a list of them"))?;
    }
    Ok(apply(command, table))
}

fn collect(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(key));
    command.get_subcommands().for_each(|verb| collect(verb, known));
}

fn apply(command: Command, table: &Table) -> Command {
    let with_default = |arg: Arg| match key(&arg).and_then(|key| table.get(&key)).and_then(texts) {
        Some(values) => arg.default_values(values),
        None => arg,
    };
    command.mut_args(with_default).mut_subcommands(|verb| apply(verb, table))
}

/// The name of a setting in the file.
fn key(arg: &Arg) -> Option<String> {
    let name = arg.get_env()?.to_str()?.strip_prefix(PREFIX)?;
    (arg.get_id() != CONFIG).then(|| name.to_lowercase())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Some(vec![value.to_string()]),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(texts).collect();
            texts.map(|texts| texts.concat())
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let listen = Arg::new("listen").long("listen").env("FLEETWARD_LISTEN_OF_A_TEST");
        let models =
            Arg::new("models").long("model").num_args(1..).env("FLEETWARD_MODELS_OF_A_TEST");
        let config = Arg::new(CONFIG).long(CONFIG).env("FLEETWARD_CONFIG_OF_A_TEST");
        let other = Arg::new("other").long("other");
        Command::new("f")
            .arg(config)
            .subcommand(Command::new("serve").args([listen, models, other]))
    }

    fn listen(toml: &str, arguments: &[&str]) -> Result<String, String> {
        let command = with_defaults(command(), &toml.parse().unwrap())?;
        let matches = command.try_get_matches_from(arguments).map_err(|error| error.to_string())?;
        let (_, serve) = matches.subcommand().expect("a verb");
        Ok(serve.get_one::<String>("listen").cloned().unwrap_or_default())
    }

    #[test]
    fn flag_wins_over_file() {
        let toml = "listen_of_a_test = 'file'";
        assert_eq!(listen(toml, &["f", "serve", "--listen", "flag"]).as_deref(), Ok("flag"));
        assert_eq!(listen(toml, &["f", "serve"]).as_deref(), Ok("file"));
        assert_eq!(listen("", &["f", "serve"]).as_deref(), Ok(""));
    }

    #[test]
    fn what_is_no_setting_is_named_with_what_there_is() {
        for key in ["listne", "other", "config", "config_of_a_test"] {
            let error = listen(&format!("{key} = 1"), &["f", "serve"]).unwrap_err();
            assert!(error.contains(key) && error.contains("listen_of_a_test"), "{error}");
        }
        assert!(listen("listen_of_a_test = { a = 1 }", &["f", "serve"]).is_err());
    }

    #[test]
    fn list_gives_every_value() {
        let table = "models_of_a_test = ['a', 'b']".parse().unwrap();
        let command = with_defaults(command(), &table).unwrap();
        let matches = command.try_get_matches_from(["f", "serve"]).unwrap();
        let (_, serve) = matches.subcommand().unwrap();
        let models: Vec<_> = serve.get_many::<String>("models").unwrap().collect();
        assert_eq!(models, ["a", "b"]);
    }
}
