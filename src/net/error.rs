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
        let what = if error.is_timeout() { "the server does not answer in time" } else { "the server cannot be reached" };
        let told = match untrusting {
            Some(why) if url.scheme() == "https" => format!("{what}: {why}"),
            _ => format!("{what} ({})", cause(error)),
        };
        Self::new(Kind::Down, url.as_str(), told)
    }

    pub(super) fn of_status(url: &Url, status: StatusCode, headers: &HeaderMap) -> Self {
        let code = headers.get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        let (kind, reason) = match (status.as_u16(), code) {
            (401 | 403, "GatedRepo") => (Kind::Gated, "it is given only to those who accept its terms".to_owned()),
            // Whoever has no token is told so of what is not there too; a token that ends must not look like models that are gone.
            (401, _) => (Kind::Auth, "it is not there, or needs a token that may read it".to_owned()),
            (403, _) => (Kind::Auth, "the server refuses it".to_owned()),
            (404, "RevisionNotFound") => (Kind::NotFound, "there is no such revision".to_owned()),
            (404, "EntryNotFound") => (Kind::NotFound, "there is no such file".to_owned()),
            (404 | 410 | 451, _) => (Kind::NotFound, format!("it is not there ({status})")),
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
        Self::advice(self.kind)
    }
}

impl NetError {
    /// What to do about an error of a kind.
    pub(crate) fn advice(kind: Kind) -> Option<&'static str> {
        match kind {
            Kind::Auth => Some("set HF_TOKEN to a token that may read it, or log in with `hf auth login`"),
            Kind::Gated => Some("accept its terms on the page of the model, and set HF_TOKEN to a token of that account"),
            Kind::Down | Kind::Absent => {
                Some("HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy, SSL_CERT_FILE a file of certificates to trust")
            }
            _ => None,
        }
    }
}
