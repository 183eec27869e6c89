//! The keys that task tokens are signed and checked with, and the tokens that were found good. Loaded when the directory
//! starts, changed only by its effects.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use dashmap::DashMap;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sha2::{Digest, Sha256};

use super::signing_key::{KeyState, SigningKey};
use super::task_token::{AUDIENCE, Claims, ISSUER, TaskToken, bad_token};
use crate::error::{Error, Refusal};
use crate::fleet::public_key::PublicKey;
use crate::id::{OrgId, SigningKeyId};
use crate::seal::{MasterKey, Purpose, Sealed, Unreadable};

/// Longest text that is looked at.
const TEXT_MAX: usize = 2_048;
/// Most tokens that are remembered as good, about 300 bytes each.
const REMEMBERED_MAX: usize = 65_536;

/// Signing keys belong to the system.
const NO_ORG: OrgId = OrgId(uuid::Uuid::nil());

/// The private half of a signing key. Nobody can print it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    /// A fresh random one.
    pub fn fresh() -> Self {
        Self(rand::random())
    }

    /// The secret of a key from its stored form; none where that holds something else.
    ///
    /// # Errors
    /// When it does not open with this master key.
    pub fn open(
        master: &MasterKey,
        key: SigningKeyId,
        sealed: &Sealed,
    ) -> Result<Option<Self>, Unreadable> {
        let bytes = master.open(Purpose::TaskTokenKey, NO_ORG, key.0.as_bytes(), sealed)?;
        Ok(bytes.as_ref().try_into().ok().map(Self))
    }

    /// The secret of a key in the form that is stored.
    pub fn sealed(&self, master: &MasterKey, key: SigningKeyId) -> Sealed {
        master.seal(Purpose::TaskTokenKey, NO_ORG, key.0.as_bytes(), &self.0)
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        let bytes = self.pair().public_key().as_ref().try_into();
        PublicKey::from_bytes(bytes.expect("a public key of Ed25519 has 32 bytes"))
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.0).expect("any 32 bytes are a seed of Ed25519")
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

/// One signing key, ready for use.
pub struct Signer {
    /// Its id.
    pub id: SigningKeyId,
    /// The public half.
    pub public_key: PublicKey,
    signs: EncodingKey,
    checks: DecodingKey,
    retired: AtomicBool,
}

impl Signer {
    fn new(key: &SigningKey, secret: &SigningSecret) -> Self {
        let der = secret.pair().to_pkcs8().expect("a key pair of Ed25519 has a standard form");
        Self {
            id: key.id,
            public_key: key.public_key,
            signs: EncodingKey::from_ed_der(der.as_ref()),
            checks: DecodingKey::from_ed_der(key.public_key.as_bytes()),
            retired: AtomicBool::new(false),
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// The text of a token.
    pub(crate) fn sign(&self, mut claims: Claims) -> Result<String, Error> {
        (claims.iss, claims.aud) = (ISSUER.to_owned(), AUDIENCE.to_owned());
        let header = Header { kid: Some(self.id.to_string()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.signs).map_err(|error| {
            let id = uuid::Uuid::now_v7().to_string();
            tracing::error!(%id, %error, "a task token cannot be signed");
            Error::Internal(id)
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

/// The index.
#[derive(Debug, Default)]
pub struct Signers {
    keys: DashMap<SigningKeyId, Arc<Signer>>,
    active: RwLock<Option<Arc<Signer>>>,
    /// Checking a signature costs more than all else of a small request, so a good token is remembered, by the SHA-256
    /// of its text. What can change about it is asked anew each time.
    good: DashMap<[u8; 32], Arc<TaskToken>>,
}

impl Signers {
    /// The key that signs now.
    pub fn active(&self) -> Option<Arc<Signer>> {
        self.active.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The public halves of all keys whose tokens may be good.
    pub fn published(&self) -> Vec<(SigningKeyId, PublicKey)> {
        let mut keys: Vec<_> = self.keys.iter().map(|key| (key.id, key.public_key)).collect();
        keys.sort_unstable_by_key(|(id, _)| *id);
        keys
    }

    /// Reads a token and checks its signature. Whether it is good now is for the caller to ask.
    ///
    /// # Errors
    /// When it is no token that one of these keys signed.
    pub fn read(&self, text: &str, now: i64) -> Result<Arc<TaskToken>, Refusal> {
        if text.len() > TEXT_MAX {
            return Err(bad_token());
        }
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if let Some(known) = self.good.get(&hash) {
            return Ok(known.clone());
        }
        let header = jsonwebtoken::decode_header(text).map_err(|_| bad_token())?;
        let kid = header.kid.and_then(|kid| kid.parse().ok());
        let signer = kid.and_then(|kid| Some(self.keys.get(&kid)?.clone()));
        let signer = signer.ok_or_else(bad_token)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // By the server's own clock, below.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(text, &signer.checks, &rules);
        let token = TaskToken::new(&claims.map_err(|_| bad_token())?.claims, signer)?;
        let token = Arc::new(token);
        self.remember(hash, token.clone(), now);
        Ok(token)
    }

    fn remember(&self, hash: [u8; 32], token: Arc<TaskToken>, now: i64) {
        if token.check(now).is_err() {
            return;
        }
        if self.good.len() >= REMEMBERED_MAX {
            self.good.retain(|_, token| token.check(now).is_ok());
        }
        if self.good.len() >= REMEMBERED_MAX {
            self.good.clear();
        }
        self.good.insert(hash, token);
    }

    /// What is true of a key now; `secret` where it is new here.
    pub(crate) fn apply(&self, key: &SigningKey, secret: Option<&SigningSecret>) {
        if let Some(secret) = secret {
            self.keys.entry(key.id).or_insert_with(|| Arc::new(Signer::new(key, secret)));
        }
        let Some(signer) = self.keys.get(&key.id).map(|signer| signer.clone()) else { return };
        match key.state {
            KeyState::Added | KeyState::Demoted => {}
            KeyState::Active => {
                *self.active.write().unwrap_or_else(PoisonError::into_inner) = Some(signer);
            }
            KeyState::Retired => {
                signer.retired.store(true, Ordering::Relaxed);
                self.keys.remove(&key.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OrgId, TaskTokenId, WorkerId};

    fn key(secret: &SigningSecret, state: KeyState) -> SigningKey {
        SigningKey {
            id: SigningKeyId::fresh(),
            public_key: secret.public_key(),
            state,
            demoted_at: None,
            created_at: 0,
            created_by: "t".into(),
        }
    }

    fn claims() -> Claims {
        Claims {
            iss: String::new(),
            aud: String::new(),
            sub: WorkerId::fresh(),
            org: OrgId::fresh(),
            pool: "default".into(),
            project: None,
            jti: TaskTokenId::fresh(),
            generation: 1,
            scopes: vec!["worker:claim".into()],
            iat: 0,
            exp: 100,
        }
    }

    #[test]
    fn token_is_read_by_the_key_that_it_names_and_by_no_other_way() {
        let (ours, theirs) = (SigningSecret::fresh(), SigningSecret::fresh());
        let (known, foreign) = (key(&ours, KeyState::Active), key(&theirs, KeyState::Active));
        let signers = Signers::default();
        signers.apply(&known, Some(&ours));
        let text = signers.active().unwrap().sign(claims()).unwrap();
        assert_eq!(signers.read(&text, 0).unwrap().generation, 1);

        let unknown_key = Signer::new(&foreign, &theirs).sign(claims()).unwrap();
        let borrowed_name = SigningKey { id: known.id, ..foreign };
        let forged = Signer::new(&borrowed_name, &theirs).sign(claims()).unwrap();
        let header = Header { kid: Some(known.id.to_string()), ..Header::new(Algorithm::HS256) };
        let secret = EncodingKey::from_secret(known.public_key.as_bytes());
        let confused = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
        let parts: Vec<_> = text.split('.').collect();
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
        let longer = format!("{text}A");
        for wrong in [&unknown_key, &forged, &confused, &unsigned, &longer, "", "a.b.c", "fwt_x"] {
            assert_eq!(signers.read(wrong, 0).unwrap_err().code, "bad_token", "{wrong}");
        }
    }

    #[test]
    fn token_of_another_use_of_the_key_is_refused() {
        let secret = SigningSecret::fresh();
        let known = key(&secret, KeyState::Active);
        let signers = Signers::default();
        signers.apply(&known, Some(&secret));
        let signer = signers.active().unwrap();
        let header = Header { kid: Some(known.id.to_string()), ..Header::new(Algorithm::EdDSA) };
        for (iss, aud) in [("fleetward", AUDIENCE), (ISSUER, "somebody else"), (ISSUER, "")] {
            let claims = Claims { iss: iss.into(), aud: aud.into(), ..claims() };
            let text = jsonwebtoken::encode(&header, &claims, &signer.signs).unwrap();
            assert_eq!(signers.read(&text, 0).unwrap_err().code, "bad_token", "{iss} {aud}");
        }
    }

    #[test]
    fn retired_key_takes_its_tokens_with_it_also_those_that_are_remembered() {
        let secret = SigningSecret::fresh();
        let known = key(&secret, KeyState::Active);
        let signers = Signers::default();
        signers.apply(&known, Some(&secret));
        let text = signers.active().unwrap().sign(claims()).unwrap();
        assert!(signers.read(&text, 0).unwrap().check(0).is_ok());

        signers.apply(&SigningKey { state: KeyState::Retired, ..known }, None);

        let remembered = signers.read(&text, 0).unwrap();
        assert_eq!(remembered.check(0).unwrap_err().code, "bad_token");
        assert!(signers.published().is_empty());
    }
}
