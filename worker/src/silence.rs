//! Why there was no answer, in words that name no URL: one may hold a password.

/// What happened, and the innermost cause, which is the system's own word; the outer ones name the URL.
pub(crate) fn why(error: &reqwest::Error) -> String {
    let kind = match () {
        () if error.is_timeout() => "no answer in time",
        () if error.is_connect() => "cannot connect",
        () => "connection lost",
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match std::ptr::addr_eq(cause, error) {
        true => kind.to_owned(),
        false => format!("{kind}: {cause}"),
    }
}
