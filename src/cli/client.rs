//! A client of the HTTP API, for the verbs that ask a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fleetward_wire::problem::Problem;
use fleetward_worker::{Pin, Tls, TlsOptions};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::error::{Failed, chain};
use super::print::Output;

/// Where a server is looked for.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7700";
/// Longer than the longest question that a server answers.
const WITHIN: Duration = Duration::from_secs(75);

#[derive(Args, Clone)]
#[command(next_help_heading = "Asking a server")]
pub(crate) struct ClientArgs {
    /// The server [default: http://127.0.0.1:7700].
    #[arg(long, global = true, value_name = "URL", env = "FLEETWARD_SERVER")]
    pub(crate) server: Option<String>,
    /// The operator's token.
    #[arg(long, global = true, env = "FLEETWARD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The organisation (its id or name) that a system token means [default: the one named `default`].
    #[arg(long, global = true, value_name = "ID", env = "FLEETWARD_ORG")]
    org: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// How answers look.
    #[arg(long, global = true, value_enum, default_value = "table", env = "FLEETWARD_OUTPUT")]
    pub(crate) output: Output,
}

/// Asks one server as one operator.
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
    org: Option<String>,
}

/// How the server is made sure of.
#[derive(Args, Clone, Default)]
pub(crate) struct TlsArgs {
    /// A file (PEM) with the authority of the server's certificate [default: those of the system].
    #[arg(long, global = true, value_name = "FILE", env = "FLEETWARD_CA")]
    ca: Option<PathBuf>,
    /// The key that the server or its authority must have, as `fleetward ca pin` prints it; may be repeated.
    #[arg(
        long,
        global = true,
        value_name = "sha256:HEX",
        env = "FLEETWARD_CA_PIN",
        value_delimiter = ','
    )]
    ca_pin: Vec<Pin>,
    /// A certificate (PEM) to show to a server that asks for one.
    #[arg(long, global = true, value_name = "FILE", env = "FLEETWARD_CERT")]
    cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, global = true, value_name = "FILE", env = "FLEETWARD_CERT_KEY")]
    cert_key: Option<PathBuf>,
}

impl TlsArgs {
    /// What they say; with both or neither of certificate and key.
    pub(crate) fn options(&self) -> Result<TlsOptions, Failed> {
        let certificate = pair(&self.cert, &self.cert_key, "--cert and --cert-key")?;
        Ok(TlsOptions { ca: self.ca.clone(), pins: self.ca_pin.clone(), certificate })
    }
}

/// Two files that make sense together only.
pub(crate) fn pair(
    certificate: &Option<PathBuf>,
    key: &Option<PathBuf>,
    flags: &str,
) -> Result<Option<(PathBuf, PathBuf)>, Failed> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
        (None, None) => Ok(None),
        _ => Err(Failed::refused(format!("{flags} belong together: give both"))),
    }
}

impl ClientArgs {
    /// How the server is made sure of.
    pub(crate) fn tls(&self) -> Result<TlsOptions, Failed> {
        self.tls.options()
    }

    /// The organisation that is meant, by id or name, where one was given.
    pub(crate) fn org(&self) -> Option<&str> {
        self.org.as_deref()
    }

    /// The server, named or not.
    pub(crate) fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(DEFAULT_SERVER)
    }

    pub(crate) fn client(&self) -> Result<Client, Failed> {
        let server = self.server();
        let mut builder = reqwest::Client::builder();
        if let Some(tls) = Tls::load(&self.tls.options()?).map_err(Failed::refused)? {
            if !server.starts_with("https://") {
                let why = "an authority, pin or certificate makes sure of an https server only: give its URL as https://...";
                return Err(Failed::refused(why));
            }
            builder = builder.tls_backend_preconfigured(tls.client_config());
        }
        let http = builder
            .timeout(WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failed::wrong(chain(&error)))?;
        Ok(Client {
            http,
            server: server.trim_end_matches('/').to_owned(),
            token: self.token.clone(),
            org: self.org.clone(),
        })
    }
}

impl Client {
    /// The client of a program that knows its server.
    pub(crate) fn of(server: &str, token: &str) -> Result<Self, Failed> {
        let args = ClientArgs {
            server: Some(server.to_owned()),
            token: Some(token.to_owned()),
            org: None,
            tls: TlsArgs::default(),
            output: Output::Json,
        };
        args.client()
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failed> {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(org) = &self.org {
            request = request.header("X-Fleetward-Org", org);
        }
        request
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Value, Failed> {
        let response = self.stream(request).await?;
        let text = response.text().await.map_err(|error| Failed::wrong(chain(&error)))?;
        serde_json::from_str(&text)
            .map_err(|_| Failed::wrong(format!("{} did not answer JSON", self.server)))
    }

    /// An answer whose body is still to come.
    pub(crate) async fn stream(&self, request: RequestBuilder) -> Result<Response, Failed> {
        let response = request.send().await.map_err(|error| {
            Failed::Unavailable(format!("{} does not answer: {}", self.server, chain(&error)))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(response).await)
    }
}

/// What the server's problem means for the caller.
async fn refusal(response: Response) -> Failed {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let said = match serde_json::from_str::<Problem>(&text) {
        Ok(problem) if !problem.code.is_empty() => format!("{} ({})", problem.detail, problem.code),
        _ => format!("the server answered {status}"),
    };
    if status.is_server_error() || status.as_u16() == 429 {
        Failed::Unavailable(said)
    } else {
        Failed::Refused(said)
    }
}

/// A part of a path that came from the caller.
pub(crate) fn segment(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_cannot_leave_the_path() {
        assert_eq!(segment("a-b/../c?d"), "a-b%2F..%2Fc%3Fd");
    }
}
