//! What a worker sees of the endpoints of its models, and what follows for what it is given. Pure.
//!
//! It is the state of a moment and lives in memory only: each heartbeat says all of it again. A worker that probes vouches
//! for its models by what it sees: one that no endpoint names is *gone*, and not asked of this worker, until it is seen again.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Kind, Refusal};
use crate::fleet::input;
use crate::fleet::models::{self, Overrides};

/// Most endpoints of a worker.
pub const ENDPOINTS_MAX: usize = 32;
/// Most models of an endpoint.
pub const ENDPOINT_MODELS_MAX: usize = 512;
/// Longest name and reason of an endpoint, in characters.
const TEXT_MAX: usize = 512;

/// What a worker saw when it last looked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// Which look of its process: higher than the one before.
    pub round: u64,
    /// When it looked, by the server's clock, in microseconds UTC.
    pub at: i64,
    /// Each endpoint.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// What kind of server it is.
    pub kind: &'static str,
    /// How people call it: its URL without what may be secret.
    pub name: String,
    /// Whether it answered with its models.
    pub available: bool,
    /// How long that took, in milliseconds.
    pub latency_ms: u64,
    /// The models, as it calls them.
    pub models: Vec<String>,
    /// Why there is no answer.
    pub error: Option<String>,
}

impl Seen {
    /// Whether it can be kept.
    ///
    /// # Errors
    /// When it is more than a worker may say.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.endpoints.len() > ENDPOINTS_MAX {
            let detail = format!("a worker may name at most {ENDPOINTS_MAX} endpoints");
            return Err(Refusal::new(Kind::TooLarge, "too_many", detail));
        }
        self.endpoints.iter().try_for_each(|endpoint| {
            input::printable("endpoint", &endpoint.name, TEXT_MAX)?;
            input::printable("error", endpoint.error.as_deref().unwrap_or_default(), TEXT_MAX)?;
            input::names("models", &endpoint.models, ENDPOINT_MODELS_MAX)
        })
    }

    /// Whether the same models are there as in another look, whatever else differs.
    pub fn offers_as(&self, other: &Self) -> bool {
        let same =
            |(a, b): (&Endpoint, &Endpoint)| a.available == b.available && a.models == b.models;
        self.endpoints.len() == other.endpoints.len()
            && self.endpoints.iter().zip(&other.endpoints).all(same)
    }

    /// Of `declared`, canonical names, those that no endpoint names now.
    pub fn gone(&self, declared: &BTreeSet<String>, overrides: &Overrides) -> BTreeSet<String> {
        let there = self.endpoints.iter().filter(|endpoint| endpoint.available);
        let named = there.flat_map(|endpoint| &endpoint.models);
        let there: BTreeSet<_> = named.map(|name| models::canonical(name, overrides)).collect();
        declared.difference(&there).cloned().collect()
    }

    /// Of what is gone, that of which it is certain: everything answers, and nothing names it. Each with when it was looked.
    pub fn lacking(&self, gone: &BTreeSet<String>) -> BTreeMap<String, i64> {
        if !self.endpoints.iter().all(|endpoint| endpoint.available) {
            return BTreeMap::new();
        }
        gone.iter().map(|model| (model.clone(), self.at)).collect()
    }

    /// `ok`, `degraded` where an endpoint or a declared model is missing, `down` where no endpoint answers.
    pub fn status(&self, gone: &BTreeSet<String>) -> &'static str {
        let available = self.endpoints.iter().filter(|endpoint| endpoint.available).count();
        match available {
            0 => "down",
            all if all == self.endpoints.len() && gone.is_empty() => "ok",
            _ => "degraded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(endpoints: &[(bool, &[&str])]) -> Seen {
        let endpoint = |&(available, models): &(bool, &[&str])| Endpoint {
            available,
            models: models.iter().map(|name| (*name).to_owned()).collect(),
            ..Endpoint::default()
        };
        Seen { endpoints: endpoints.iter().map(endpoint).collect(), ..Seen::default() }
    }

    #[test]
    fn model_is_gone_that_no_answering_endpoint_names() {
        let declared: BTreeSet<String> = ["gpt-4o".to_owned(), "llama3".to_owned()].into();
        type Case<'a> = (&'a [(bool, &'a [&'a str])], &'a [&'a str], &'a str);
        let table: &[Case<'_>] = &[
            (&[(true, &["openai/gpt-4o-2024-08-06", "llama3:latest"])], &[], "ok"),
            (&[(true, &["gpt4o"]), (true, &["LLAMA3"])], &[], "ok"),
            (&[(true, &["gpt-4o"]), (false, &[])], &["llama3"], "degraded"),
            (&[(true, &["gpt-4o", "llama3"]), (false, &[])], &[], "degraded"),
            (&[(true, &["other"])], &["gpt-4o", "llama3"], "degraded"),
            (&[(false, &["gpt-4o"])], &["gpt-4o", "llama3"], "down"),
        ];
        for (endpoints, expected, status) in table {
            let seen = seen(endpoints);
            let gone = seen.gone(&declared, &Overrides::default());
            assert_eq!(gone.iter().map(String::as_str).collect::<Vec<_>>(), *expected);
            assert_eq!(seen.status(&gone), *status, "{endpoints:?}");
            let certain = seen.endpoints.iter().all(|endpoint| endpoint.available);
            assert_eq!(seen.lacking(&gone).len(), if certain { gone.len() } else { 0 });
        }
    }

    #[test]
    fn latency_alone_changes_nothing_of_what_is_offered() {
        let before = seen(&[(true, &["a"])]);
        let mut after = before.clone();
        (after.round, after.endpoints[0].latency_ms) = (7, 99);
        assert!(after.offers_as(&before));
        after.endpoints[0].models.clear();
        assert!(!after.offers_as(&before));
    }
}
