//! The table of the format: which keys a document, its nodes and their parts have. Reading, the schema and the hints for
//! misspelt keys all go by it. Pure.

/// What stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A name.
    Name,
    /// Text.
    Text,
    /// An expression: text.
    Expression,
    /// An expression, or a list or mapping of them.
    Expressions,
    /// A duration: `10m`.
    Duration,
    /// An integer between these.
    Integer(u64, u64),
    /// A number between these.
    Number(u64, u64),
    /// True or false.
    Boolean,
    /// True, false or a duration.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A mapping to texts.
    Labels,
    /// A list of mappings of these keys.
    Items(&'static [Key]),
    /// A mapping of these keys.
    Part(&'static [Key]),
    /// A list of nodes.
    Nodes,
    /// Any JSON.
    Any,
}

/// A key of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) holds: Type,
    pub(super) required: bool,
    pub(super) about: &'static str,
}

/// A kind of node: its word is the key that holds its name.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) word: &'static str,
    pub(super) about: &'static str,
    /// Its own keys.
    pub(super) own: &'static [Key],
    /// Whether it becomes a task, and so has the keys of [`STEP`] and [`ROUTING`] too.
    pub(super) task: bool,
}

const fn key(name: &'static str, holds: Type, about: &'static str) -> Key {
    Key { name, holds, required: false, about }
}

const fn required(name: &'static str, holds: Type, about: &'static str) -> Key {
    Key { name, holds, required: true, about }
}

/// The keys of a document besides [`ROUTING`].
pub(super) const DOCUMENT: &[Key] = &[
    required("name", Type::Name, "The name of the workflow."),
    key("description", Type::Text, "What it is for."),
    key(
        "sticky",
        Type::Switch,
        "Whether a step would rather go to the worker that had the run's last one, and how long it waits for it: `true` is \
         `5s`, `5m` the most. After that, or where that worker is gone, any worker gets it.",
    ),
    required("steps", Type::Nodes, "Its nodes, one after the other."),
    key(
        "output",
        Type::Expressions,
        "What a run results in; without it, the output of the last node.",
    ),
];

/// What a step asks of its worker; at the top of a document what all of its steps ask.
pub(super) const ROUTING: &[Key] = &[
    key("project", Type::Text, "The project."),
    key("pool", Type::Text, "The pool of workers; `default` where nothing is said."),
    key("model", Type::Text, "The model that the worker must have, in any spelling."),
    key("labels", Type::Labels, "Labels that the worker must have."),
    key("selector", Type::Items(CONDITION), "More that must hold for the worker's labels."),
    key("sandbox", Type::Choice(&["none", "process", "container", "vm"]), "The least isolation."),
    key(
        "mode",
        Type::Choice(&["bare", "sandboxed"]),
        "How it is executed: `bare`, the default, or `sandboxed`: isolated at least as `sandbox: process` says.",
    ),
    key("image", Type::Text, "The sandbox image."),
    key("network", Type::Choice(&["none", "restricted", "open"]), "The network policy."),
];

pub(super) const CONDITION: &[Key] = &[
    required("key", Type::Text, "The label."),
    required(
        "operator",
        Type::Choice(&["in", "not_in", "exists", "not_exists"]),
        "What must hold for it.",
    ),
    key("values", Type::Texts, "The values that `in` and `not_in` speak of."),
];

/// What every node has.
pub(super) const NODE: &[Key] = &[key(
    "input",
    Type::Expressions,
    "What it is given; without it, the output of the node before it, or the run's input.",
)];

/// How a task is treated.
pub(super) const STEP: &[Key] = &[
    key("retries", Type::Integer(0, 99), "How often it is tried again after a failure."),
    key("retry_delay", Type::Duration, "Longest wait before the first retry; `1s` by default."),
    key(
        "backoff",
        Type::Number(1, 100),
        "What that wait is multiplied by each time; 2 by default.",
    ),
    key("max_delay", Type::Duration, "What that wait does not grow beyond; `5m` by default."),
    key("timeout", Type::Duration, "How long one attempt may take."),
    key("priority", Type::Integer(0, 9), "The highest goes first; 5 by default."),
];

pub(super) const APPROVERS: &[Key] = &[
    key("role", Type::Choice(&["operator", "admin"]), "The least role."),
    key("people", Type::Texts, "Names of operators' tokens; without them, all of that role."),
    key("quorum", Type::Integer(1, 64), "How many approvals open it; 1 by default."),
    key("requester_may_approve", Type::Boolean, "Whether who started the run may approve."),
];

/// What the handler `agent` takes.
pub(super) const PARAMETERS: &[Key] = &[
    key("temperature", Type::Number(0, 2), "How much chance there is in it."),
    key("top_p", Type::Number(0, 1), "Of which part of the likely words it chooses."),
    key("max_tokens", Type::Integer(1, 10_000_000), "At most so long an answer."),
    key("stop", Type::Texts, "Texts before which it ends."),
    key("seed", Type::Integer(0, i64::MAX as u64), "What its chance begins with."),
    key("json", Type::Any, "Whether it answers in JSON: true, or a JSON Schema."),
];

pub(super) const CASE: &[Key] = &[
    required("when", Type::Expression, "Its condition."),
    required("steps", Type::Nodes, "Its nodes."),
];

/// Every kind of node.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        word: "step",
        about: "A task for a worker.",
        own: &[key(
            "handler",
            Type::Text,
            "The handler that its worker must have; the step's name by default, `null` for any worker.",
        )],
        task: true,
    },
    Shape {
        word: "agent",
        about: "A task for the handler `agent`: one call of a model.",
        own: &[
            key("provider", Type::Text, "Whose API is spoken; the worker knows by the model."),
            key("system", Type::Text, "The system prompt."),
            key("parameters", Type::Part(PARAMETERS), "How the model answers."),
        ],
        task: true,
    },
    Shape {
        word: "command",
        about: "A task for the handler `command`: one command line.",
        own: &[required("run", Type::Texts, "The program and its arguments.")],
        task: true,
    },
    Shape {
        word: "sequence",
        about: "Nodes one after the other.",
        own: &[required("steps", Type::Nodes, "The nodes.")],
        task: false,
    },
    Shape {
        word: "parallel",
        about: "Branches at once; its output is an object of theirs by name.",
        own: &[
            required("branches", Type::Nodes, "The branches."),
            key(
                "on_failure",
                Type::Choice(&["fail_fast", "collect"]),
                "Whether a failed branch ends the others, or they go on.",
            ),
            key("limit", Type::Integer(1, 256), "Most branches that run at once."),
        ],
        task: false,
    },
    Shape {
        word: "branch",
        about: "The nodes of the first case that holds.",
        own: &[
            required("cases", Type::Items(CASE), "Looked at in this order."),
            key("otherwise", Type::Nodes, "Where none of them holds."),
        ],
        task: false,
    },
    Shape {
        word: "loop",
        about: "Nodes again and again, each time given the output of the time before.",
        own: &[
            required("steps", Type::Nodes, "The nodes."),
            key("until", Type::Expression, "It ends after a time for which this holds."),
            required("max", Type::Integer(1, 1_000), "It ends after so many times."),
            key("must_hold", Type::Boolean, "Whether it fails if `until` never held."),
        ],
        task: false,
    },
    Shape {
        word: "approval",
        about: "A gate that people open.",
        own: &[
            required("prompt", Type::Expression, "What they are asked: an expression for text."),
            key("context", Type::Expressions, "What they are shown besides; its input by default."),
            key("approvers", Type::Part(APPROVERS), "Who may decide."),
            key("expires", Type::Duration, "How long it waits; for ever by default."),
            key("on_expiry", Type::Choice(&["reject", "approve"]), "What its expiry means."),
            key("remind", Type::Duration, "How often an open gate is said again."),
        ],
        task: false,
    },
    Shape {
        word: "sleep",
        about: "Waits.",
        own: &[required("for", Type::Duration, "How long.")],
        task: false,
    },
    Shape {
        word: "sleep_until",
        about: "Waits until a time.",
        own: &[required("at", Type::Expression, "A time in RFC 3339, or in seconds since 1970.")],
        task: false,
    },
    Shape {
        word: "wait_signal",
        about: "Waits for a signal; its output is what came with it.",
        own: &[
            key("signal", Type::Name, "The name of the signal; the node's name by default."),
            key("timeout", Type::Duration, "How long it waits; for ever by default."),
        ],
        task: false,
    },
    Shape {
        word: "child",
        about: "A run of another workflow; its output is that run's.",
        own: &[
            key("workflow", Type::Name, "The workflow; the node's name by default."),
            key("version", Type::Text, "Its version; the newest by default."),
        ],
        task: false,
    },
];

impl Shape {
    /// All keys that a node of this kind may have besides the one of its kind.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> + Clone + use<> {
        let task: [&[Key]; 2] = if self.task { [STEP, ROUTING] } else { [&[], &[]] };
        let [step, routing] = task;
        self.own.iter().chain(NODE).chain(step).chain(routing)
    }

    /// The kind of a word.
    pub(super) fn find(word: &str) -> Option<&'static Self> {
        SHAPES.iter().find(|shape| shape.word == word)
    }
}

/// The keys of a document.
pub(super) fn document() -> impl Iterator<Item = &'static Key> + Clone {
    DOCUMENT.iter().chain(ROUTING)
}
