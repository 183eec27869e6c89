//! `fleetward ca`: a small certificate authority in a folder. It asks no server.

use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand};
use fleetward::ca::{Authority, CaError, Made, Subject};
use serde_json::json;

use super::error::Failed;
use super::print::{self, Output};

#[derive(Subcommand)]
pub(crate) enum CaVerb {
    /// Make an authority. Keep its key where no server or worker is.
    Init {
        #[command(flatten)]
        place: Place,
        /// What to call it.
        #[arg(long, default_value = "Fleetward CA")]
        name: String,
        /// For how long it is good.
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: u64,
    },
    /// Make a key and a certificate for it.
    #[command(subcommand)]
    Issue(IssueVerb),
    /// Sign a certificate anew, in place: the same names and key, another term. Servers and workers read it by themselves.
    Renew {
        #[command(flatten)]
        place: Place,
        /// The certificate.
        certificate: PathBuf,
        #[command(flatten)]
        term: Term,
    },
    /// Revoke a certificate, and sign the list that says so.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The certificate, a file or its serial.
        certificate: String,
    },
    /// Sign the list of revoked certificates again.
    Crl {
        #[command(flatten)]
        place: Place,
        /// When the next one is promised for, in hours from now.
        #[arg(long, value_name = "N", default_value_t = 168, value_parser = hours())]
        hours: u64,
    },
    /// List what was issued.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Print what clients pin: the key of the authority, or of the first certificate in a file.
    Pin {
        #[command(flatten)]
        place: Place,
        /// A certificate instead of the authority's.
        certificate: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum IssueVerb {
    /// For a server.
    Server {
        /// The host names and addresses that clients use.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        issue: IssueArgs,
    },
    /// For a worker.
    Worker {
        /// What to call it; its identity is fleetward://org/ORG/worker/NAME.
        name: String,
        /// The organisation that it may register with.
        #[arg(long, default_value = "default")]
        org: String,
        #[command(flatten)]
        issue: IssueArgs,
    },
    /// For a person or program that uses the API, where the server wants a certificate of everybody.
    Operator {
        /// What to call it.
        name: String,
        #[command(flatten)]
        issue: IssueArgs,
    },
}

#[derive(Args)]
pub(crate) struct Place {
    /// The authority's folder.
    #[arg(long, value_name = "DIR", default_value = "ca", env = "FLEETWARD_CA_DIR")]
    dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct Term {
    /// For how many hours the certificate is good. One that is renewed by itself may well be short.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = hours())]
    hours: u64,
}

#[derive(Args)]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    term: Term,
    /// Where the files go: NAME.pem and NAME-key.pem.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// From one hour to a hundred years.
fn hours() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=876_000)
}

impl Term {
    fn span(&self) -> Duration {
        Duration::from_secs(self.hours * 3600)
    }
}

pub(crate) fn run(verb: CaVerb, output: Output) -> Result<(), Failed> {
    let now = Utc::now();
    match verb {
        CaVerb::Init { place, name, days } => {
            let span = Duration::from_secs(days * 24 * 3600);
            let ca = Authority::init(&place.dir, &name, now, span).map_err(failed)?;
            let made = json!({
                "certificate": ca.certificate(), "crl": ca.list(), "pin": ca.pin().to_string(),
            });
            print::one(output, &made, &["certificate", "crl", "pin"])
        }
        CaVerb::Issue(verb) => {
            let (subject, args) = match verb {
                IssueVerb::Server { names, issue } => (Subject::Server { names }, issue),
                IssueVerb::Worker { name, org, issue } => (Subject::Worker { org, name }, issue),
                IssueVerb::Operator { name, issue } => (Subject::Operator { name }, issue),
            };
            let ca = open(&args.place)?;
            let made = ca.issue(&subject, &args.out, now, args.term.span()).map_err(failed)?;
            print_made(output, &made)
        }
        CaVerb::Renew { place, certificate, term } => {
            let made = open(&place)?.renew(&certificate, now, term.span()).map_err(failed)?;
            print_made(output, &made)
        }
        CaVerb::Revoke { place, certificate } => {
            let ca = open(&place)?;
            let issued = ca.revoke(&certificate, now).map_err(failed)?;
            let fields = ["serial", "subject", "revoked_at", "crl"];
            let mut said = json!(issued);
            said["crl"] = json!(ca.list());
            print::one(output, &said, &fields)
        }
        CaVerb::Crl { place, hours } => {
            let ca = open(&place)?;
            let span = Duration::from_secs(hours * 3600);
            let revoked = ca.sign_list(now, span).map_err(failed)?;
            print::one(output, &json!({"crl": ca.list(), "revoked": revoked}), &["crl", "revoked"])
        }
        CaVerb::List { place } => {
            let issued = open(&place)?.issued().map_err(failed)?;
            let fields = ["serial", "subject", "expires_at", "revoked_at"];
            print::many(output, &json!({ "certificates": issued }), "certificates", &fields)
        }
        CaVerb::Pin { place, certificate } => {
            let pin = match certificate {
                Some(file) => fleetward::ca::pin_of(&file).map_err(failed)?,
                None => open(&place)?.pin(),
            };
            print::line(&pin.to_string())
        }
    }
}

fn open(place: &Place) -> Result<Authority, Failed> {
    Authority::open(&place.dir).map_err(|error| match error {
        CaError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
            let path = path.display();
            Failed::refused(format!("{path} is not there: `fleetward ca init` makes an authority"))
        }
        error => failed(error),
    })
}

fn print_made(output: Output, made: &Made) -> Result<(), Failed> {
    let mut said = json!(made.issued);
    said["certificate"] = json!(made.certificate);
    said["key"] = json!(made.key);
    print::one(output, &said, &["certificate", "key", "serial", "subject", "expires_at"])
}

fn failed(error: CaError) -> Failed {
    match error {
        CaError::Sign(_) => Failed::wrong(error),
        _ => Failed::refused(error),
    }
}
