//! What each interface is told, and what is understood of its answers.

use reqwest::Url;
use serde_json::json;

use super::*;
use crate::agent::call::{JsonWanted, Parameters};

/// What was heard of these messages, or the error that ended them.
fn heard(read: Read, messages: &[serde_json::Value]) -> Result<Heard, AgentError> {
    let mut heard = Heard::default();
    for message in messages {
        let said = read(&mut heard, &message.to_string())?;
        heard.text.push_str(&said);
    }
    Ok(heard)
}

#[test]
fn error_in_an_answer_that_began_well_ends_it() {
    let table: [(Read, serde_json::Value, bool); 6] = [
        (openai::read, json!({"error": {"message": "x", "type": "server_error"}}), true),
        (openai::read, json!({"error": {"message": "x", "type": "invalid_request_error"}}), false),
        (
            anthropic::read,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}),
            true,
        ),
        (
            anthropic::read,
            json!({"type": "error", "error": {"type": "not_found_error", "message": "x"}}),
            false,
        ),
        (ollama::read, json!({"error": "x"}), true),
        (ollama::read, json!("x"), false),
    ];
    for (read, message, again) in table {
        match heard(read, std::slice::from_ref(&message)) {
            Err(AgentError::Unavailable { detail, .. }) => {
                assert!(again, "{message}");
                assert_eq!(detail, "x");
            }
            Err(AgentError::Refused(detail)) => assert_eq!((again, &*detail), (false, "x")),
            Err(AgentError::Stopped) => panic!("{message}"),
            Ok(heard) => assert!(heard.finish.is_none() && heard.text.is_empty(), "{message}"),
        }
    }
}

#[test]
fn tokens_of_a_cache_and_of_thinking_are_told_apart() {
    let details = json!({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 3}});
    let of_openai = heard(openai::read, &[json!({"choices": [], "usage": details})]).unwrap();
    let begun = json!({"input_tokens": 2, "cache_read_input_tokens": 6, "cache_creation_input_tokens": 1, "output_tokens": 1});
    let of_anthropic = [
        json!({"type": "message_start", "message": {"usage": begun}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 4}}),
    ];
    let of_anthropic = heard(anthropic::read, &of_anthropic).unwrap();

    let usage =
        Usage { input_tokens: 9, output_tokens: 4, cached_input_tokens: 6, ..Usage::default() };
    assert_eq!(of_openai.usage, Some(Usage { reasoning_tokens: 3, ..usage }));
    assert_eq!(of_anthropic.usage, Some(usage));
    assert_eq!(of_anthropic.finish, Some(FinishReason::ContentFilter));
}

#[test]
fn what_a_model_thinks_and_what_nobody_knows_is_passed_over() {
    let delta = json!({"type": "thinking_delta", "thinking": "hm"});
    let table: [(Read, serde_json::Value); 4] = [
        (
            openai::read,
            json!({"choices": [{"delta": {"reasoning_content": "hm", "content": null}}]}),
        ),
        (anthropic::read, json!({"type": "content_block_delta", "delta": delta})),
        (anthropic::read, json!({"type": "ping"})),
        (ollama::read, json!({"message": {"thinking": "hm", "content": ""}, "done": false})),
    ];
    for (read, message) in table {
        let heard = heard(read, std::slice::from_ref(&message)).unwrap();
        assert!(heard.text.is_empty() && heard.finish.is_none() && !heard.is_over, "{message}");
    }
}

#[test]
fn each_interface_has_its_own_words_for_what_is_wanted() {
    let schema = json!({"type": "object"});
    let parameters = Parameters {
        max_tokens: Some(7),
        seed: Some(1),
        json: Some(JsonWanted::Schema(schema.as_object().unwrap().clone())),
        ..Parameters::default()
    };
    let messages = json!({"messages": [{"role": "system", "content": "Inner."}, {"role": "user", "content": "Q"}]});
    let input = Input::read(&messages).unwrap();
    let wanted = Wanted::of("mistral-medium", Some("Outer."), &input, &parameters);
    let openai_com = Url::parse("https://api.openai.com/v1/").unwrap();
    let other = Url::parse("http://127.0.0.1:8000/v1/").unwrap();

    let bodies = [openai::body(&wanted, &openai_com), openai::body(&wanted, &other)];
    let (anthropic, ollama) = (anthropic::body(&wanted), ollama::body(&wanted));

    let limits = bodies
        .clone()
        .map(|body| (body["max_completion_tokens"].clone(), body["max_tokens"].clone()));
    assert_eq!(limits, [(json!(7), json!(null)), (json!(null), json!(7))]);
    assert_eq!(bodies[0]["response_format"]["json_schema"]["schema"], schema);
    assert_eq!(
        (&ollama["format"], &ollama["options"]),
        (&schema, &json!({"num_predict": 7, "seed": 1}))
    );
    assert_eq!(anthropic["max_tokens"], 7);
    let system = anthropic["system"].as_str().unwrap();
    assert!(
        system.starts_with("Outer.")
            && system.contains("JSON Schema")
            && system.ends_with("Inner.")
    );
    assert_eq!(anthropic["messages"], json!([{"role": "user", "content": "Q"}]));
    for body in [&bodies[0], &bodies[1], &anthropic, &ollama] {
        assert_eq!(body["model"], "mistral-medium");
    }
    let unlimited = Parameters::default();
    let wanted = Wanted::of("m", None, &input, &unlimited);
    assert_eq!(anthropic::body(&wanted)["max_tokens"], 4096);
}
