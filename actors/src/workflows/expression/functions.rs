//! What expressions can call. Pure. Nothing here looks at a clock or rolls dice: a replay has to give the same.

use serde_json::Value;

use super::RESULT_MAX;
use super::evaluate::{Meter, Outcome, wrong};
use super::value::{List, Val, Writer};

/// What one pattern of `matches` may become, in bytes.
const PATTERN_MAX: usize = 64 << 10;

/// One function of expressions, for people who write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// How it is called: `text.truncate(n)`.
    pub call: &'static str,
    /// What it gives.
    pub gives: &'static str,
}

/// Every function of expressions, sorted by name.
pub fn functions() -> impl Iterator<Item = Signature> {
    FUNCTIONS.iter().map(|function| Signature { call: function.call, gives: function.gives })
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `name(value)`.
    Free,
    /// `value.name()`.
    Method,
    /// Both.
    Both,
}

type Body = for<'a> fn(&[Val<'a>], &Meter) -> Outcome<Val<'a>>;

/// A function. What it is called on is its first argument.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) style: Style,
    /// Fewest and most arguments, with what it is called on.
    pub(super) arguments: (usize, usize),
    pub(super) call: &'static str,
    gives: &'static str,
    body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.call)
    }
}

macro_rules! function {
    ($name:literal, $style:ident, $fewest:literal..=$most:literal, $call:literal, $gives:literal, $body:expr) => {
        Function {
            name: $name,
            style: Style::$style,
            arguments: ($fewest, $most),
            call: $call,
            gives: $gives,
            body: $body,
        }
    };
}

/// Sorted by name.
static FUNCTIONS: [Function; 21] = [
    function!(
        "bool",
        Free,
        1..=1,
        "bool(value)",
        "true or false of the texts `true` and `false`",
        to_bool
    ),
    function!(
        "contains",
        Method,
        2..=2,
        "text.contains(part)",
        "whether the part is in it",
        |a, m| { two_texts("contains", a, m, |text, part| Val::Bool(text.contains(part))) }
    ),
    function!("double", Free, 1..=1, "double(value)", "a float of a number or a text", to_double),
    function!("dyn", Free, 1..=1, "dyn(value)", "the value itself", |a, _| Ok(a[0].clone())),
    function!("endsWith", Method, 2..=2, "text.endsWith(part)", "whether it ends so", |a, m| {
        two_texts("endsWith", a, m, |text, part| Val::Bool(text.ends_with(part)))
    }),
    function!(
        "indexOf",
        Method,
        2..=2,
        "text.indexOf(part)",
        "where the part begins, in characters from 0; -1 where it is not in it",
        |a, m| {
            two_texts("indexOf", a, m, |text, part| {
                let found = text.find(part).map(|at| text[..at].chars().count());
                Val::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
            })
        }
    ),
    function!(
        "int",
        Free,
        1..=1,
        "int(value)",
        "an integer of a number (cut towards zero) or a text",
        to_int
    ),
    function!(
        "join",
        Method,
        1..=2,
        "list.join(separator)",
        "the texts of a list as one text; without a separator, one right after the other",
        join
    ),
    function!("json", Free, 1..=1, "json(value)", "any value as JSON text, for prompts", json),
    function!(
        "lowerAscii",
        Method,
        1..=1,
        "text.lowerAscii()",
        "the text with a to z for A to Z",
        |a, m| { one_text("lowerAscii", a, m, |text| text.to_ascii_lowercase()) }
    ),
    function!(
        "matches",
        Both,
        2..=2,
        "text.matches(pattern)",
        "whether the regular expression matches somewhere in it",
        matches
    ),
    function!(
        "parseJson",
        Free,
        1..=1,
        "parseJson(text)",
        "the value of JSON text, what a model answered for instance",
        parse_json
    ),
    function!(
        "replace",
        Method,
        3..=3,
        "text.replace(part, other)",
        "the text with the other for every part",
        replace
    ),
    function!("size", Both, 1..=1, "size(value)", "how many characters, elements or keys", size),
    function!(
        "split",
        Method,
        2..=2,
        "text.split(separator)",
        "the parts between the separators",
        split
    ),
    function!(
        "startsWith",
        Method,
        2..=2,
        "text.startsWith(part)",
        "whether it begins so",
        |a, m| { two_texts("startsWith", a, m, |text, part| Val::Bool(text.starts_with(part))) }
    ),
    function!(
        "string",
        Free,
        1..=1,
        "string(value)",
        "text of a number, true, false or text",
        to_text
    ),
    function!(
        "substring",
        Method,
        2..=3,
        "text.substring(from, to)",
        "the characters from the one up to before the other, from 0; without the other, the rest",
        substring
    ),
    function!("trim", Method, 1..=1, "text.trim()", "the text without blanks around it", |a, m| {
        one_text("trim", a, m, |text| text.trim().to_owned())
    }),
    function!(
        "truncate",
        Method,
        2..=2,
        "text.truncate(n)",
        "its first n characters, or all",
        truncate
    ),
    function!(
        "upperAscii",
        Method,
        1..=1,
        "text.upperAscii()",
        "the text with A to Z for a to z",
        |a, m| { one_text("upperAscii", a, m, |text| text.to_ascii_uppercase()) }
    ),
];

impl Function {
    /// The function of a name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.name == name)
    }

    /// The names of all of them.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        FUNCTIONS.iter().map(|function| function.name)
    }

    /// What it gives for these arguments, as many as it takes.
    pub(super) fn call<'a>(&self, arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
        (self.body)(arguments, meter)
    }
}

/// Whether text is a regular expression for `matches`.
pub(super) fn pattern(text: &str) -> Result<regex_lite::Regex, String> {
    let built = regex_lite::RegexBuilder::new(text).size_limit(PATTERN_MAX).build();
    built.map_err(|error| format!("`{text}` is no regular expression: {error}"))
}

fn text<'v>(function: &str, value: &'v Val<'_>) -> Outcome<&'v str> {
    match value {
        Val::Text(text) => Ok(text.as_str()),
        other => wrong(format!("`{function}` asks for text, and got {}", other.word())),
    }
}

fn integer(function: &str, value: &Val<'_>) -> Outcome<usize> {
    match value {
        Val::Int(int) => match usize::try_from(*int) {
            Ok(int) => Ok(int),
            Err(_) => wrong(format!("`{function}` asks for an integer from 0")),
        },
        other => wrong(format!("`{function}` asks for an integer, and got {}", other.word())),
    }
}

fn one_text<'a>(
    function: &str,
    arguments: &[Val<'a>],
    meter: &Meter,
    body: fn(&str) -> String,
) -> Outcome<Val<'a>> {
    let text = text(function, &arguments[0])?;
    meter.make(text.len())?;
    Ok(Val::text(body(text)))
}

fn two_texts<'a>(
    function: &str,
    arguments: &[Val<'a>],
    meter: &Meter,
    body: fn(&str, &str) -> Val<'static>,
) -> Outcome<Val<'a>> {
    let (first, second) = (text(function, &arguments[0])?, text(function, &arguments[1])?);
    meter.read(first.len())?;
    Ok(body(first, second))
}

fn no_conversion<T>(function: &str, value: &Val<'_>) -> Outcome<T> {
    match value {
        Val::Text(_) => wrong(format!("`{function}` cannot read the text it got")),
        Val::Null | Val::List(_) | Val::Map(_) if function == "string" => {
            wrong(format!("`string` does not take {}: use json(...)", value.word()))
        }
        other => wrong(format!("`{function}` does not take {}", other.word())),
    }
}

fn to_bool<'a>(arguments: &[Val<'a>], _: &Meter) -> Outcome<Val<'a>> {
    match &arguments[0] {
        Val::Bool(value) => Ok(Val::Bool(*value)),
        Val::Text(text) if text.as_str() == "true" => Ok(Val::Bool(true)),
        Val::Text(text) if text.as_str() == "false" => Ok(Val::Bool(false)),
        other => no_conversion("bool", other),
    }
}

fn to_int<'a>(arguments: &[Val<'a>], _: &Meter) -> Outcome<Val<'a>> {
    let made = match &arguments[0] {
        Val::Int(int) => Some(*int),
        Val::Uint(uint) => i64::try_from(*uint).ok(),
        Val::Double(double) => {
            // `as` saturates; what lies outside is an error instead.
            let inside = *double > -9.223_372_036_854_776e18 && *double < 9.223_372_036_854_776e18;
            inside.then_some(*double as i64)
        }
        Val::Text(text) => text.as_str().parse().ok(),
        _ => None,
    };
    made.map_or_else(|| no_conversion("int", &arguments[0]), |int| Ok(Val::Int(int)))
}

fn to_double<'a>(arguments: &[Val<'a>], _: &Meter) -> Outcome<Val<'a>> {
    let made = match &arguments[0] {
        Val::Int(int) => Some(*int as f64),
        Val::Uint(uint) => Some(*uint as f64),
        Val::Double(double) => Some(*double),
        Val::Text(text) => text.as_str().parse().ok(),
        _ => None,
    };
    made.map_or_else(|| no_conversion("double", &arguments[0]), |made| Ok(Val::Double(made)))
}

fn to_text<'a>(arguments: &[Val<'a>], _: &Meter) -> Outcome<Val<'a>> {
    match &arguments[0] {
        Val::Text(_) => Ok(arguments[0].clone()),
        Val::Bool(value) => Ok(Val::text(value.to_string())),
        Val::Int(value) => Ok(Val::text(value.to_string())),
        Val::Uint(value) => Ok(Val::text(value.to_string())),
        Val::Double(value) => Ok(Val::text(value.to_string())),
        other => no_conversion("string", other),
    }
}

fn size<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let size = match &arguments[0] {
        Val::Text(text) => {
            meter.read(text.as_str().len())?;
            text.as_str().chars().count()
        }
        Val::List(items) => items.len(),
        Val::Map(entries) => entries.len(),
        other => {
            return wrong(format!(
                "`size` asks for text, a list or an object, and got {}",
                other.word()
            ));
        }
    };
    Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn matches<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let (subject, source) = (text("matches", &arguments[0])?, text("matches", &arguments[1])?);
    // The engine takes time in proportion to the product of both, and nothing worse.
    meter.read(subject.len().saturating_mul(source.len().max(8)) / 4)?;
    let pattern = pattern(source).or_else(|_| wrong("`matches` got no regular expression"))?;
    Ok(Val::Bool(pattern.is_match(subject)))
}

fn json<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let value = Writer { left: RESULT_MAX.min(meter.makeable()) }.json(&arguments[0])?;
    let text = value.to_string();
    meter.make(text.len())?;
    Ok(Val::text(text))
}

fn parse_json<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let text = text("parseJson", &arguments[0])?;
    // A value takes more room than its text: an empty list is two characters and a `Val`.
    meter.make(text.len().saturating_mul(8))?;
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Ok(Val::owned(value)),
        Err(error) => wrong(format!(
            "`parseJson` got text that is no JSON, at line {}, column {}",
            error.line(),
            error.column()
        )),
    }
}

fn replace<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let [subject, part, other] = arguments else { return wrong("`replace` takes three texts") };
    let (subject, part) = (text("replace", subject)?, text("replace", part)?);
    let other = text("replace", other)?;
    meter.read(subject.len())?;
    let times = subject.matches(part).count();
    meter.make(subject.len().saturating_add(times.saturating_mul(other.len())))?;
    Ok(Val::text(subject.replace(part, other)))
}

fn split<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let (subject, separator) = (text("split", &arguments[0])?, text("split", &arguments[1])?);
    meter.read(subject.len())?;
    let parts = subject.matches(separator).count() + 1;
    meter.make(subject.len() + parts * size_of::<Val<'_>>())?;
    Ok(Val::list(subject.split(separator).map(Val::text).collect()))
}

fn join<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let Val::List(items) = &arguments[0] else {
        return wrong(format!("`join` asks for a list, and got {}", arguments[0].word()));
    };
    let separator = arguments.get(1).map_or(Ok(""), |value| text("join", value))?;
    meter.make(items.len() * separator.len())?;
    joined(items, separator, meter).map(Val::text)
}

fn joined(items: &List<'_>, separator: &str, meter: &Meter) -> Outcome<String> {
    let mut made = String::new();
    for (index, item) in items.iter().enumerate() {
        let item = text("join", &item)?.to_owned();
        meter.make(item.len() + 1)?;
        if index > 0 {
            made.push_str(separator);
        }
        made.push_str(&item);
    }
    Ok(made)
}

fn substring<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let subject = text("substring", &arguments[0])?;
    meter.make(subject.len())?;
    let length = subject.chars().count();
    let from = integer("substring", &arguments[1])?;
    let to = arguments.get(2).map_or(Ok(length), |value| integer("substring", value))?;
    if from > to || to > length {
        return wrong(
            "`substring` asks for characters that are not there; `truncate` takes what there is",
        );
    }
    Ok(Val::text(subject.chars().skip(from).take(to - from).collect::<String>()))
}

fn truncate<'a>(arguments: &[Val<'a>], meter: &Meter) -> Outcome<Val<'a>> {
    let subject = text("truncate", &arguments[0])?;
    let most = integer("truncate", &arguments[1])?;
    match subject.char_indices().nth(most) {
        None => Ok(arguments[0].clone()),
        Some((end, _)) => {
            meter.make(end)?;
            Ok(Val::text(&subject[..end]))
        }
    }
}
