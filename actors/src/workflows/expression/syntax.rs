//! From text to a program, and what is said where that cannot be done. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::parser::{ParseError, PrattParser};

use super::lower::{self, Fault};
use super::program::Program;
use super::{BadExpression, CODE_MAX, SOURCE_MAX};

/// Deepest nesting of parentheses, brackets and arguments. The parser recurses, on the stack of whoever calls.
const NESTING_MAX: u16 = 32;
/// Most parts of an expression, as the parser counts them.
const PARTS_MAX: usize = 2_000;

/// Compiles an expression.
pub(super) fn compile(source: &str) -> Result<Program, BadExpression> {
    limits(source)?;
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let parser = PrattParser::new().max_recursion_depth(NESTING_MAX);
        parser.max_expression_node_count(PARTS_MAX).parse(source)
    }));
    let tree = match parsed {
        Ok(Ok(tree)) => tree,
        Ok(Err(errors)) => return Err(first(source, &errors.errors)),
        // A bug of the parser is an error in this one expression.
        Err(_) => return Err(bad(source, 0, "this cannot be read as an expression".to_owned())),
    };
    lower::program(&tree).map_err(|Fault { message, word }| {
        let at = word.and_then(|word| find_word(source, &word)).unwrap_or(0);
        bad(source, at, dashed(source, at).unwrap_or(message))
    })
}

fn limits(source: &str) -> Result<(), BadExpression> {
    if source.trim().is_empty() {
        return Err(bad(source, 0, "the expression is empty".to_owned()));
    }
    if source.len() > SOURCE_MAX {
        let message = format!("the expression is longer than {} KiB", SOURCE_MAX >> 10);
        return Err(bad(source, 0, message));
    }
    if code_length(source) > CODE_MAX {
        let message = format!(
            "the expression is longer than {} KiB besides the text in quotes; let a step do more",
            CODE_MAX >> 10
        );
        return Err(bad(source, 0, message));
    }
    Ok(())
}

/// How many bytes are not in quotes, roughly: what is wrongly quoted is found by the parser.
fn code_length(source: &str) -> usize {
    let (mut quote, mut escaped, mut code) = (None, false, 0);
    for byte in source.bytes() {
        match quote {
            None => {
                code += 1;
                quote = matches!(byte, b'"' | b'\'').then_some(byte);
            }
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
        }
    }
    code
}

fn bad(source: &str, at: usize, message: String) -> BadExpression {
    let before = source.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    BadExpression { message, line: number(line), column: number(column) }
}

/// Where a word stands for the first time, not as a part of another.
fn find_word(source: &str, word: &str) -> Option<usize> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = source[..*at].chars().next_back();
        let after = source[at + word.len()..].chars().next();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// `steps.cool-down` asks for a node `cool`, less a variable `down`. What is wrong then is said in these words.
fn dashed(source: &str, at: usize) -> Option<String> {
    let (before, after) = (source.get(..at)?.strip_suffix('-')?, source.get(at..)?);
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = before.rfind(|c| !in_name(c))? + 1;
    before[..begins].ends_with("steps.").then(|| {
        let rest = after.split(|c| !in_name(c)).next().unwrap_or_default();
        format!("a name with a dash is written steps[\"{}-{rest}\"]", &before[begins..])
    })
}

/// The first thing that is wrong: what follows is often a consequence.
fn first(source: &str, errors: &[ParseError]) -> BadExpression {
    let Some(error) = errors.first() else {
        return bad(source, 0, "this cannot be read as an expression".to_owned());
    };
    let number = |n: isize| u32::try_from(n).unwrap_or(1).max(1);
    let (line, column) = (number(error.pos.0), number(error.pos.1));
    let message = plain(&error.msg, &token(source, line, column));
    BadExpression { message, line, column }
}

/// What stands at a position: a word, or a sign.
fn token(source: &str, line: u32, column: u32) -> String {
    let line = source.split('\n').nth(line as usize - 1).unwrap_or_default();
    let rest: String = line.chars().skip(column as usize - 1).collect();
    let word: String =
        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').take(64).collect();
    if word.is_empty() { rest.chars().take(1).collect() } else { word }
}

/// The parser's words made plain.
fn plain(message: &str, token: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if let Some(hint) = hint(token) {
        return hint.to_owned();
    }
    if let Some(mismatch) = message.strip_prefix("mismatched input ") {
        let (found, expected) = mismatch.split_once(" expecting ").unwrap_or((mismatch, ""));
        let found = found.trim_matches('\'');
        return match (found, expected) {
            ("<EOF>", "expression") => "it ends where more is expected".to_owned(),
            ("<EOF>", sign) => format!("it ends without `{}`", sign.trim_matches('\'')),
            (found, "<EOF>") => {
                let hint = "text stands in quotes of its own: '\"text\"'";
                format!("`{found}` is not expected here: is an operator missing? {hint}")
            }
            (found, sign) => format!("`{}` is expected before `{found}`", sign.trim_matches('\'')),
        };
    }
    match message {
        "unexpected token" if token.is_empty() => "it ends where more is expected".to_owned(),
        "unexpected token" => format!("`{token}` is not expected here"),
        "invalid argument to has() macro" => {
            "has(...) asks for a key: has(previous.score)".to_owned()
        }
        "argument must be a simple name" => {
            "the first argument is a name for the element: list.filter(item, item.ok)".to_owned()
        }
        "unterminated string literal" => "this text has no quote at its end".to_owned(),
        "expected ':' in conditional expression" => {
            "`:` is expected here: condition ? value : other".to_owned()
        }
        "invalid int literal" => "this integer is too large".to_owned(),
        other if other.starts_with("expected '") => {
            let sign = other.trim_start_matches("expected '").trim_end_matches('\'');
            format!("`{sign}` is expected here")
        }
        other if other.contains("limit") => {
            format!("the expression is too large or nested deeper than {NESTING_MAX} levels")
        }
        other => other.to_owned(),
    }
}

/// What people write who come from other languages.
fn hint(token: &str) -> Option<&'static str> {
    Some(match token {
        "=" => "`=` is not expected here; write `==` to compare",
        "and" | "AND" => "write `&&` for `and`",
        "or" | "OR" => "write `||` for `or`",
        "not" | "NOT" => "write `!` for `not`",
        "True" => "write `true` for `True`",
        "False" => "write `false` for `False`",
        "None" | "nil" => "write `null`",
        "if" => "write `condition ? value : other` for `if`",
        "$" => "no `${...}` here: the whole text is an expression; text stands in quotes",
        _ => return None,
    })
}
