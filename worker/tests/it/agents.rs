//! Agents over real HTTP: what providers are asked in each interface, what becomes of what they answer, and of what they
//! do not.

mod provider;
mod real;

use std::time::Duration;

use fleetward_wire::tasks::Claimed;
use fleetward_worker::agent::{Agent, Agents, WorkerCredentials, handler, with_credentials};
use fleetward_worker::{Execute, Outcome, StopReason, TaskContext, from_fn, worker_credentials};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::plane::{Answer, Plane, once, task};
use provider::{Asked, Provider, Reply, anthropic, ollama, openai};

const KEY: &str = "sk-canary-of-the-worker";

fn credentials(kind: &str, base: &str) -> WorkerCredentials {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let file = format!("[providers.{kind}]\napi_base = \"{base}\"\napi_key = \"{KEY}\"\n");
    WorkerCredentials::parse(&file, |_| None).unwrap()
}

fn call(agent: Value, input: Value) -> Claimed {
    Claimed { payload: json!({"agent": agent, "input": input}).into(), ..task("t1") }
}

fn agents(kind: &str, provider: &Provider) -> impl Execute {
    with_credentials(Agents::new(), credentials(kind, &provider.base)).unwrap()
}

async fn run(execute: &impl Execute, task: &Claimed) -> Outcome {
    let (cx, _stop) = TaskContext::detached();
    execute.execute(task, cx).await
}

fn completed(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Completed(value) => value,
        Outcome::Failed(why) | Outcome::FailedForGood(why) => panic!("{why}"),
        Outcome::GiveBack(why) => panic!("given back: {why}"),
        Outcome::Suspended(_) => panic!("suspended"),
    }
}

/// Of an interface: its name, how it streams, its word for the end and for the limit, where it is asked, and whether the key
/// is where it belongs.
type Interface =
    (&'static str, fn(&[&str], &str) -> Reply, [&'static str; 2], &'static str, fn(&Asked) -> bool);

/// Its name, what comes, and what becomes of it: a text, or an error with whether the task may be tried again.
type Case<'a> = (&'a str, Vec<Reply>, Result<&'a str, (bool, &'a str)>);

fn interfaces() -> [Interface; 3] {
    let bearer = |asked: &Asked| asked.headers["authorization"] == format!("Bearer {KEY}");
    [
        ("openai", openai, ["stop", "length"], "/v1/chat/completions", bearer),
        ("anthropic", anthropic, ["end_turn", "max_tokens"], "/v1/messages", |asked| {
            asked.headers["x-api-key"] == KEY && asked.headers.contains_key("anthropic-version")
        }),
        ("ollama", ollama, ["stop", "length"], "/api/chat", |_| true),
    ]
}

#[tokio::test]
async fn each_interface_is_spoken_and_its_answer_is_the_result() {
    for (kind, streams, [finished, cut], path, has_key) in interfaces() {
        let replies = [streams(&["Bees ", "dänce", "."], finished), streams(&["Bees"], cut)];
        let provider = Provider::start(replies).await;
        let parameters =
            json!({"temperature": 0.5, "top_p": 0.9, "max_tokens": 20, "stop": ["END"]});
        let agent =
            json!({"name": "w", "model": "m1", "system": "Be brief.", "parameters": parameters});
        let messages = json!({"messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Bees"},
        ]});
        let task = call(agent, messages);
        let agents = agents(kind, &provider);

        let whole = completed(run(&agents, &task).await);
        let part = completed(run(&agents, &task).await);

        let usage = json!({"input_tokens": 5, "output_tokens": 2, "requests": 1});
        let said = json!({"text": "Bees dänce.", "model": format!("{kind}/m1"), "usage": usage, "finish_reason": "stop"});
        assert_eq!(whole, said, "{kind}");
        assert_eq!((&part["text"], &part["finish_reason"]), (&json!("Bees"), &json!("length")));
        let asked = &provider.asked()[0];
        assert_eq!((asked.path.as_str(), &asked.body["model"]), (path, &json!("m1")), "{kind}");
        assert!(has_key(asked), "{kind}: {:?}", asked.headers);
        assert_eq!(asked.body["stream"], true, "{kind}");
        let text = asked.body.to_string();
        for word in ["Be brief.", "Hello", "Yes?", "Bees", "0.5", "0.9", "20", "END"] {
            assert!(text.contains(word), "{kind}: {word} in {text}");
        }
    }
}

#[tokio::test]
async fn json_that_is_asked_for_is_read_and_what_is_none_may_be_tried_again() {
    for (kind, streams, [finished, _], ..) in interfaces() {
        let replies =
            [streams(&["```json\n{\"n\"", ": 3}\n```"], finished), streams(&["three"], finished)];
        let provider = Provider::start(replies).await;
        let task = call(json!({"model": "m1", "parameters": {"json": true}}), json!("how many?"));
        let agents = agents(kind, &provider);

        let good = completed(run(&agents, &task).await);
        let bad = run(&agents, &task).await;

        assert_eq!(good["json"], json!({"n": 3}), "{kind}");
        assert!(bad == Outcome::Failed("the answer is no JSON".to_owned()), "{kind}");
        assert!(provider.asked()[0].body.to_string().contains("JSON"), "models are told so");
    }
}

#[tokio::test]
async fn what_may_work_later_is_asked_for_again_and_what_never_will_is_not() {
    for (kind, streams, [finished, _], ..) in interfaces() {
        let ok = || streams(&["a", "b", "c"], finished);
        let busy = Reply::error(429, "slow down").header("retry-after", "0");
        let echo = format!("Incorrect API key provided: {KEY}");
        let down = || Reply::error(503, "overloaded");
        let table: [Case<'_>; 8] = [
            ("busy", vec![busy, ok()], Ok("abc")),
            ("broken", vec![ok().broken_after(2), ok()], Ok("abc")),
            ("cut", vec![ok().cut_after(2), ok()], Ok("abc")),
            ("down", vec![down(), down(), down()], Err((true, "503"))),
            (
                "for long",
                vec![Reply::error(429, "tomorrow").header("retry-after", "86400")],
                Err((true, "429")),
            ),
            ("key", vec![Reply::error(401, &echo)], Err((false, "401"))),
            ("model", vec![Reply::error(404, "model \"m1\" not found")], Err((false, "m1"))),
            (
                "request",
                vec![Reply::error(400, "temperature is too high")],
                Err((false, "too high")),
            ),
        ];
        // At once: some of them wait between their tries.
        join_all(table.map(|case| becomes(kind, case))).await;
    }
}

async fn becomes(kind: &str, (what, replies, wanted): Case<'_>) {
    let requests = replies.len();
    let provider = Provider::start(replies).await;

    let outcome = run(&agents(kind, &provider), &call(json!({"model": "m1"}), json!("x"))).await;

    let found = match &outcome {
        Outcome::Completed(answer) => Ok(answer["text"].as_str().unwrap()),
        Outcome::Failed(why) => Err((true, why.as_str())),
        Outcome::FailedForGood(why) => Err((false, why.as_str())),
        Outcome::GiveBack(_) | Outcome::Suspended(_) => panic!("{kind}, {what}: given back"),
    };
    match (found, wanted) {
        (Ok(text), Ok(wanted)) => assert_eq!(text, wanted, "{kind}, {what}"),
        (Err((again, why)), Err((wanted, words))) => {
            assert_eq!(again, wanted, "{kind}, {what}: {why}");
            assert!(why.contains(words) && !why.contains(KEY), "{kind}, {what}: {why}");
        }
        (found, _) => panic!("{kind}, {what}: {found:?}"),
    }
    assert_eq!(provider.asked().len(), requests, "{kind}, {what}");
}

#[tokio::test]
async fn nobody_there_may_be_tried_again_and_a_redirect_is_not_followed() {
    let there = Provider::start([]).await;
    let elsewhere = Reply::error(307, "go").header("location", &format!("{}/v1/x", there.base));
    let provider = Provider::start([elsewhere]).await;
    let task = call(json!({"model": "m1"}), json!("x"));

    let nobody =
        with_credentials(Agents::new(), credentials("openai", "http://127.0.0.1:1")).unwrap();
    let unreachable = run(&nobody, &task).await;
    let redirected = run(&agents("openai", &provider), &task).await;

    assert!(matches!(unreachable, Outcome::Failed(_)), "{unreachable:?}");
    assert!(matches!(redirected, Outcome::FailedForGood(_)), "{redirected:?}");
    assert!(there.asked().is_empty());
}

#[tokio::test]
async fn stopped_task_hangs_up_on_its_model() {
    for (kind, streams, ..) in interfaces() {
        let provider = Provider::start([streams(&["a", "b"], "x").silent_after(2)]).await;
        let agents = agents(kind, &provider);
        let (cx, stop) = TaskContext::detached();

        let running = tokio::spawn(async move {
            agents.execute(&call(json!({"model": "m1"}), json!("x")), cx).await
        });
        provider.was_asked().await;
        stop.stop(StopReason::Cancelled);

        assert!(matches!(running.await.unwrap(), Outcome::GiveBack(_)), "{kind}");
        provider.was_left().await;
    }
}

#[tokio::test]
async fn words_of_a_model_are_progress_and_its_answer_is_reported() {
    let provider = Provider::start([openai(&["Bees ", "dance."], "stop").silent_after(3)]).await;
    let agent = json!({"name": "writer", "model": "m1"});
    let claimed = Answer::Now(Ok(vec![call(agent, json!("x"))]));
    let plane = Plane::new().claims([claimed]);

    let worker = plane.start(agents("openai", &provider), once());
    plane.asked("progress", 1).await;
    let progress = plane.said("progress");
    worker.ended.abort();

    let said = r#"progress t1/1 token-of-t1 None {"agent":"writer","bytes":5,"text":"Bees "}"#;
    assert_eq!(progress.trim_end(), said);
}

#[tokio::test]
async fn model_that_says_nothing_is_given_up() {
    let provider = Provider::start([openai(&["a"], "stop").silent_after(1)]).await;
    let agents = Agents::new().timeout(Duration::from_millis(100));
    let agents = with_credentials(agents, credentials("openai", &provider.base)).unwrap();

    let outcome = run(&agents, &call(json!({"model": "m1"}), json!("x"))).await;

    assert!(outcome == Outcome::Failed("timed out after 100ms".to_owned()));
}

#[tokio::test]
async fn credentials_reach_handlers_and_a_task_without_agent_goes_to_the_other() {
    let other = from_fn(|task, _| async move {
        let key = worker_credentials().and_then(|c| Some(c.provider("openai")?.api_key()?.clone()));
        assert_eq!(key.unwrap().expose(), KEY);
        Outcome::Completed(task.payload.into_exposed())
    });
    let both = Agents::new().or(other);
    let both = with_credentials(both, credentials("openai", "http://127.0.0.1:1")).unwrap();
    let alone =
        with_credentials(Agents::new(), credentials("openai", "http://127.0.0.1:1")).unwrap();

    assert_eq!(completed(run(&both, &task("t1")).await), json!({"say": "hello"}));
    let refused = run(&alone, &task("t1")).await;
    assert!(matches!(refused, Outcome::FailedForGood(why) if why.contains("no agent call")));
    let bare = run(&Agents::new(), &call(json!({"model": "m1"}), json!("x"))).await;
    assert!(matches!(bare, Outcome::FailedForGood(why) if why.contains("no credentials")));
    assert!(worker_credentials().is_none());
}

#[tokio::test]
async fn handler_of_an_agent_takes_its_payload_as_input_and_the_model_of_the_task() {
    let provider = Provider::start([openai(&["ok"], "stop"), openai(&["ok"], "stop")]).await;
    let writer = handler(Agent::new("writer").system("Write."));
    let writer = with_credentials(writer, credentials("openai", &provider.base)).unwrap();
    let with = |payload: Value| Claimed {
        payload: payload.into(),
        model: Some("m2".to_owned()),
        ..task("t1")
    };

    completed(run(&writer, &with(json!({"topic": "bees"}))).await);
    completed(run(&writer, &with(json!({"input": "bees"}))).await);

    let asked: Vec<_> =
        provider.asked().iter().map(|a| a.body["messages"][1]["content"].clone()).collect();
    assert_eq!(asked, [json!(r#"{"topic":"bees"}"#), json!("bees")]);
    assert_eq!(provider.asked()[0].body["model"], "m2");
}
