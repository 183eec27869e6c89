//! Sets up what a run needs at the edge: organisations, desks that submit, and workers that
//! registered, each on the connection that it keeps.

use anyhow::{Context, Result};
use fleetward_actors::fleet::key::Binding;
use fleetward_actors::plane::{AdminToken, Enrollment, NewEnrollmentKey};
use fleetward_actors::{ControlPlane, Operator};
use fleetward_wire::keys::{KeyCreate, KeyCreated};
use fleetward_wire::orgs::{OrgCreate, OrgCreated};
use fleetward_wire::workers::{Register, Registered};
use fleetward_worker::KeyPair;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Serialize, de::DeserializeOwned};

use crate::desk::{Desk, json, read};
use crate::line::Line;
use crate::options::Options;
use crate::seat::Seat;
use crate::server::{ADMIN, Server};
use crate::shape::Shape;

/// Registrations under way at a time.
const JOINING: usize = 256;

/// Everybody who speaks to the server.
pub(crate) struct Fleet {
    pub(crate) desks: Vec<Desk>,
    pub(crate) seats: Vec<Seat>,
}

impl Fleet {
    /// Organisations, desks and workers of a server process.
    pub(crate) async fn over_http(
        server: &Server,
        options: &Options,
        shape: &Shape,
    ) -> Result<Self> {
        let mut orgs = Vec::new();
        for number in 0..options.orgs {
            orgs.push(HttpOrg::make(server, options, number).await?);
        }
        let desks = (0..options.submitters).map(|number| {
            let bearer = &orgs[number % orgs.len()].bearer;
            Desk::http(server.address(), bearer, options.chaos || options.keys)
        });
        let desks = desks.collect();
        let seats = u32::try_from(options.seats())?;
        let joining = (0..options.workers).map(|number| {
            let key = &orgs[number % orgs.len()].key;
            let pair = options.tokens.then(KeyPair::generate);
            join(server, (key, pair), (number, seats), shape)
        });
        let seats = stream::iter(joining).buffered(JOINING).try_collect().await?;
        Ok(Self { desks, seats })
    }

    /// The same by calls of the library.
    pub(crate) async fn in_process(
        plane: &ControlPlane,
        options: &Options,
        shape: &Shape,
    ) -> Result<Self> {
        let mut orgs = Vec::new();
        for number in 0..options.orgs {
            orgs.push(local_org(plane, options, number).await?);
        }
        let desks = (0..options.submitters).map(|at| Desk::Local(orgs[at % orgs.len()].0.clone()));
        let desks = desks.collect();
        let seats = u32::try_from(options.seats())?;
        let joining = (0..options.workers).map(|number| {
            let key = &orgs[number % orgs.len()].1;
            join_here(plane, key, number, seats, shape)
        });
        let seats = stream::iter(joining).buffered(JOINING).try_collect().await?;
        Ok(Self { desks, seats })
    }
}

/// What it takes to get into an organisation over HTTP.
struct HttpOrg {
    bearer: String,
    key: String,
}

impl HttpOrg {
    async fn make(server: &Server, options: &Options, number: usize) -> Result<Self> {
        let mut bearer = bearer(ADMIN);
        // The first is the one that every server has.
        if number > 0 {
            let new = OrgCreate { name: format!("load-{number}"), display_name: None };
            let made: OrgCreated = call(server, "/api/v1/orgs", &bearer, &new).await?;
            bearer = self::bearer(made.token.expose());
        }
        let new = KeyCreate {
            name: "load".to_owned(),
            max_uses: Some(u32::try_from(options.workers)?),
            auto_approve: true,
            ..KeyCreate::default()
        };
        let path = "/api/v1/fleet/enrollment-keys";
        let made: KeyCreated = call(server, path, &bearer, &new).await?;
        Ok(Self { bearer, key: made.key.into_exposed() })
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn call<T: DeserializeOwned>(
    server: &Server,
    path: &str,
    bearer: &str,
    body: &impl Serialize,
) -> Result<T> {
    let mut line = Line::new(server.address()).with("authorization", bearer);
    let (_, body) = line.ask(path, &json(body)).await?;
    Ok(read(&body)?)
}

async fn join(
    server: &Server,
    (key, pair): (&str, Option<KeyPair>),
    (number, seats): (usize, u32),
    shape: &Shape,
) -> Result<Seat> {
    let register = Register {
        public_key: pair.as_ref().map(KeyPair::public),
        signature: pair.as_ref().map(|pair| pair.sign_registration(key)),
        name: format!("w{number}"),
        labels: shape.offers(number),
        max_concurrent: seats,
        handlers: shape.handlers(),
        enrollment_key: Some(key.into()),
        ..Register::default()
    };
    let mut line = Line::new(server.address());
    let (_, body) = line.ask("/api/v1/fleet/register", &json(&register)).await?;
    let registered: Registered = read(&body)?;
    if let Some(pair) = pair {
        let org = registered.org_id.context("with a key pair there is an organisation")?;
        return Seat::with_tokens(line, pair, (org, registered.worker_id)).await;
    }
    let secret = registered.worker_secret.context("without a key pair there is a secret")?;
    let (worker, secret) = (registered.worker_id, secret.into_exposed());
    Ok(Seat::http(line, &worker, &secret))
}

async fn local_org(
    plane: &ControlPlane,
    options: &Options,
    number: usize,
) -> Result<(Operator, String)> {
    let mut caller = plane.authenticate(ADMIN)?;
    if number > 0 {
        let name = format!("load-{number}");
        let (_, AdminToken(token)) = plane.create_org(&caller, &name, None).await?;
        caller = plane.authenticate(&token)?;
    }
    let operator = plane.operator(&caller, None).await?;
    let binding = Binding { auto_approve: true, ..Binding::default() };
    let max_uses = Some(u32::try_from(options.workers)?);
    let new = NewEnrollmentKey { name: "load".to_owned(), max_uses, expires_in_s: None, binding };
    let (_, key) = operator.create_key(new).await?;
    Ok((operator, key))
}

async fn join_here(
    plane: &ControlPlane,
    key: &str,
    number: usize,
    seats: u32,
    shape: &Shape,
) -> Result<Seat> {
    let enrollment = Enrollment {
        name: format!("w{number}"),
        pool: "default".to_owned(),
        labels: shape.offers(number),
        max_concurrent: seats,
        handlers: shape.handlers(),
        ..Enrollment::default()
    };
    let joined = plane.register(key, enrollment).await?;
    let secret = joined.secret.context("a worker without a key pair has a secret")?;
    let session = plane.session(&joined.worker.id.to_string(), &secret).await?;
    Ok(Seat::Local(session))
}
