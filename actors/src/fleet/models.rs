//! Names of models, made comparable: whatever a worker, a task or a key calls a model, equal models get equal names.
//! Pure.
//!
//! Textual rules first, in this order, until nothing changes: lower case, blanks and underscores become `-`; the prefix
//! of a provider goes (`openai/`, `azure/`, also several); of a Vertex or Bedrock resource name the model remains;
//! Bedrock's region and vendor (`us.anthropic.`) and revision (`-v2:0`) go; Vertex's `@version` goes; `:latest` and
//! `-latest` go; a date at the end goes. Then the table of `models/aliases.json`, which has a version.
//!
//! **Policy.** A dated name is a snapshot of its model and counts as the model: `azure/gpt-4o-2024-08-06` is `gpt-4o`.
//! A tag of Ollama other than `latest` is another model, because it says how large or how coarse it is: `llama3:8b`
//! stays. A prefix that is no known provider stays: it may name another model. An organisation that wants it otherwise
//! says so in its policy (`models`), whose names win over everything here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use serde::Deserialize;

/// An organisation's own names: as people write them (in lower case, with `-` for gaps), and what they mean.
pub type Overrides = BTreeMap<String, String>;

/// The overrides of one organisation, as whoever reads a name sees them. Written by effects of its registry.
#[derive(Debug, Default)]
pub struct ModelNames(RwLock<Arc<Overrides>>);

impl ModelNames {
    /// The canonical name of a model in this organisation.
    pub fn canonical(&self, name: &str) -> String {
        canonical(name, &self.now())
    }

    /// The overrides that count now.
    pub fn now(&self) -> Arc<Overrides> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these count.
    pub fn set(&self, overrides: Arc<Overrides>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = overrides;
    }
}

#[derive(Deserialize)]
struct Table {
    version: String,
    providers: HashSet<String>,
    bedrock_regions: HashSet<String>,
    bedrock_vendors: HashSet<String>,
    aliases: HashMap<String, String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("models/aliases.json")).expect("a test reads the table")
});

/// The version of the table of aliases: the day of its last change.
pub fn table_version() -> &'static str {
    &TABLE.version
}

/// The canonical name of a model. Never empty, unless there is nothing in `name` but blanks.
pub fn canonical(name: &str, overrides: &Overrides) -> String {
    let plain = plain(name);
    if let Some(own) = own(&plain, overrides) {
        return own;
    }
    let mut name = plain.as_str();
    loop {
        match shorten(name) {
            shorter if shorter.is_empty() || shorter == name => break,
            shorter => name = shorter,
        }
    }
    let known = TABLE.aliases.get(name).map_or(name, String::as_str);
    own(name, overrides).or_else(|| own(known, overrides)).unwrap_or_else(|| known.to_owned())
}

/// What the organisation says itself. What it calls a model stays so, however often it is read.
fn own(plain: &str, overrides: &Overrides) -> Option<String> {
    if overrides.values().any(|meant| self::plain(meant) == plain) {
        return Some(plain.to_owned());
    }
    overrides.get(plain).map(|meant| self::plain(meant))
}

/// Lower case, and one way to write a gap.
pub fn plain(name: &str) -> String {
    let gaps = |c: char| if c.is_whitespace() { '-' } else { c };
    name.trim().to_lowercase().chars().map(gaps).collect()
}

/// One thing less, or the same.
fn shorten(name: &str) -> &str {
    let table = &*TABLE;
    if let Some((_, model)) = name.rsplit_once("/models/") {
        return model;
    }
    if let Some((_, model)) = name.rsplit_once("foundation-model/") {
        return model;
    }
    if let Some((provider, rest)) = name.split_once('/')
        && table.providers.contains(&provider.replace('-', "_"))
            | table.providers.contains(provider)
    {
        return rest;
    }
    if let Some((first, rest)) = name.split_once('.') {
        let region = table.bedrock_regions.contains(first);
        let vendor = table.bedrock_vendors.contains(first);
        if vendor || region && rest.contains('.') {
            return rest;
        }
    }
    for tail in [":latest", "-latest"] {
        if let Some(rest) = name.strip_suffix(tail) {
            return rest;
        }
    }
    if let Some((rest, version)) = name.rsplit_once('@')
        && !version.contains('/')
    {
        return rest;
    }
    if let Some(rest) = without_revision(name) {
        return rest;
    }
    without_date(name).unwrap_or(name)
}

/// `claude-3-haiku-20240307-v1:0` and `claude-3-5-sonnet-v2` without what follows the last `-v`.
fn without_revision(name: &str) -> Option<&str> {
    let (rest, revision) = name.rsplit_once("-v")?;
    let (major, minor) = revision.split_once(':').unwrap_or((revision, "0"));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A context length may follow: `-v1:0:200k`.
    let minor = minor.split(':').next().unwrap_or(minor);
    // Some models are called so: only a revision after a date, or of Bedrock, or of Vertex's Claude is none.
    let is_revision =
        revision.contains(':') || without_date(rest).is_some() || rest.starts_with("claude-");
    (number(major) && number(minor) && is_revision).then_some(rest)
}

/// A name without `-2024-08-06`, `-20240806` or `-0613` at its end.
fn without_date(name: &str) -> Option<&str> {
    let shapes = ["-dddd-dd-dd", "-dddddddd", "-dddd"];
    let fits = |shape: &&str| {
        let Some(start) = name.len().checked_sub(shape.len()) else { return false };
        let tail = &name.as_bytes()[start..];
        start > 0
            && tail.iter().zip(shape.bytes()).all(|(byte, kind)| match kind {
                b'd' => byte.is_ascii_digit(),
                _ => *byte == b'-',
            })
    };
    let shape = shapes.into_iter().find(|shape| fits(shape))?;
    Some(&name[..name.len() - shape.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str) -> String {
        canonical(name, &Overrides::new())
    }

    #[test]
    fn spellings_of_one_model_are_one_name() {
        let table = [
            (
                "gpt-4o",
                &[
                    "gpt4o",
                    "GPT-4o",
                    "openai/gpt-4o",
                    " gpt 4o ",
                    "azure/gpt-4o-2024-08-06",
                    "openrouter/openai/gpt-4o",
                    "gpt-4o:latest",
                    "chatgpt-4o-latest",
                ][..],
            ),
            ("gpt-3.5-turbo", &["azure/gpt-35-turbo", "gpt-3.5-turbo-0613", "gpt35"]),
            ("gpt-4", &["gpt-4-0613", "GPT4"]),
            (
                "claude-3-5-sonnet",
                &[
                    "claude-3.5-sonnet",
                    "anthropic/claude-3-5-sonnet-20241022",
                    "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
                    "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0",
                    "vertex_ai/claude-3-5-sonnet-v2@20241022",
                    "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20240620-v1:0",
                    "projects/p/locations/us-east5/publishers/anthropic/models/claude-3-5-sonnet@20240620",
                    "claude-3-5-sonnet-latest",
                    "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0:200k",
                ],
            ),
            (
                "gemini-1.5-pro",
                &[
                    "google/gemini-pro-1.5",
                    "vertex_ai/gemini-1.5-pro",
                    "publishers/google/models/gemini-1.5-pro",
                    "gemini/gemini-1.5-pro-latest",
                ],
            ),
            ("llama3", &["ollama/llama3", "llama3:latest", "ollama_chat/llama3:latest", "llama-3"]),
            ("llama3:8b", &["ollama/llama3:8b", "LLAMA3:8b"]),
            ("llama3:8b-instruct-q4_0", &["ollama/llama3:8b-instruct-q4_0"]),
            (
                "llama3-8b-instruct",
                &["us.meta.llama3-8b-instruct-v1:0", "meta.llama3-8b-instruct-v1:0"],
            ),
            ("meta-llama/llama-3-8b-instruct", &["meta-llama/Llama-3-8B-Instruct"]),
            ("deepseek-v3", &["deepseek/deepseek-v3", "DeepSeek-V3"]),
        ];
        for (expected, spellings) in table {
            assert_eq!(of(expected), expected);
            for spelling in spellings {
                assert_eq!(of(spelling), expected, "{spelling}");
            }
        }
    }

    #[test]
    fn an_organisation_has_the_last_word() {
        let overrides = [
            ("gpt-4o-2024-08-06".to_owned(), "gpt-4o-2024-08-06".to_owned()),
            ("house-model".to_owned(), "Llama3:70b".to_owned()),
        ]
        .into();
        let own = |name| canonical(name, &overrides);

        assert_eq!(own("GPT-4o-2024-08-06"), "gpt-4o-2024-08-06");
        assert_eq!(own("azure/gpt-4o-2024-08-06"), "gpt-4o");
        assert_eq!(own("gpt-4o"), "gpt-4o");
        assert_eq!(own("House Model"), "llama3:70b");
    }

    #[test]
    fn what_the_table_gives_is_canonical() {
        assert!(!table_version().is_empty());
        for (alias, name) in &TABLE.aliases {
            assert_eq!(of(name), *name, "{alias}");
            assert_eq!(plain(alias), *alias);
        }
    }

    proptest! {
        #[test]
        fn a_name_read_twice_is_the_same_and_never_empty(
            name in "[ a-zA-Z0-9./:@_-]{0,40}|(openai/|us\\.|anthropic\\.|azure/){0,3}(gpt-4o|claude-3.5-sonnet|llama3)(:latest|-latest|-v[0-9]:[0-9]|-2024-08-06|@2024)?",
            own in proptest::collection::btree_map("[a-z0-9-]{1,8}", "[a-zA-Z0-9-]{1,8}", 0..3),
        ) {
            let once = canonical(&name, &own);
            prop_assert_eq!(canonical(&once, &own), once.clone());
            prop_assert_eq!(once.is_empty(), name.trim().is_empty());
        }
    }
}
