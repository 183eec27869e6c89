//! What is to be said of a definition.

use serde::{Deserialize, Serialize};

/// `POST /api/v1/lint`: what is to be said of a definition, which is not applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowLint {
    /// The definition, as YAML or JSON text.
    pub document: String,
}

/// The answer to [`WorkflowLint`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowLinted {
    /// Its name; absent: it is no definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The hash of what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many workers that may work its steps were held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u64>,
    /// What is wrong or unwise, in the order of the document.
    pub found: Vec<WorkflowProblem>,
}

/// One thing that is wrong or unwise in a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowProblem {
    /// `error` or `warning`.
    pub level: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What it is about: `steps[1].when`.
    pub path: String,
    /// In words.
    pub message: String,
}
