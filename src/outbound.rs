//! The one client that calls addresses which tenants name: webhooks for alerts.
//!
//! It resolves a name once and connects to what it checked, refuses addresses that are not public, follows no redirect, uses no
//! proxy, waits for a short time only, and reads nothing of an answer but its status.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleetward_actors::plane::{Outbound, Outgoing};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long everything may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Posts to webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    http: reqwest::Client,
    private: bool,
}

/// Resolves names, to public addresses only.
struct Guarded {
    private: bool,
}

impl Webhooks {
    /// A client. With `private`, it also calls addresses that are not public: those of the machine and the network it stands in.
    ///
    /// # Errors
    /// When this machine has no certificates to trust.
    pub fn new(private: bool) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(WITHIN)
            .dns_resolver(Arc::new(Guarded { private }))
            .user_agent(concat!("fleetward/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, private })
    }

    /// Reads an address; one that is written as numbers never goes by the resolver, so it is checked here.
    fn url(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|_| "the address is no URL".to_owned())?;
        if !["https", "http"].contains(&url.scheme()) {
            return Err("the address must begin with https:// or http://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address must not contain a user or a password".to_owned());
        }
        let host = url.host_str().ok_or("the address names no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(ip) if !self.private && !is_public(ip) => Err(refused()),
            _ => Ok(url),
        }
    }
}

impl Outbound for Webhooks {
    fn check(&self, url: &str) -> Result<String, String> {
        Ok(self.url(url)?.origin().ascii_serialization())
    }

    fn post(
        &self,
        message: Outgoing,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let mut request = this
                .http
                .post(this.url(&message.url)?)
                .header("content-type", "application/json")
                .body(message.body);
            for (name, value) in message.headers {
                request = request.header(name, value);
            }
            // The address may be secret: errors are told without it.
            let answer = request.send().await.map_err(|error| chain(&error.without_url()))?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("the webhook answered {status}")),
            }
        })
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            // One that is not public among several is enough: somebody tries something.
            if !private && found.iter().any(|address| !is_public(address.ip())) {
                return Err(refused().into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn refused() -> String {
    "the address is not public; an administrator of the server may allow such ones (--allow-private-webhooks)".to_owned()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Whether an address is one of the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    // Shared between carrier and customer, for protocols, for benchmarks, reserved.
    let special = (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a == 0
        || a >= 240;
    !(special
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4() {
        // Mapped, or compatible.
        return is_public_v4(ip);
    }
    let [a, b, ..] = ip.segments();
    // Translated and tunnelled ones lead to any IPv4 address.
    let leads_elsewhere = (a == 0x64 && b == 0xff9b) || a == 0x2002 || (a == 0x2001 && b == 0);
    let special = (a & 0xfe00) == 0xfc00
        || (a & 0xffc0) == 0xfe80
        || (a & 0xffc0) == 0xfec0
        || a == 0x100
        || (a == 0x2001 && b == 0xdb8);
    !(leads_elsewhere || special || ip.is_multicast() || ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_called() {
        for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "100.128.0.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.1",
            "203.0.113.1",
            "::1",
            "::",
            "fc00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn addresses_are_checked_when_a_sink_is_made() {
        let webhooks = Webhooks::new(false).unwrap();
        assert_eq!(
            webhooks.check("https://hooks.example.com/services/secret?x=1").as_deref(),
            Ok("https://hooks.example.com")
        );
        for wrong in [
            "",
            "hooks.example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://user:pass@example.com/",
            "http://127.0.0.1:1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/",
        ] {
            assert!(webhooks.check(wrong).is_err(), "{wrong}");
        }
        assert!(Webhooks::new(true).unwrap().check("http://127.0.0.1:1/").is_ok());
    }

    #[tokio::test]
    async fn name_that_leads_home_is_refused_where_it_is_resolved() {
        let webhooks = Webhooks::new(false).unwrap();
        let message = Outgoing {
            url: "http://localhost:9/secret".to_owned(),
            headers: Vec::new(),
            body: "{}".into(),
        };
        let error = webhooks.post(message).await.unwrap_err();
        assert!(error.contains("not public") && !error.contains("secret"), "{error}");
    }
}
