//! The patterns with agents that have no model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::*;
use crate::agent::context::{AgentContext, Respond, run, with_models};
use crate::agent::{AgentError, Answer, FinishReason, Input, Usage, WorkerCredentials};
use crate::execute::TaskContext;

type Says = Box<dyn Fn(&str) -> Result<String, AgentError> + Send + Sync>;

/// An agent without a model: 2 tokens in, 3 tokens out.
struct Scripted {
    name: &'static str,
    says: Says,
    asked: Arc<AtomicUsize>,
    /// Waits for others before it answers.
    meets: Option<Arc<Barrier>>,
}

#[async_trait]
impl Respond for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    async fn respond(&self, input: &Input, _: &AgentContext) -> Result<Answer, AgentError> {
        self.asked.fetch_add(1, SeqCst);
        if let Some(others) = &self.meets {
            others.wait().await;
        }
        let usage = Usage { input_tokens: 2, output_tokens: 3, requests: 1, ..Usage::default() };
        let text = (self.says)(input.text())?;
        let (model, finish_reason) = ("m".to_owned(), FinishReason::Stop);
        Ok(Answer { text, model, usage, finish_reason, ..Answer::default() })
    }
}

/// Says what it is asked, and then its name.
fn appends(name: &'static str) -> Scripted {
    scripted(name, move |text| Ok(format!("{text} {name}")))
}

fn scripted(
    name: &'static str,
    says: impl Fn(&str) -> Result<String, AgentError> + Send + Sync + 'static,
) -> Scripted {
    Scripted { name, says: Box::new(says), asked: Arc::default(), meets: None }
}

async fn respond(agent: impl Respond, input: &str) -> Result<Answer, AgentError> {
    let credentials = WorkerCredentials::parse("[providers.ollama]", |_| None).unwrap();
    let (cx, _stop) = TaskContext::detached();
    with_models(credentials, run(&agent, &input.into(), &cx)).await
}

/// What was said, in how many tokens, by whom.
fn transcript(answer: &Answer) -> (String, u64, Vec<&str>) {
    let usage = answer.usage;
    let agents = answer.parts.iter().map(|part| part.agent.as_str()).collect();
    (answer.text.clone(), usage.input_tokens + usage.output_tokens, agents)
}

#[tokio::test]
async fn sequence_pipes_what_one_says_to_the_next() {
    let pipeline = Sequential::new("s", appends("a")).then(appends("b")).then(appends("c"));

    let answer = respond(pipeline, "x").await.unwrap();

    assert_eq!(transcript(&answer), ("x a b c".to_owned(), 15, vec!["a", "b", "c"]));
}

#[tokio::test]
async fn parallel_agents_are_asked_at_once_and_answer_in_their_order() {
    let together = Arc::new(Barrier::new(3));
    let meeting = |name| Scripted { meets: Some(together.clone()), ..appends(name) };
    let panel = Parallel::new("p", meeting("a")).and(meeting("b")).and(meeting("c"));

    let answer = respond(panel, "x").await.unwrap();

    assert_eq!(transcript(&answer), ("x a\n\nx b\n\nx c".to_owned(), 15, vec!["a", "b", "c"]));
}

#[tokio::test]
async fn parallel_answers_are_merged_as_one_likes_and_the_first_error_ends_them() {
    let longest = |answers: &[Answer]| {
        answers.iter().map(|a| a.text.clone()).max_by_key(String::len).unwrap_or_default()
    };
    let panel = Parallel::new("p", appends("a")).and(appends("longer")).merge(longest).at_once(1);
    assert_eq!(respond(panel, "x").await.unwrap().text, "x longer");

    let never = appends("c");
    let asked = never.asked.clone();
    let fails = scripted("b", |_| Err(AgentError::Refused("no key".to_owned())));
    let panel = Parallel::new("p", appends("a")).and(fails).and(never).at_once(1);
    let error = respond(panel, "x").await.unwrap_err();
    assert!(matches!(&error, AgentError::Refused(why) if why == "b: no key"));
    assert_eq!(asked.load(SeqCst), 0);
}

#[tokio::test]
async fn condition_chooses_the_first_branch_that_fits() {
    let router = || {
        Conditional::new("c")
            .when(|input| input.text().contains("code"), appends("coder"))
            .when(|input| input.text().len() > 3, appends("writer"))
    };
    let table = [("code", "code coder"), ("prose", "prose writer"), ("x", "x other")];
    for (input, said) in table {
        let answer = respond(router().otherwise(appends("other")), input).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.parts.len()), (said, 1));
    }
    assert!(matches!(respond(router(), "x").await.unwrap_err(), AgentError::Refused(_)));
}

#[tokio::test]
async fn loop_asks_again_with_the_last_answer_until_it_is_good_or_it_is_enough() {
    let until = |answer: &Answer, _: usize| answer.text.len() >= 5;
    let good = respond(Loop::new("l", appends("a")).until(until), "x").await.unwrap();
    assert_eq!(transcript(&good), ("x a a".to_owned(), 10, vec!["a", "a"]));

    let rounds = |_: &Answer, round: usize| round == 4;
    let fourth = respond(Loop::new("l", appends("a")).until(rounds), "x").await.unwrap();
    assert_eq!(fourth.text, "x a a a a");
    let enough = respond(Loop::new("l", appends("a")).until(until).most(1), "x").await.unwrap();
    assert_eq!(enough.text, "x a");
    let default = respond(Loop::new("l", appends("a")), "").await.unwrap();
    assert_eq!(default.usage.requests, ROUNDS as u64);
}

#[tokio::test]
async fn patterns_nest_and_the_result_lists_every_call() {
    let review = Parallel::new("review", appends("facts")).and(appends("style"));
    let polish = Loop::new("polish", appends("editor")).most(2);
    let pipeline = Sequential::new("pipeline", appends("writer")).then(polish).then(review);

    let answer = respond(pipeline, "x").await.unwrap();

    let said = serde_json::to_value(&answer).unwrap();
    assert_eq!(said["usage"], json!({"input_tokens": 10, "output_tokens": 15, "requests": 5}));
    let parts: Vec<_> = said["parts"].as_array().unwrap().iter().map(|p| &p["agent"]).collect();
    assert_eq!(
        parts,
        ["writer", "editor", "editor", "facts", "style"]
            .map(Value::from)
            .iter()
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn errors_say_whose_they_are_and_keep_what_can_be_done() {
    let busy = scripted("busy", |_| Err(AgentError::unavailable("HTTP 503")));
    let inner = Sequential::new("inner", appends("a")).then(busy);

    let error = respond(Sequential::new("outer", inner), "x").await.unwrap_err();

    assert!(
        matches!(&error, AgentError::Unavailable { detail, .. } if detail == "inner: busy: HTTP 503")
    );
}
