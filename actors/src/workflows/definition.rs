//! What a workflow is: a tree of named nodes, validated. Pure: no clock, no mailbox, no database.
//!
//! A definition holds names only: the handlers of its steps are registered on workers, and what it says between steps
//! is an [`Expression`]. It is written as YAML or JSON ([`document`]) or made by the library's builder; both become this
//! value. Its [`version`](Definition::version) is the hash of all that it says.

mod check;
pub mod document;
pub mod lint;
mod nodes;
mod routing;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::expression::Expression;
use crate::fleet::task::Retry;
pub use check::Invalid;
pub use nodes::{Nodes, Placed};
pub use routing::Routing;

/// Most nodes of one definition.
pub const NODES_MAX: usize = 1_000;
/// Deepest nesting of nodes. As JSON each level is four, and readers of JSON stop at 128: an event that holds the deepest
/// definition must be readable.
pub const DEPTH_MAX: usize = 24;
/// Longest name of a workflow or a node, in characters: letters, digits, `-` and `_`, beginning with a letter.
pub const NAME_MAX: usize = 64;
/// How much of a version people are shown, in characters.
pub const VERSION_SHOWN: usize = 16;
/// Longest description, in characters.
pub const DESCRIPTION_MAX: usize = 4_096;
/// Largest document, in bytes.
pub const DOCUMENT_MAX: usize = 256 << 10;
/// Most branches of one `parallel`.
pub const BRANCHES_MAX: usize = 256;
/// Most cases of one `branch`.
pub const CASES_MAX: usize = 64;
/// Most times of one `loop`.
pub const TIMES_MAX: u32 = 1_000;
/// Most approvals that one gate asks for, and most people that it names.
pub const PEOPLE_MAX: usize = 64;
/// Longest wait of any kind, in milliseconds: ten years of 366 days.
pub const WAIT_MAX_MS: u64 = 3_660 * 86_400_000;

/// A workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its steps run, unless they say otherwise.
    #[serde(default, skip_serializing_if = "Routing::is_default")]
    pub routing: Routing,
    /// How long a step waits for the worker that had the run's last one, in milliseconds; none: it does not care.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_ms: Option<u64>,
    /// Its nodes, one after the other.
    pub nodes: Vec<Node>,
    /// What a run results in; none: the output of the last node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Expression>,
}

/// One node: a name that is unique in its definition, and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is given; none: the output of the node before it, and the run's input where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Expression>,
    /// What it does.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Kind {
    /// Becomes a task for a worker; its output is the task's.
    Step(Box<Step>),
    /// Its nodes one after the other; its output is the last one's.
    Sequence {
        /// The nodes.
        nodes: Vec<Node>,
    },
    /// Its branches at once, each given its input; its output is an object of theirs by name.
    Parallel {
        /// The branches.
        branches: Vec<Node>,
        /// What a failed branch means for the others.
        #[serde(default)]
        on_failure: OnFailure,
        /// Most branches that run at once; none: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// The nodes of the first case whose condition holds; its output is theirs, and its input where no case holds.
    Branch {
        /// Looked at in this order.
        cases: Vec<Case>,
        /// Where none of them holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        otherwise: Vec<Node>,
    },
    /// Its nodes again and again, each time given the output of the time before; its output is that of the last time.
    Loop {
        /// The nodes.
        nodes: Vec<Node>,
        /// It ends after a time for which this holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Expression>,
        /// It ends after so many times, 1 to 1,000.
        max: u32,
        /// Whether ending without `until` having held is a failure.
        #[serde(default)]
        must_hold: bool,
    },
    /// Waits for people; its output is its input.
    Approval(Box<Approval>),
    /// Waits for so long; its output is its input.
    Sleep {
        /// In milliseconds.
        ms: u64,
    },
    /// Waits until a time; its output is its input.
    SleepUntil {
        /// A timestamp, or text in RFC 3339.
        at: Expression,
    },
    /// Waits for a signal of this name; its output is the signal's payload.
    WaitSignal {
        /// The name of the signal.
        signal: String,
        /// How long it waits, in milliseconds; none: as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// A run of another workflow, given its input; its output is that run's.
    Child {
        /// The name of the workflow.
        workflow: String,
        /// Its version; none: the newest when it starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
}

/// What becomes a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The handler that its worker must have registered; none: any worker of its pool gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// How often a failed attempt is tried again, and when.
    #[serde(skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// How long one attempt may take, in milliseconds; none: as long as its lease is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// 0 to 9; none: the default of tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Where it runs: what is not said here is the workflow's.
    #[serde(skip_serializing_if = "Routing::is_default")]
    pub routing: Routing,
}

/// What a failed branch means for the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They are cancelled, and the node fails.
    #[default]
    FailFast,
    /// They go on; the node's output holds `{"error": ...}` where a branch failed.
    Collect,
}

/// One case of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its condition.
    pub when: Expression,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// A gate that people open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What they are asked: text.
    pub prompt: Expression,
    /// What they are shown besides; none: the node's input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Expression>,
    /// Who may decide.
    #[serde(default, skip_serializing_if = "Approvers::is_default")]
    pub approvers: Approvers,
    /// How long it waits, in milliseconds; none: as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// What its expiry means.
    #[serde(default)]
    pub on_expiry: OnExpiry,
    /// How often an open gate is said again, in milliseconds; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_ms: Option<u64>,
}

/// Who may decide about a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Approvers {
    /// The least role.
    pub role: Approver,
    /// Names of operators' tokens; none: all of that role.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub people: BTreeSet<String>,
    /// How many approvals open it; one rejection closes it.
    pub quorum: u32,
    /// Whether whoever started the run may approve.
    pub requester_may_approve: bool,
}

/// The least role of an approver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approver {
    /// Operators and administrators.
    #[default]
    Operator,
    /// Administrators.
    Admin,
}

/// What the expiry of a gate means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// As if it had been rejected.
    #[default]
    Reject,
    /// As if it had been approved.
    Approve,
}

impl Default for Approvers {
    fn default() -> Self {
        Self {
            role: Approver::Operator,
            people: BTreeSet::new(),
            quorum: 1,
            requester_may_approve: false,
        }
    }
}

impl Approvers {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Definition {
    /// The workflow of one step that is this handler: named after it, with `-` for what a workflow's name cannot have.
    pub fn of_function(handler: &str) -> Self {
        let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let mut name: String = handler.chars().map(fits).take(NAME_MAX).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name.insert_str(0, "fn-");
            name.truncate(NAME_MAX);
        }
        let step = Step { handler: Some(handler.to_owned()), ..Step::default() };
        let kind = Kind::Step(Box::new(step));
        let nodes = vec![Node { name: name.clone(), input: None, kind }];
        let routing = Routing::default();
        Self { name, description: None, routing, sticky_ms: None, nodes, output: None }
    }

    /// The step, where it is one step that is this handler, whatever else is said of it.
    pub fn function(&mut self, handler: &str) -> Option<&mut Step> {
        match self.nodes.as_mut_slice() {
            [Node { kind: Kind::Step(step), .. }] if step.handler.as_deref() == Some(handler) => {
                Some(step)
            }
            _ => None,
        }
    }

    /// The hash of all that it says: 64 hexadecimal digits, of which people are shown [`VERSION_SHOWN`].
    pub fn version(&self) -> String {
        // Fields are written in the order of the types and maps sorted, so equal definitions are equal bytes.
        let bytes = serde_json::to_vec(self).expect("a definition has text for keys only");
        hex::encode(Sha256::digest(bytes))
    }
}
