//! Workers that are bound to a client certificate: what names one, and who may come over which. Pure.
//!
//! A certificate is known by its *identity*: the one URI among its subject's alternative names
//! (`fleetward://org/ORG/worker/NAME`, or another authority's, such as a SPIFFE id), or, where it has no URI or several,
//! `sha256:` and the hash of its public key. A renewed certificate keeps its URI, so renewing with a new key changes nothing;
//! one without a URI has to keep its key.

use crate::error::{Kind, Refusal};
use crate::fleet::input;
use crate::system::org::Org;

/// How URIs begin that name a worker of ours.
const OURS: &str = "fleetward://org/";
/// Longest identity, in characters.
const IDENTITY_MAX: usize = 512;

/// An identity that can be kept and shown.
///
/// # Errors
/// When it is too long, or has what does not print.
pub fn usable(identity: &str) -> Result<(), Refusal> {
    input::printable("the certificate's identity", identity, IDENTITY_MAX)
}

/// A certificate that names an organisation of ours is good for that one alone; others name none.
///
/// # Errors
/// When it is of another organisation.
pub fn of_org(identity: &str, org: &Org) -> Result<(), Refusal> {
    let Some(rest) = identity.strip_prefix(OURS) else { return Ok(()) };
    let named = rest.split('/').next().unwrap_or_default();
    if named == org.name || named == org.id.to_string() {
        return Ok(());
    }
    let detail = "the client certificate is of another organisation than the enrollment key";
    Err(Refusal::new(Kind::Forbidden, "certificate_of_another_org", detail))
}

/// Whether a worker that is bound to the identity `bound`, or to none, may come with `shown`.
///
/// # Errors
/// When it comes without a certificate, or with that of somebody else.
pub fn check(bound: Option<&str>, shown: Option<&str>) -> Result<(), Refusal> {
    match (bound, shown) {
        (Some(bound), Some(shown)) if bound != shown => {
            let detail = "this worker registered with another client certificate: use that one, or register anew";
            Err(Refusal::new(Kind::Forbidden, "certificate_mismatch", detail))
        }
        (Some(_), None) => {
            let detail = "this worker registered with a client certificate and has to show it: connect over TLS with it";
            Err(Refusal::new(Kind::Forbidden, "certificate_required", detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OrgId;

    #[test]
    fn bound_worker_comes_with_its_own_certificate_only() {
        let table = [
            (None, None, "heard"),
            (None, Some("a"), "heard"),
            (Some("a"), Some("a"), "heard"),
            (Some("a"), Some("b"), "certificate_mismatch"),
            (Some("a"), None, "certificate_required"),
        ];
        for (bound, shown, expected) in table {
            let said = check(bound, shown).map_or_else(|refusal| refusal.code, |()| "heard");
            assert_eq!(said, expected, "{bound:?} {shown:?}");
        }
    }

    #[test]
    fn certificate_that_names_an_organisation_is_good_for_no_other() {
        let id = OrgId::fresh();
        let org = Org {
            id,
            name: "acme".into(),
            display_name: None,
            cell: 1,
            created_at: 0,
            created_by: "system".into(),
        };
        for good in [
            "fleetward://org/acme/worker/w1",
            &format!("fleetward://org/{id}/worker/w1"),
            "sha256:00",
            "spiffe://example.org/acme",
        ] {
            assert!(of_org(good, &org).is_ok(), "{good}");
        }
        for bad in ["fleetward://org/other/worker/w1", "fleetward://org/", "fleetward://org/acme2"]
        {
            assert_eq!(of_org(bad, &org).unwrap_err().code, "certificate_of_another_org", "{bad}");
        }
    }
}
