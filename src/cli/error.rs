//! How a verb fails, and the exit code that says so.

use std::fmt;

/// A verb that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// It was tried and did not work, or something was found to be wrong.
    #[error("{0}")]
    Wrong(String),
    /// The caller asked for something that cannot be, or may not.
    #[error("{0}")]
    Refused(String),
    /// Nobody could be asked: try again.
    #[error("{0}")]
    Unavailable(String),
}

impl Failed {
    pub(crate) fn wrong(why: impl fmt::Display) -> Self {
        Self::Wrong(why.to_string())
    }

    pub(crate) fn refused(why: impl fmt::Display) -> Self {
        Self::Refused(why.to_string())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Wrong(_) => 1,
            Self::Refused(_) => 2,
            Self::Unavailable(_) => 3,
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::wrong(error)
    }
}

impl From<fleetward_store::ConnectError> for Failed {
    fn from(error: fleetward_store::ConnectError) -> Self {
        match error {
            fleetward_store::ConnectError::BadUrl { .. } => Self::refused(error),
            _ => Self::Unavailable(chain(&error)),
        }
    }
}

/// An error with everything it was caused by.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_that_help_promises() {
        let codes: Vec<u8> =
            [Failed::wrong(""), Failed::refused(""), Failed::Unavailable("".into())]
                .iter()
                .map(Failed::code)
                .collect();
        assert_eq!(codes, [1, 2, 3]);
    }
}
