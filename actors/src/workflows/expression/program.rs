//! A compiled expression: a tree without names to look up. Pure.

use std::sync::Arc;

use super::References;
use super::functions::Function;
use super::operators::Operator;

/// A compiled expression and what it refers to.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) root: Node,
    pub(super) references: References,
}

/// What is known without a scope.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
}

/// What a scope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Input,
    Previous,
    Steps,
    Iteration,
    Run,
}

/// One part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Variable(Variable),
    /// A variable of a macro, by its place on the stack.
    Local(usize),
    /// The same, which nobody needs afterwards: what a macro has gathered so far.
    Taken(usize),
    Select {
        of: Box<Node>,
        key: Arc<str>,
    },
    /// `has(of.key)`.
    Has {
        of: Box<Node>,
        key: Arc<str>,
    },
    Index {
        of: Box<Node>,
        at: Box<Node>,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Operator {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    Negate(Box<Node>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<[Node; 3]>),
    /// False only if that is false for certain: an error may still be outvoted by a later element.
    NotFalse(Box<Node>),
    Call {
        function: &'static Function,
        arguments: Vec<Node>,
    },
    Fold(Box<Fold>),
}

/// What every macro over lists is: something gathered while walking.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) start: Node,
    pub(super) go_on: Node,
    pub(super) step: Node,
    pub(super) result: Node,
    /// Whether it walks over keys and values, or indices and elements.
    pub(super) pairs: bool,
}

impl Node {
    /// How it is written, if it is a plain path: `steps.draft.text`.
    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::Variable(variable) => Some(variable.name().to_owned()),
            Self::Select { of, key } => of.path().map(|path| format!("{path}.{key}")),
            _ => None,
        }
    }
}

impl Variable {
    pub(super) const ALL: [Self; 5] =
        [Self::Input, Self::Previous, Self::Steps, Self::Iteration, Self::Run];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Previous => "previous",
            Self::Steps => "steps",
            Self::Iteration => "iteration",
            Self::Run => "run",
        }
    }
}
