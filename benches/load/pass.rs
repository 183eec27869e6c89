//! What a simulated worker with a key pair shows: its task token, and the next one ahead of time.

use std::time::{Duration, Instant};

use fleetward_wire::problem::Problem;
use fleetward_wire::task_tokens::{TaskTokenAnswer, TaskTokenRequest};
use fleetward_worker::KeyPair;

use crate::desk::{json, read};
use crate::line::{Line, Trouble};

/// In which part of its life a token is refreshed: not all of a fleet at once.
const RENEW: std::ops::Range<f64> = 0.5..0.8;

pub(crate) struct Pass {
    pair: KeyPair,
    org: String,
    worker: String,
    generation: u32,
    renew_at: Instant,
}

impl Pass {
    pub(crate) fn new(pair: KeyPair, (org, worker): (String, String)) -> Self {
        Self { pair, org, worker, generation: 0, renew_at: Instant::now() }
    }

    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.renew_at
    }

    /// Asks for the next token; the line shows it from then on. Nothing else of this worker is on its way.
    pub(crate) async fn renew(&mut self, line: &mut Line) -> Result<(), Trouble> {
        let path = format!("/api/v1/fleet/workers/{}/token", self.worker);
        let asked = Instant::now();
        let answer: TaskTokenAnswer = loop {
            let request = TaskTokenRequest {
                org_id: self.org.clone(),
                generation: self.generation,
                signature: self.pair.sign_token(&self.org, &self.worker, self.generation),
                scopes: None,
            };
            match line.ask(&path, &json(&request)).await {
                Ok((_, body)) => break read(&body)?,
                // The answer before was lost.
                Err(Trouble::Refused { status: 409, body }) => {
                    let newest = read::<Problem>(body.as_bytes())?.generation;
                    self.generation = newest.unwrap_or(self.generation);
                }
                Err(trouble) => return Err(trouble),
            }
        };
        self.generation = answer.generation;
        let life = Duration::try_from_secs_f64(answer.expires_in).unwrap_or_default();
        self.renew_at = asked + life.mul_f64(rand::random_range(RENEW));
        line.set("authorization", &format!("Bearer {}", answer.token.expose()));
        Ok(())
    }
}
