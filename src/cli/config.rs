//! `fleetward.toml`: settings that flags and environment win over.

use std::path::Path;

use serde::Deserialize;

use super::error::Failed;

/// The file that is read when none is named.
const DEFAULT: &str = "fleetward.toml";

/// Settings from the file. A key that is not known is an error, not a silence.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) server: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) org: Option<String>,
    pub(crate) database_url: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) log: Option<String>,
    pub(crate) log_format: Option<String>,
}

impl File {
    /// The named file, or the default one if it is there.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, Failed> {
        let path = named.unwrap_or(Path::new(DEFAULT));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|error| Failed::refused(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                Ok(Self::default())
            }
            Err(error) => Err(Failed::refused(format!("{}: {error}", path.display()))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The message of the parser names the key and the line.
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }
}

/// What holds: the flag or the environment, which clap has merged, else the file, else the default.
pub(crate) fn choose(given: Option<String>, file: &Option<String>, default: &str) -> String {
    given.or_else(|| file.clone()).unwrap_or_else(|| default.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_wins_over_file_and_file_over_default() {
        let file = Some("file".to_owned());
        assert_eq!(choose(Some("flag".into()), &file, "default"), "flag");
        assert_eq!(choose(None, &file, "default"), "file");
        assert_eq!(choose(None, &None, "default"), "default");
    }

    #[test]
    fn unknown_key_is_named() {
        let error = File::parse("listne = \"x\"").unwrap_err();
        assert!(error.contains("listne"), "{error}");
        assert_eq!(File::parse("listen = \"x\"").unwrap().listen.as_deref(), Some("x"));
    }
}
