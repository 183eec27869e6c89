//! Evaluation, bounded in steps and memory. Pure.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::program::{Fold, Literal, Node, Program, Variable};
use super::value::{List, Map, Text, Val, Writer};
use super::{EvaluationError, MADE_MAX, RESULT_MAX, STEPS_MAX, Scope, operators};

pub(super) type Outcome<T> = Result<T, EvaluationError>;

/// The value of a program.
pub(super) fn run(program: &Program, scope: &Scope) -> Outcome<Value> {
    let meter = Meter { steps: Cell::new(STEPS_MAX), made: Cell::new(MADE_MAX) };
    let mut machine = Machine { scope, meter, locals: Vec::new() };
    let value = machine.value(&program.root)?;
    Writer { left: RESULT_MAX }.json(&value)
}

/// What an evaluation may still take.
pub(super) struct Meter {
    steps: Cell<u64>,
    made: Cell<usize>,
}

impl Meter {
    /// Takes so many steps.
    pub(super) fn step(&self, steps: u64) -> Outcome<()> {
        let left = self.steps.get().checked_sub(steps).ok_or(EvaluationError::TooCostly)?;
        self.steps.set(left);
        Ok(())
    }

    /// Takes as many steps as reading so many bytes of text is worth.
    pub(super) fn read(&self, bytes: usize) -> Outcome<()> {
        self.step(bytes as u64 / 64)
    }

    /// Takes so many bytes of memory, before they are made.
    pub(super) fn make(&self, bytes: usize) -> Outcome<()> {
        let left = self.made.get().checked_sub(bytes).ok_or(EvaluationError::TooLarge)?;
        self.made.set(left);
        self.read(bytes)
    }

    /// How many bytes may still be made.
    pub(super) fn makeable(&self) -> usize {
        self.made.get()
    }
}

struct Machine<'a> {
    scope: &'a Scope,
    meter: Meter,
    /// Variables of macros. What is wrong with a gathered value is known when it is asked for.
    locals: Vec<Outcome<Val<'a>>>,
}

/// What is wrong, and not merely too much.
pub(super) fn wrong<T>(why: impl Into<String>) -> Outcome<T> {
    Err(EvaluationError::Wrong(why.into()))
}

fn is_wrong(outcome: &Outcome<impl Sized>) -> bool {
    matches!(outcome, Err(EvaluationError::Wrong(_)))
}

impl<'a> Machine<'a> {
    fn value(&mut self, node: &'a Node) -> Outcome<Val<'a>> {
        self.meter.step(1)?;
        match node {
            Node::Literal(literal) => Ok(literal.value()),
            Node::Variable(variable) => Ok(self.variable(*variable)),
            Node::Local(place) => self.locals[*place].clone(),
            Node::Taken(place) => std::mem::replace(&mut self.locals[*place], Ok(Val::Null)),
            Node::Select { of, key } => self.select(of, key),
            Node::Has { of, key } => self.has(of, key),
            Node::Index { of, at } => self.index(of, at),
            Node::List(items) => {
                self.meter.make(items.len() * size_of::<Val<'_>>())?;
                let items = items.iter().map(|item| self.value(item));
                items.collect::<Outcome<_>>().map(Val::list)
            }
            Node::Map(entries) => self.map(entries),
            Node::Operator { operator, left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                operators::apply(*operator, left, right, &self.meter)
            }
            Node::Negate(of) => operators::negate(self.value(of)?),
            Node::Not(of) => self.truth(of, "!").map(|holds| Val::Bool(!holds)),
            Node::And(left, right) => self.either(left, right, false),
            Node::Or(left, right) => self.either(left, right, true),
            Node::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let holds = self.truth(condition, "? :")?;
                self.value(if holds { then } else { otherwise })
            }
            Node::NotFalse(of) => match self.value(of) {
                Ok(Val::Bool(value)) => Ok(Val::Bool(value)),
                outcome if outcome.is_ok() || is_wrong(&outcome) => Ok(Val::Bool(true)),
                fatal => fatal,
            },
            Node::Call { function, arguments } => {
                let arguments = arguments.iter().map(|argument| self.value(argument));
                let arguments: Vec<_> = arguments.collect::<Outcome<_>>()?;
                function.call(&arguments, &self.meter)
            }
            Node::Fold(fold) => self.fold(fold),
        }
    }

    fn variable(&self, variable: Variable) -> Val<'a> {
        let scope = self.scope;
        match variable {
            Variable::Input => Val::from(&*scope.input),
            Variable::Previous => Val::from(&*scope.previous),
            Variable::Steps => Val::Map(Map::Steps(&scope.steps)),
            Variable::Iteration => scope.iteration.map_or(Val::Null, |time| Val::Int(time.into())),
            Variable::Run => {
                let id = Val::Text(Text::Borrowed(&scope.run_id));
                Val::map(BTreeMap::from([("id".to_owned(), id)]))
            }
        }
    }

    fn select(&mut self, of: &'a Node, key: &str) -> Outcome<Val<'a>> {
        let whole = self.value(of)?;
        let Val::Map(entries) = &whole else {
            let of = of.path().unwrap_or_else(|| "what is before it".to_owned());
            return wrong(format!("no `{key}`: `{of}` is {}, not an object", whole.word()));
        };
        entries.get(key).map_or_else(|| wrong(missing(entries, of, key)), Ok)
    }

    fn has(&mut self, of: &'a Node, key: &str) -> Outcome<Val<'a>> {
        match self.value(of) {
            Ok(Val::Map(entries)) => Ok(Val::Bool(entries.get(key).is_some())),
            outcome if outcome.is_ok() || is_wrong(&outcome) => Ok(Val::Bool(false)),
            fatal => fatal,
        }
    }

    fn index(&mut self, of: &'a Node, at: &'a Node) -> Outcome<Val<'a>> {
        let (whole, at) = (self.value(of)?, self.value(at)?);
        match (&whole, &at) {
            (Val::List(items), Val::Int(index)) => {
                let found = usize::try_from(*index).ok().and_then(|index| items.get(index));
                let why = || format!("no element {index} in a list of {}", items.len());
                found.map_or_else(|| wrong(why()), Ok)
            }
            (Val::Map(entries), Val::Text(key)) => {
                // A computed key may be part of an output, and errors show none.
                let why = || match entries {
                    Map::Steps(_) => "no node of that name has ended".to_owned(),
                    _ => "no such key in the object".to_owned(),
                };
                entries.get(key.as_str()).map_or_else(|| wrong(why()), Ok)
            }
            (Val::List(_), _) => wrong(format!("a list has no element at {}", at.word())),
            (Val::Map(_), _) => wrong(format!("keys are text, not {}", at.word())),
            _ => wrong(format!("{} has no elements", whole.word())),
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Outcome<Val<'a>> {
        let mut made = BTreeMap::new();
        for (key, value) in entries {
            let Val::Text(key) = self.value(key)? else {
                return wrong("keys of an object are text");
            };
            self.meter.make(key.as_str().len() + size_of::<Val<'_>>())?;
            if made.insert(key.as_str().to_owned(), self.value(value)?).is_some() {
                return wrong("an object has a key twice");
            }
        }
        Ok(Val::map(made))
    }

    fn truth(&mut self, node: &'a Node, operator: &str) -> Outcome<bool> {
        match self.value(node)? {
            Val::Bool(value) => Ok(value),
            other => {
                wrong(format!("`{operator}` asks for true or false, and got {}", other.word()))
            }
        }
    }

    /// `&&` and `||`: one side that decides is enough, whatever is wrong with the other.
    fn either(&mut self, left: &'a Node, right: &'a Node, decides: bool) -> Outcome<Val<'a>> {
        let operator = if decides { "||" } else { "&&" };
        let first = self.truth(left, operator);
        match first {
            Ok(value) if value == decides => return Ok(Val::Bool(decides)),
            Err(ref fatal) if !is_wrong(&first) => return Err(fatal.clone()),
            _ => {}
        }
        match (first, self.truth(right, operator)) {
            (_, Ok(value)) if value == decides => Ok(Val::Bool(decides)),
            (_, Err(fatal)) if !matches!(fatal, EvaluationError::Wrong(_)) => Err(fatal),
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(value)) => Ok(Val::Bool(value)),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<Val<'a>> {
        let range = self.value(&fold.range)?;
        let start = self.value(&fold.start)?;
        let depth = self.locals.len();
        self.locals.push(Ok(start));
        let walked = match &range {
            Val::List(items) => self.walk_list(fold, items, depth),
            Val::Map(entries) => self.walk_map(fold, entries, depth),
            other => wrong(format!("macros walk over a list or an object, not {}", other.word())),
        };
        self.locals.truncate(depth + 1);
        let result = walked.and_then(|()| self.value(&fold.result));
        self.locals.truncate(depth);
        result
    }

    fn walk_list(&mut self, fold: &'a Fold, items: &List<'a>, depth: usize) -> Outcome<()> {
        for index in 0..items.len() {
            let item = items.get(index).unwrap_or(Val::Null);
            let pair = fold.pairs.then(|| Val::Int(i64::try_from(index).unwrap_or(i64::MAX)));
            if !self.once(fold, pair, item, depth)? {
                break;
            }
        }
        Ok(())
    }

    fn walk_map(&mut self, fold: &'a Fold, entries: &Map<'a>, depth: usize) -> Outcome<()> {
        self.meter.step(entries.len() as u64)?;
        for key in entries.keys() {
            let (first, second) = match fold.pairs {
                true => {
                    let value = entries.get(key.as_str()).unwrap_or(Val::Null);
                    (Some(Val::Text(key)), value)
                }
                false => (None, Val::Text(key)),
            };
            if !self.once(fold, first, second, depth)? {
                break;
            }
        }
        Ok(())
    }

    /// One element; whether to go on.
    fn once(
        &mut self,
        fold: &'a Fold,
        first: Option<Val<'a>>,
        second: Val<'a>,
        depth: usize,
    ) -> Outcome<bool> {
        self.meter.step(1)?;
        self.locals.truncate(depth + 1);
        self.locals.extend(first.map(Ok));
        self.locals.push(Ok(second));
        if !self.truth(&fold.go_on, "?")? {
            return Ok(false);
        }
        let gathered = self.value(&fold.step);
        if !is_wrong(&gathered) {
            self.locals[depth] = Ok(gathered?);
            return Ok(true);
        }
        self.locals[depth] = gathered;
        Ok(true)
    }
}

impl Literal {
    fn value(&self) -> Val<'_> {
        match self {
            Self::Null => Val::Null,
            Self::Bool(value) => Val::Bool(*value),
            Self::Int(value) => Val::Int(*value),
            Self::Uint(value) => Val::Uint(*value),
            Self::Double(value) => Val::Double(*value),
            Self::Text(text) => Val::Text(Text::Borrowed(text)),
        }
    }
}

fn missing(entries: &Map<'_>, of: &Node, key: &str) -> String {
    match (entries, of.path()) {
        (Map::Steps(_), _) => format!("`steps.{key}` has no output: it has not run"),
        (_, Some(path)) => format!("`{path}` has no `{key}`"),
        (_, None) => format!("the object has no `{key}`"),
    }
}
