//! The task tokens of one worker: it asks for the next one ahead of time, with proof of its key, and changes over without
//! ever showing an old one after a new one, which the control plane would take for a copy.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetward_wire::Secret;
use fleetward_wire::task_tokens::{TaskTokenAnswer, TaskTokenRequest};
use reqwest::header::HeaderValue;
use tokio::sync::{Mutex, RwLock};

use crate::clock::{Clock, Moment};
use crate::key_pair::KeyPair;
use crate::transport::TransportError;

/// The next token is asked for somewhere in this part of the life of the present one, so that workers that started
/// together do not stay together.
const RENEW: std::ops::Range<f64> = 0.6..0.8;
/// How long the next try waits after one that failed, while the present token is good.
const RETRY: Duration = Duration::from_secs(5);
/// Once sent, a request has arrived after this time, also where its answer takes much longer.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);
/// A request that nobody answered may still arrive: the present token stays in use for so long, if it lives.
const STRAY: Duration = Duration::from_secs(20);
/// A token that ends within this time is not used any more.
const ALMOST_OVER: Duration = Duration::from_secs(1);

/// Asks the control plane for the next token.
#[async_trait]
pub(crate) trait Issue: Send + Sync {
    /// The next token; where `request` names another generation than the newest, that one.
    async fn issue(&self, request: TaskTokenRequest) -> Result<Issued, TransportError>;
}

/// The answer to a request for a token.
pub(crate) enum Issued {
    /// The token.
    Token(TaskTokenAnswer),
    /// The newest generation is this one: sign again.
    Passed(u32),
}

/// One worker's tokens. Clones of its transport share them.
pub(crate) struct Tokens {
    issue: Arc<dyn Issue>,
    pair: KeyPair,
    org_id: String,
    worker_id: String,
    clock: Clock,
    /// A request that uses the token reads it until it has arrived; whoever changes it waits for those.
    current: RwLock<Option<Token>>,
    /// Held by whoever asks for the next one.
    next: Mutex<Next>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    good_until: Moment,
    renew_at: Moment,
}

#[derive(Default)]
struct Next {
    /// The newest generation that is known of.
    generation: u32,
    /// It was issued, and is not in use yet.
    ready: Option<Token>,
    /// When to try again after a failure.
    not_before: Option<Moment>,
    /// When a request went unanswered.
    stray: Option<Moment>,
}

impl Tokens {
    pub(crate) fn new(
        issue: Arc<dyn Issue>,
        pair: KeyPair,
        (org_id, worker_id): (String, String),
    ) -> Self {
        let (current, next) = (RwLock::default(), Mutex::default());
        Self { issue, pair, org_id, worker_id, clock: Clock::new(), current, next }
    }

    /// Sends a request with a good token. One that is refused for its token's sake is sent once more with another.
    pub(crate) async fn send<A, F>(
        &self,
        request: impl Fn(HeaderValue) -> F + Sync,
    ) -> Result<A, TransportError>
    where
        F: Future<Output = Result<A, TransportError>> + Send,
        A: Send,
    {
        let mut used = None;
        for _ in 0..2 {
            self.renew(used.as_ref()).await?;
            let (header, answer) = self.send_once(&request).await?;
            match answer {
                Err(TransportError::Rejected { status: 401, .. }) if used.is_none() => {
                    used = Some(header);
                }
                answer => return answer,
            }
        }
        Err(TransportError::unavailable("the token was refused twice"))
    }

    async fn send_once<A, F>(
        &self,
        request: &impl Fn(HeaderValue) -> F,
    ) -> Result<(HeaderValue, Result<A, TransportError>), TransportError>
    where
        F: Future<Output = Result<A, TransportError>>,
    {
        let token = self.current.read().await;
        let header = token.as_ref().map(|token| token.header.clone());
        let header = header.ok_or_else(|| TransportError::unavailable("there is no token yet"))?;
        let sending = request(header.clone());
        tokio::pin!(sending);
        let answer = tokio::select! {
            answer = &mut sending => { drop(token); answer }
            () = tokio::time::sleep(ARRIVES_WITHIN) => { drop(token); sending.await }
        };
        if let Err(TransportError::Unavailable { .. }) = &answer {
            self.next.lock().await.stray = Some(self.clock.now());
        }
        Ok((header, answer))
    }

    /// Makes sure that there is a good token, other than `refused`.
    async fn renew(&self, refused: Option<&HeaderValue>) -> Result<(), TransportError> {
        let state = self.state(refused).await;
        let mut next = match state {
            State::Good => return Ok(()),
            // Somebody else is at it already.
            State::Due => match self.next.try_lock() {
                Ok(next) => next,
                Err(_) => return Ok(()),
            },
            State::Useless => self.next.lock().await,
        };
        let state = self.state(refused).await;
        if state == State::Good {
            return Ok(());
        }
        let now = self.clock.now();
        let rests = next.not_before.is_some_and(|at| now < at);
        if next.ready.is_none() && !(rests && state == State::Due) {
            match self.ask(&mut next).await {
                Ok(token) => next.ready = Some(token),
                Err(error) if state == State::Due => {
                    tracing::warn!(%error, "no new token yet; the present one is still good");
                    next.not_before = Some(now + RETRY.mul_f64(1.0 + rand::random::<f64>()));
                }
                Err(error) => return Err(error),
            }
        }
        let quiet = next.stray.is_none_or(|at| now.saturating_since(at) >= STRAY);
        if (quiet || state == State::Useless)
            && let Some(token) = next.ready.take()
        {
            // What was sent with the old one has arrived once nobody reads any more.
            *self.current.write().await = Some(token);
            next.not_before = None;
        }
        Ok(())
    }

    async fn state(&self, refused: Option<&HeaderValue>) -> State {
        let (current, now) = (self.current.read().await, self.clock.now());
        match current.as_ref() {
            Some(token) if refused == Some(&token.header) => State::Useless,
            Some(token) if now + ALMOST_OVER >= token.good_until => State::Useless,
            Some(token) if now >= token.renew_at => State::Due,
            Some(_) => State::Good,
            None => State::Useless,
        }
    }

    async fn ask(&self, next: &mut Next) -> Result<Token, TransportError> {
        // The second time with the generation that the control plane named.
        for _ in 0..2 {
            let request = TaskTokenRequest {
                org_id: self.org_id.clone(),
                generation: next.generation,
                signature: self.pair.sign_token(&self.org_id, &self.worker_id, next.generation),
                scopes: None,
            };
            let asked = self.clock.now();
            match self.issue.issue(request).await? {
                Issued::Passed(newest) => next.generation = newest,
                Issued::Token(answer) => {
                    next.generation = answer.generation;
                    return token(&answer, asked);
                }
            }
        }
        Err(TransportError::unavailable("somebody else asks for tokens of this worker too"))
    }
}

/// What a request finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A token that is good for long.
    Good,
    /// One that is good, and to be followed by another.
    Due,
    /// None that can be used.
    Useless,
}

/// The life of a token begins before the control plane knows of it: our clock then errs towards asking early.
fn token(answer: &TaskTokenAnswer, asked: Moment) -> Result<Token, TransportError> {
    let header = bearer(&answer.token)?;
    let life = Duration::try_from_secs_f64(answer.expires_in).unwrap_or_default();
    let renew = life.mul_f64(rand::random_range(RENEW));
    Ok(Token { header, good_until: asked + life, renew_at: asked + renew })
}

fn bearer(token: &Secret) -> Result<HeaderValue, TransportError> {
    let header = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut header = header.map_err(|_| TransportError::unavailable("a token that is none"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Sync;

    use super::*;

    /// Issues tokens that live for 100 s, and writes down what was asked for.
    #[derive(Default)]
    struct Office {
        newest: Sync<u32>,
        log: Sync<Vec<String>>,
        away: Sync<bool>,
    }

    #[async_trait]
    impl Issue for Office {
        async fn issue(&self, request: TaskTokenRequest) -> Result<Issued, TransportError> {
            self.log.lock().unwrap().push(format!("after {}", request.generation));
            if *self.away.lock().unwrap() {
                return Err(TransportError::unavailable("outage"));
            }
            let mut newest = self.newest.lock().unwrap();
            if request.generation != *newest {
                return Ok(Issued::Passed(*newest));
            }
            *newest += 1;
            Ok(Issued::Token(TaskTokenAnswer {
                token: format!("t{newest}").into(),
                token_type: "Bearer".to_owned(),
                generation: *newest,
                expires_in: 100.0,
                scopes: Vec::new(),
            }))
        }
    }

    fn tokens() -> (Arc<Office>, Arc<Tokens>) {
        let office = Arc::<Office>::default();
        let ids = ("o".to_owned(), "w".to_owned());
        (office.clone(), Arc::new(Tokens::new(office, KeyPair::generate(), ids)))
    }

    /// Sends a request; answers which token it went with.
    async fn used(tokens: &Tokens) -> String {
        let sent = tokens.send(|header| async move { Ok(header.to_str().unwrap().to_owned()) });
        sent.await.unwrap()
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_token_is_asked_for_ahead_of_time() {
        let (office, tokens) = tokens();
        *office.newest.lock().unwrap() = 7;

        assert_eq!(used(&tokens).await, "Bearer t8");
        pass(59).await;
        assert_eq!(used(&tokens).await, "Bearer t8");
        pass(22).await;
        assert_eq!(used(&tokens).await, "Bearer t9");
        assert_eq!(*office.log.lock().unwrap(), ["after 0", "after 7", "after 8"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_present_token_is_used_as_long_as_it_is_good_while_there_is_no_other() {
        let (office, tokens) = tokens();
        used(&tokens).await;
        *office.away.lock().unwrap() = true;

        pass(81).await;
        assert_eq!(used(&tokens).await, "Bearer t1");
        assert_eq!(used(&tokens).await, "Bearer t1");
        assert_eq!(office.log.lock().unwrap().len(), 2, "not with every request");
        pass(20).await;
        let sent = tokens.send(|_| async { Ok(()) }).await;
        assert!(matches!(sent, Err(TransportError::Unavailable { .. })));
        *office.away.lock().unwrap() = false;
        assert_eq!(used(&tokens).await, "Bearer t2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_refused_is_replaced_once() {
        let (_, tokens) = tokens();
        let asked = Sync::new(Vec::new());
        let refuse = |header: HeaderValue| {
            asked.lock().unwrap().push(header.to_str().unwrap().to_owned());
            async { Err::<(), _>(TransportError::Rejected { status: 401, detail: String::new() }) }
        };

        let sent = tokens.send(refuse).await;

        assert!(matches!(sent, Err(TransportError::Rejected { status: 401, .. })));
        assert_eq!(*asked.lock().unwrap(), ["Bearer t1", "Bearer t2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_with_a_new_token_before_what_was_sent_with_the_old_one_has_arrived() {
        let (_, tokens) = tokens();
        used(&tokens).await;
        pass(81).await;
        let began = tokio::time::Instant::now();
        // Due, but somebody else asks just now: it goes with the old one, and its answer takes long.
        let busy = tokens.next.lock().await;
        let poll = tokio::spawn({
            let tokens = tokens.clone();
            async move {
                let answer = tokens.send(|header| async move {
                    pass(15).await;
                    Ok(header)
                });
                answer.await.unwrap()
            }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(busy);

        assert_eq!(used(&tokens).await, "Bearer t2");

        assert!(began.elapsed() >= ARRIVES_WITHIN && began.elapsed() < Duration::from_secs(3));
        assert_eq!(poll.await.unwrap(), "Bearer t1");
    }
}
