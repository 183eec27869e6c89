//! Signing by the rules of Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA-256 over id, timestamp and body. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What every secret's text begins with.
const PREFIX: &str = "whsec_";

/// A secret from 256 random bits.
pub fn secret(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(random))
}

/// The value of `webhook-signature`: one signature for each secret, so that receivers may change theirs in their own time.
/// A secret that is no base64 signs nothing.
pub fn signatures<'a>(
    secrets: impl IntoIterator<Item = &'a str>,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> String {
    let sign = |secret: &str| {
        let key = STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    secrets.into_iter().filter_map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `libraries/python/tests/test_webhooks.py` of the standard-webhooks repository.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn signature_is_that_of_the_standard() {
        assert_eq!(signatures([SECRET], ID, TIMESTAMP, BODY), SIGNATURE);
        assert_eq!(signatures([&SECRET[PREFIX.len()..]], ID, TIMESTAMP, BODY), SIGNATURE);
        assert_ne!(signatures([SECRET], ID, TIMESTAMP + 1, BODY), SIGNATURE);
        assert_ne!(signatures([SECRET], "msg_other", TIMESTAMP, BODY), SIGNATURE);
        assert_ne!(signatures([SECRET], ID, TIMESTAMP, b"{}"), SIGNATURE);
    }

    #[test]
    fn every_secret_signs_while_they_change() {
        let fresh = secret([7; 32]);
        let both = signatures([fresh.as_str(), SECRET], ID, TIMESTAMP, BODY);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(first, signatures([fresh.as_str()], ID, TIMESTAMP, BODY));
        assert_eq!(second, SIGNATURE);
        assert_eq!(signatures(["whsec_?"], ID, TIMESTAMP, BODY), "");
    }
}
