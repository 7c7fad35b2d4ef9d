//! Which hub is meant, and with which token: what the environment says, as the hub's own tools read it.

use std::path::{Path, PathBuf};

use crate::diag::{Class, Explain};
use crate::net::{Kind, Net, NetError, Url};
use crate::store;

/// The hub where none is named.
const HUB: &str = "https://huggingface.co";
/// Most bytes of a file that holds a token.
const MOST_TOKEN: u64 = 4096;

/// How the hub is reached. The token is for the one server that the environment names, and never shown.
#[derive(Clone, Default)]
pub struct Access {
    endpoint: Option<Url>,
    token: Option<String>,
    /// What an MLflow registry is sent: for the one that a scan names.
    tracking: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = if self.token.is_some() { "a token" } else { "no token" };
        let home = self.endpoint.as_ref().map_or(HUB, Url::as_str);
        write!(f, "Access({home}, {token})")
    }
}

impl Access {
    /// From `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME` and `HF_HUB_DISABLE_IMPLICIT_TOKEN`. `variable` reads the environment.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        let said = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let endpoint = said("HF_ENDPOINT").map(|text| address(&text).map_err(|reason| AccessError::Endpoint { reason })).transpose()?;
        let off =
            said("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str()));
        let token = if off { None } else { token(&said)? };
        let access = Self { endpoint, token, tracking: tracking(&said) };
        let home = access.endpoint().map_err(|error| AccessError::Endpoint { reason: error.to_string() })?;
        if access.token.is_some() && is_open(&home) {
            return Err(AccessError::Unencrypted { home: home.to_string() });
        }
        Ok(access)
    }

    /// The hub's address.
    pub(crate) fn endpoint(&self) -> Result<Url, NetError> {
        let usual = || Url::parse(HUB).map_err(|error| NetError::new(Kind::Usage, HUB, error.to_string()));
        self.endpoint.clone().map_or_else(usual, Ok)
    }

    /// Lets a client send what an MLflow registry asks for to that registry.
    pub(crate) fn track(&self, net: &mut Net, home: &Url) -> Result<(), NetError> {
        let Some(tracking) = &self.tracking else { return Ok(()) };
        if is_open(home) {
            let reason =
                "it is not encrypted, and MLFLOW_TRACKING_TOKEN or MLFLOW_TRACKING_PASSWORD would go there: use an address with https://";
            return Err(NetError::new(Kind::Usage, home.as_str(), reason));
        }
        net.authorize(home, tracking)
    }

    /// A client for whatever is fetched.
    pub(crate) fn net<'a>(&self, stop: &'a (dyn Fn() -> bool + Sync)) -> Result<Net<'a>, NetError> {
        let home = self.endpoint()?;
        Net::new(self.token.as_deref().map(|token| (&home, token)), stop)
    }
}

/// Whether others can read what goes there.
fn is_open(home: &Url) -> bool {
    let here = home.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    home.scheme() != "https" && !here
}

/// What MLflow's own tools send.
fn tracking(said: &impl Fn(&str) -> Option<String>) -> Option<String> {
    use base64ct::{Base64, Encoding};
    let basic = || {
        let (user, password) = (said("MLFLOW_TRACKING_USERNAME")?, said("MLFLOW_TRACKING_PASSWORD")?);
        Some(format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes())))
    };
    basic().or_else(|| said("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}")))
}

/// An address of a server, without anything that is a secret or no part of it.
pub(crate) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("it is no address: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err("write an address that begins with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address with a name or a password in it is not taken".to_owned());
    }
    if url.fragment().is_some() {
        return Err("an address ends before `#`".to_owned());
    }
    Ok(url)
}

fn token(said: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, AccessError> {
    if let Some(token) = said("HF_TOKEN") {
        return Ok(Some(token));
    }
    let named = said("HF_TOKEN_PATH").map(PathBuf::from);
    let home = || {
        let cache = said("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(Path::new(&said("HOME")?).join(".cache")));
        said("HF_HOME").map(PathBuf::from).or_else(|| Some(cache?.join("huggingface")))
    };
    let Some(path) = named.clone().or_else(|| Some(home()?.join("token"))) else { return Ok(None) };
    match store::read(&path, MOST_TOKEN) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AccessError::Token { path, source }),
    }
}

/// Why the environment leads to no hub.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// An address that is none.
    #[error("HF_ENDPOINT: {reason}")]
    Endpoint {
        /// Why.
        reason: String,
    },
    /// A token would be readable on its way.
    #[error("{home} is not encrypted, and a token would go there")]
    Unencrypted {
        /// The hub's address.
        home: String,
    },
    /// The file with the token.
    #[error("the token in {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Explain for AccessError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::Endpoint { .. } => "such as HF_ENDPOINT=https://huggingface.co, which is the default",
            Self::Unencrypted { .. } => "use an address with https://, or set HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to send no token",
            Self::Token { .. } => "set HF_TOKEN, or HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to send no token",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<(String, Option<String>), String> {
        let read = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let access = Access::from_environment(read).map_err(|error| error.to_string())?;
        assert!(!format!("{access:?}").contains("hf_x"), "a token is shown");
        Ok((access.endpoint().expect("an address").to_string(), access.token))
    }

    #[test]
    fn the_environment_is_read_as_the_hubs_own_tools_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().display().to_string();
        std::fs::write(folder.path().join("token"), " hf_x2\n").expect("written");
        let hub = |token: Option<&str>| Ok(("https://huggingface.co/".to_owned(), token.map(str::to_owned)));
        assert_eq!(of(&[]), hub(None));
        assert_eq!(of(&[("HF_TOKEN", "hf_x1\n"), ("HF_HOME", &home)]), hub(Some("hf_x1")));
        assert_eq!(of(&[("HF_TOKEN", ""), ("HF_HOME", &home)]), hub(Some("hf_x2")));
        assert_eq!(of(&[("HF_TOKEN_PATH", &format!("{home}/token"))]), hub(Some("hf_x2")));
        assert_eq!(of(&[("HF_TOKEN", "hf_x1"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), hub(None));
        assert_eq!(of(&[("HF_HOME", &format!("{home}/nowhere"))]), hub(None));
        assert!(of(&[("HF_TOKEN_PATH", &format!("{home}/nowhere"))]).unwrap_err().contains("the token in"));
        let mirror = of(&[("HF_ENDPOINT", "http://127.0.0.1:8080/hf"), ("HF_TOKEN", "hf_x1")]).expect("a mirror on this machine");
        assert_eq!(mirror, ("http://127.0.0.1:8080/hf".to_owned(), Some("hf_x1".to_owned())));
        assert!(of(&[("HF_ENDPOINT", "http://mirror"), ("HF_TOKEN", "hf_x1")]).unwrap_err().contains("not encrypted"));
        assert!(of(&[("HF_ENDPOINT", "http://mirror")]).is_ok());
        for wrong in ["mirror", "ftp://mirror", "https://a:b@mirror", "https://mirror/#x", "file:///etc"] {
            assert!(of(&[("HF_ENDPOINT", wrong)]).is_err(), "{wrong}");
        }
    }
}
