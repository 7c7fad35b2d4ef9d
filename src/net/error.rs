//! Why a request has no answer that can be used. No message holds a token, or more of an address than people need.

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use crate::diag::{Class, Explain};

/// What kind of end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The server cannot be reached, or answers with an error of its own.
    Down,
    /// It was down just now, and is not asked.
    Absent,
    /// Its certificate is not trusted.
    Untrusted,
    /// Too many requests.
    Busy,
    /// A token is missing or refused.
    Auth,
    /// Terms have to be accepted first.
    Gated,
    /// There is no such thing.
    NotFound,
    /// More bytes than are believed.
    TooLarge,
    /// Other bytes than were named.
    Digest,
    /// It is in another state than it was listed in.
    Changed,
    /// A redirect that is not followed.
    Redirect,
    /// An answer that says nothing that is understood.
    Unread,
    /// What came cannot be written.
    Disk,
    /// An address or a token that cannot be used.
    Usage,
    /// The user ended it.
    Stopped,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct NetError {
    pub(crate) kind: Kind,
    url: String,
    reason: String,
}

/// An address without what may hold a secret: a query may be a signature of whoever may read the file.
pub(crate) fn plain(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

impl NetError {
    pub(crate) fn new(kind: Kind, url: &str, reason: impl Into<String>) -> Self {
        Self { kind, url: plain(url).to_owned(), reason: reason.into() }
    }

    pub(super) fn of_transport(url: &Url, error: &reqwest::Error, untrusting: Option<&str>) -> Self {
        if is_untrusted(error) {
            return Self::new(Kind::Untrusted, url.as_str(), format!("the server's certificate is not trusted ({})", cause(error)));
        }
        let what = if error.is_timeout() { "the server does not answer in time" } else { "the server cannot be reached" };
        let told = match untrusting {
            Some(why) if url.scheme() == "https" => format!("{what}: {why}"),
            _ => format!("{what} ({})", cause(error)),
        };
        Self::new(Kind::Down, url.as_str(), told)
    }

    pub(super) fn of_status(url: &Url, status: StatusCode, headers: &HeaderMap) -> Self {
        let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        // A bucket that is asked for in another region.
        if let Some(region) = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok())
            && matches!(status.as_u16(), 301 | 307 | 400)
        {
            return Self::new(Kind::Usage, url.as_str(), format!("the bucket is in the region {region}: write that"));
        }
        let (kind, reason) = match (status.as_u16(), code) {
            (401 | 403, "GatedRepo") => (Kind::Gated, "it is given only to those who accept its terms".to_owned()),
            // Whoever has no token is told so of what is not there too; a token that ends must not look like models that are gone.
            (401, _) => (Kind::Auth, "it is not there, or needs a token that may read it".to_owned()),
            (403, _) => (Kind::Auth, "the server refuses it".to_owned()),
            (404, "RevisionNotFound") => (Kind::NotFound, "there is no such revision".to_owned()),
            (404, "EntryNotFound") => (Kind::NotFound, "there is no such file".to_owned()),
            (404 | 410 | 451, _) => (Kind::NotFound, format!("it is not there ({status})")),
            (412, _) => (Kind::Changed, "it changed since it was listed".to_owned()),
            (300..=399, _) => (Kind::Redirect, "the store leads elsewhere, which is not followed".to_owned()),
            (429, _) => (Kind::Busy, "the server asks for fewer requests".to_owned()),
            (408 | 425 | 500..=599, _) => (Kind::Down, format!("the server answers {status}")),
            _ => (Kind::Unread, format!("the server answers {status}")),
        };
        Self::new(kind, url.as_str(), reason)
    }

    /// Whether another try may bring something.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Down | Kind::Busy)
    }
}

/// Whether a certificate is why there is no connection: another try changes nothing.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_tls = |error: &(dyn std::error::Error + 'static)| {
        matches!(error.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
    };
    let mut next = Some(error);
    while let Some(error) = next {
        // What an error of input and output was made of is none of its causes.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if of_tls(error) || inner.is_some_and(|inner| is_untrusted(inner)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The innermost cause: the error itself quotes the address as a whole.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut last = None;
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        last = Some(inner.to_string());
        cause = inner.source();
    }
    last.unwrap_or_else(|| "it does not say why".to_owned())
}

impl Explain for NetError {
    fn class(&self) -> Class {
        match self.kind {
            Kind::Stopped => Class::Stopped,
            Kind::Usage => Class::Usage,
            _ => Class::Fault,
        }
    }

    fn hint(&self) -> Option<&str> {
        Self::advice(self.kind, &self.url)
    }
}

impl NetError {
    /// What to do about an error of a kind that an address led to.
    pub(crate) fn advice(kind: Kind, address: &str) -> Option<&'static str> {
        let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
        match (kind, scheme) {
            (Kind::Auth, "s3") => {
                return Some("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket");
            }
            (Kind::Auth, "gs") => return Some("set GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for a public bucket"),
            (Kind::Auth, "az") => {
                return Some(
                    "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public container",
                );
            }
            (Kind::Down | Kind::Absent, "s3" | "gs" | "az") => {
                return Some("HTTPS_PROXY names a proxy, SSL_CERT_FILE a file of certificates to trust");
            }
            _ => {}
        }
        match kind {
            Kind::Auth => Some("set HF_TOKEN to a token that may read it, or log in with `hf auth login`"),
            Kind::Untrusted => Some("SSL_CERT_FILE names a file of certificates to trust"),
            Kind::Gated => Some("accept its terms on the page of the model, and set HF_TOKEN to a token of that account"),
            Kind::Down | Kind::Absent => {
                Some("HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy, SSL_CERT_FILE a file of certificates to trust")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_certificate_is_found_inside_of_what_it_ended() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let inside = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, unknown.clone()));
        assert!(is_untrusted(&unknown) && is_untrusted(&inside));
        let other = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert!(!is_untrusted(&other) && !is_untrusted(&io::Error::other("reset")));
        assert!(!NetError::new(Kind::Untrusted, "https://hub.example", "it is not").may_pass());
    }
}
