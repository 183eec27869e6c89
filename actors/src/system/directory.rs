//! The directory: organisations with their key rings, and operators' tokens; the one actor of the system cell besides its keeper. Told by
//! administrators; tells the journal, then the index that every request is checked against.

mod audit_key;
pub(in crate::system) mod opening;
mod ring;
mod signing_keys;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fleetward_runtime::{Actor, Context, Crash, Reply, StartError};
use fleetward_store::Position;

use super::org::{Org, OrgEvent, Role, Token, TokenEvent};
use super::payload_key::{PayloadKey, PayloadKeyEvent};
use super::principals::{Change, KnownOrg, Principals};
use super::signer::{AuditKey, Signer};
use super::signers::{Signers, SigningSecret};
use super::signing_key::SigningKey;
use crate::access::{self, ACCESS_ID, Access};
use crate::cause::Cause;
use crate::effect::Effect;
use crate::error::{Error, Kind, Refusal};
use crate::fact::Fold;
use crate::fleet::cell::keeper;
use crate::guard::guarded;
use crate::id::{OrgId, SigningKeyId, TokenId};
use crate::journal::{CellLog, Draft};
use crate::seal::{CellKey, Key, KeyChange, KeyState, MasterKey, Ring, Sealed};

pub(crate) use ring::primary;
pub use ring::{NewPayloadKey, RingMessage};

/// The number of the first key of a ring.
pub const FIRST_KEY: u32 = 1;
/// What it keeps in memory.
const KINDS: [&str; 5] =
    [Org::KIND, Token::KIND, PayloadKey::KIND, AuditKey::KIND, SigningKey::KIND];
/// Longest name of an organisation, in characters.
const NAME_MAX: usize = 63;

/// What a directory starts from.
#[derive(Clone)]
pub struct Args {
    /// Gives it what was true.
    pub keeper: keeper::Handle,
    /// What requests are checked against.
    pub principals: Arc<Principals>,
    /// What task tokens are signed and checked with.
    pub signers: Arc<Signers>,
    /// Opens the keys that it finds.
    pub master: MasterKey,
}

/// An organisation to be made, with its keys and their sealed forms.
#[derive(Debug, Clone)]
pub struct NewOrg {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// The secret of its cell.
    pub key: CellKey,
    /// The same, for the record.
    pub sealed_key: Sealed,
    /// The first key of its ring.
    pub payload_key: Arc<Key>,
    /// The same, for the record.
    pub sealed_payload_key: Sealed,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// What its maker calls it.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// In which organisation.
    pub org: Option<OrgId>,
    /// SHA-256 of its text.
    pub hash: String,
    /// When it ends, in microseconds UTC.
    pub expires_at: Option<i64>,
}

/// The protocol.
#[derive(Debug)]
pub enum Message {
    /// From an administrator of the system.
    CreateOrg {
        /// What to make.
        new: Box<NewOrg>,
        /// Its first token, if it gets one.
        token: Option<Box<NewToken>>,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<Org, Error>>,
    },
    /// From the control plane when it starts: the record is to be signed from now on.
    EnsureSigner {
        /// The key that signs if there is none yet.
        signer: Arc<Signer>,
        /// The same, for the record.
        sealed: Sealed,
        /// There is a key.
        reply: Reply<()>,
    },
    /// From an administrator of the system: heads are to be signed with another key.
    RotateSigner {
        /// The new one.
        signer: Arc<Signer>,
        /// The same, for the record.
        sealed: Sealed,
        /// Who asks.
        by: Cause,
        /// What is known of it and those before it.
        reply: Reply<Result<AuditKey, Error>>,
    },
    /// From whoever checks heads.
    AuditKeys {
        /// What is known of the key that signs and those before it; none: the directory starts.
        reply: Reply<Option<AuditKey>>,
    },
    /// From the control plane: what changes nothing and is yet on the record.
    Note {
        /// What.
        event: access::Event,
        /// Who, by which request.
        by: Cause,
        /// It is durable, at this position.
        reply: Reply<Position>,
    },
    /// From an administrator. A token of the same text is made once.
    CreateToken {
        /// What to make.
        token: Box<NewToken>,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<Token, Error>>,
    },
    /// From an administrator.
    RevokeToken {
        /// Which.
        token: TokenId,
        /// Only of this organisation; none: any.
        org: Option<OrgId>,
        /// Who asks.
        by: Cause,
        /// Done.
        reply: Reply<Result<(), Error>>,
    },
    /// About the keys of a ring.
    Ring(RingMessage),
    /// From an administrator.
    Tokens {
        /// Of this organisation; none: of the system.
        org: Option<OrgId>,
        /// Those that are good, oldest first.
        reply: Reply<Vec<Token>>,
    },
    /// From an administrator of the system; once from the control plane itself, where there is none.
    AddSigningKey {
        /// Its id.
        id: SigningKeyId,
        /// Its private half.
        secret: Box<SigningSecret>,
        /// The same, for the record.
        sealed: Sealed,
        /// Whether it signs at once. The first one does.
        promoted: bool,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<SigningKey, Error>>,
    },
    /// From an administrator of the system.
    PromoteSigningKey {
        /// Which.
        id: SigningKeyId,
        /// Who asks.
        by: Cause,
        /// As it is now.
        reply: Reply<Result<SigningKey, Error>>,
    },
    /// From an administrator of the system.
    RetireSigningKey {
        /// Which.
        id: SigningKeyId,
        /// How long tokens are good at most.
        longest: Duration,
        /// Although some may be in use.
        forced: bool,
        /// Who asks.
        by: Cause,
        /// As it was in the end.
        reply: Reply<Result<SigningKey, Error>>,
    },
    /// From an administrator of the system.
    SigningKeys {
        /// Those that may be used, oldest first.
        reply: Reply<Vec<SigningKey>>,
    },
}

/// The directory's memory.
pub struct State {
    args: Args,
    log: CellLog,
    orgs: HashMap<OrgId, Org>,
    tokens: HashMap<TokenId, Token>,
    payload_keys: BTreeMap<(OrgId, u32), PayloadKey>,
    audit_key: Option<AuditKey>,
    signing_keys: HashMap<SigningKeyId, SigningKey>,
}

impl Actor for State {
    type Args = Args;
    type Message = Message;

    async fn start(args: Args, _cx: &mut Context<Message>) -> Result<Self, StartError> {
        let mut part = args.keeper.take(&KINDS).await?;
        let (orgs, keys) = (part.folded::<Org>(), part.folded::<PayloadKey>());
        for known in opening::organisations(&orgs, &keys, &args.master)? {
            args.principals.apply(Change::Org(Box::new(known)));
        }
        let orgs = orgs.into_iter().map(|org| (org.state.id, org.state)).collect();
        let audit_keys = part.folded::<AuditKey>();
        if let Some(signer) = opening::signer(&audit_keys, &args.master)? {
            args.principals.apply(Change::Signer(Arc::new(signer)));
        }
        let audit_key = audit_keys.into_iter().next().map(|folded| folded.state);
        let tokens: HashMap<_, _> =
            part.states::<Token>().into_iter().map(|token| (token.id, token)).collect();
        for token in tokens.values() {
            args.principals.apply(Change::Token(Box::new(token.clone())));
        }
        let keys = keys.into_iter().map(|key| key.state);
        let payload_keys = keys.map(|key| ((key.org, key.number), key)).collect();
        let mut signing_keys = HashMap::new();
        for (key, secret) in opening::signing_keys(&part.folded::<SigningKey>(), &args.master)? {
            args.signers.apply(&key, Some(&secret));
            signing_keys.insert(key.id, key);
        }
        Ok(Self { args, log: part.log, orgs, tokens, payload_keys, audit_key, signing_keys })
    }

    fn handle(&mut self, message: Message, cx: &mut Context<Message>) -> Result<(), Crash> {
        match message {
            Message::CreateOrg { new, token, by, reply } => {
                let outcome = self.create_org(*new, token, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Note { event, by, reply } => {
                let mut draft = self.log.begin(cx.clock().wall_us());
                let at = draft.push::<Access>(ACCESS_ID, &event, &by, None).seq;
                draft.allow(Effect::Answer(reply.with(at)));
                draft.submit();
            }
            Message::EnsureSigner { signer, sealed, reply } => {
                self.ensure_signer(signer, sealed, cx);
                self.log.answer(reply, ());
            }
            Message::RotateSigner { signer, sealed, by, reply } => {
                let outcome = self.rotate_signer(signer, sealed, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::AuditKeys { reply } => self.log.answer(reply, self.audit_key.clone()),
            Message::CreateToken { token, by, reply } => {
                let outcome = self.create_token(*token, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::RevokeToken { token, org, by, reply } => {
                let outcome = self.revoke_token(token, org, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::Ring(message) => self.ring(message, cx),
            Message::Tokens { org, reply } => {
                self.log.answer(reply, self.tokens_of(org));
            }
            Message::AddSigningKey { id, secret, sealed, promoted, by, reply } => {
                let new = (id, *secret, sealed);
                let outcome = self.add_signing_key(new, promoted, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::PromoteSigningKey { id, by, reply } => {
                let outcome = self.promote_signing_key(id, &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::RetireSigningKey { id, longest, forced, by, reply } => {
                let outcome = self.retire_signing_key(id, (longest, forced), &by, cx);
                self.log.answer(reply, outcome);
            }
            Message::SigningKeys { reply } => self.log.answer(reply, self.signing_keys()),
        }
        Ok(())
    }

    fn label(message: &Message) -> &'static str {
        match message {
            Message::CreateOrg { .. } => "CreateOrg",
            Message::Note { .. } => "Note",
            Message::EnsureSigner { .. } => "EnsureSigner",
            Message::RotateSigner { .. } => "RotateSigner",
            Message::AuditKeys { .. } => "AuditKeys",
            Message::CreateToken { .. } => "CreateToken",
            Message::RevokeToken { .. } => "RevokeToken",
            Message::Ring(_) => "Ring",
            Message::Tokens { .. } => "Tokens",
            Message::AddSigningKey { .. } => "AddSigningKey",
            Message::PromoteSigningKey { .. } => "PromoteSigningKey",
            Message::RetireSigningKey { .. } => "RetireSigningKey",
            Message::SigningKeys { .. } => "SigningKeys",
        }
    }

    fn inspect(&self) -> serde_json::Value {
        serde_json::json!({ "organisations": self.orgs.len(), "tokens": self.tokens.len() })
    }
}

impl State {
    fn create_org(
        &mut self,
        new: NewOrg,
        token: Option<Box<NewToken>>,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Org, Error> {
        let NewOrg { id, name, display_name, key, sealed_key, payload_key, sealed_payload_key } =
            new;
        guarded(cx, "decide/org", || may_be_called(&name, self.orgs.values()))?;
        let cell = self.orgs.values().map(|org| org.cell).max().unwrap_or(0) + 1;
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let event = OrgEvent::Created { org: id, name, display_name, cell };
        let stamp = draft.push::<Org>(id, &event, by, Some(sealed_key));
        let org = Org::begin(&event, stamp).expect("a creation begins an organisation");
        self.orgs.insert(id, org.clone());
        let (number, primary) = (FIRST_KEY, true);
        let event = PayloadKeyEvent::Added { org: id, number, primary };
        let subject = PayloadKey::id(id, number);
        let stamp = draft.push::<PayloadKey>(&subject, &event, by, Some(sealed_payload_key));
        let first = PayloadKey::begin(&event, stamp).expect("an addition begins a key");
        self.payload_keys.insert((id, number), first);
        let change = KeyChange { number, state: KeyState::Primary, key: Some(payload_key) };
        let ring = Arc::new(Ring::new(id, vec![change]));
        let known = KnownOrg { org: org.clone(), key, ring };
        self.allow(&mut draft, Change::Org(Box::new(known)));
        if let Some(token) = token {
            self.push_token(NewToken { org: Some(id), ..*token }, by, &mut draft);
        }
        draft.submit();
        Ok(org)
    }

    fn create_token(
        &mut self,
        new: NewToken,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<Token, Error> {
        if let Some(token) =
            self.tokens.values().find(|token| token.hash == new.hash && token.open())
        {
            return Ok(token.clone());
        }
        let log = self.log.clone();
        let mut draft = log.begin(cx.clock().wall_us());
        let token = self.push_token(new, by, &mut draft);
        draft.submit();
        Ok(token)
    }

    fn push_token(&mut self, new: NewToken, by: &Cause, draft: &mut Draft<'_>) -> Token {
        let NewToken { id, name, role, org, hash, expires_at } = new;
        let event = TokenEvent::Created { token: id, name, role, org, hash, expires_at };
        let stamp = draft.push::<Token>(id, &event, by, None);
        let token = Token::begin(&event, stamp).expect("a creation begins a token");
        self.tokens.insert(id, token.clone());
        self.allow(draft, Change::Token(Box::new(token.clone())));
        token
    }

    fn revoke_token(
        &mut self,
        id: TokenId,
        org: Option<OrgId>,
        by: &Cause,
        cx: &Context<Message>,
    ) -> Result<(), Error> {
        let may = |token: &&mut Token| org.is_none() || token.org == org;
        let Some(token) = self.tokens.get_mut(&id).filter(may) else {
            return Err(Refusal::not_found("token").into());
        };
        if !token.revoked {
            let log = self.log.clone();
            let mut draft = log.begin(cx.clock().wall_us());
            let stamp = draft.push::<Token>(id, &TokenEvent::Revoked {}, by, None);
            token.evolve(&TokenEvent::Revoked {}, stamp);
            let change = Change::Token(Box::new(token.clone()));
            self.allow(&mut draft, change);
            draft.submit();
        }
        Ok(())
    }

    fn tokens_of(&self, org: Option<OrgId>) -> Vec<Token> {
        let good = |token: &&Token| token.org == org && !token.revoked;
        let mut tokens: Vec<_> = self.tokens.values().filter(good).cloned().collect();
        tokens.sort_by_key(|token| token.created_at);
        tokens
    }

    fn allow(&self, draft: &mut Draft<'_>, change: Change) {
        draft.allow(Effect::Principals { index: self.args.principals.clone(), change });
    }
}

/// Whether an organisation may have this name.
fn may_be_called<'a>(name: &str, orgs: impl Iterator<Item = &'a Org>) -> Result<(), Refusal> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let well_formed = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.chars().all(fits)
        && !name.starts_with('-');
    if !well_formed {
        let detail = format!(
            "an organisation's name has 1 to {NAME_MAX} lower-case letters, digits and hyphens"
        );
        return Err(Refusal::invalid("invalid_name", detail));
    }
    if orgs.into_iter().any(|org| org.name == name) {
        let detail = format!("there is an organisation named {name} already");
        return Err(Refusal::new(Kind::Conflict, "name_taken", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_urls_and_are_unique() {
        let taken = [Org {
            id: OrgId::fresh(),
            name: "acme".into(),
            display_name: None,
            cell: 1,
            created_at: 0,
            created_by: "t".into(),
        }];
        let table = [
            ("beta-2", None),
            ("acme", Some("name_taken")),
            ("", Some("invalid_name")),
            ("Acme", Some("invalid_name")),
            ("-a", Some("invalid_name")),
            ("a b", Some("invalid_name")),
            ("a/b", Some("invalid_name")),
        ];
        for (name, expected) in table {
            let code = may_be_called(name, taken.iter()).err().map(|refusal| refusal.code);
            assert_eq!(code, expected, "{name:?}");
        }
    }
}
