//! Where a server is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::api;

/// The address of a server, without the path of its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServerUrl(Url);

/// That a text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a server: {problem}")]
pub(crate) struct InvalidServer {
    text: String,
    problem: String,
}

impl ServerUrl {
    /// Whether what is sent there stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether nobody on the way can read what is sent there.
    pub(crate) fn is_private(&self) -> bool {
        self.is_encrypted() || self.is_loopback()
    }

    /// What is at a path of the API.
    pub(super) fn at(&self, path: &[&str]) -> Url {
        let mut url = self.0.clone();
        // An address has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(api::PREFIX.split('/').skip(1)).extend(path);
        }
        url
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidServer;

    fn from_str(text: &str) -> Result<Self, InvalidServer> {
        // What is wrong may have a password in it.
        let failed =
            |text: &str, problem: &str| InvalidServer { text: text.to_owned(), problem: problem.to_owned() };
        let Some((scheme, _)) = text.split_once("://") else {
            return Err(failed(text, "write `https://HOST`, or `http://localhost:PORT`"));
        };
        let mut url = Url::parse(text).map_err(|error| failed(text, &error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(failed(&format!("{scheme}://…"), "it is not to have a name or a password in it"));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(failed(text, "it begins with `https://` or `http://`, and a host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(failed(text, "it ends with the path, if it has one"));
        }
        // As `attune serve` says where it is.
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix(api::PREFIX).unwrap_or(path).to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = InvalidServer;

    fn try_from(text: String) -> Result<Self, InvalidServer> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(server: ServerUrl) -> Self {
        server.to_string()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown, at) in [
            ("http://localhost:7370", "http://localhost:7370", "http://localhost:7370/api/v1/packs/a%2Fb"),
            (
                "http://127.0.0.1:7370/api/v1",
                "http://127.0.0.1:7370",
                "http://127.0.0.1:7370/api/v1/packs/a%2Fb",
            ),
            (
                "https://example.org/attune/",
                "https://example.org/attune",
                "https://example.org/attune/api/v1/packs/a%2Fb",
            ),
        ] {
            let server = text.parse::<ServerUrl>().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(server.at(&["packs", "a/b"]).as_str(), at);
        }
        for text in ["", "localhost:7370", "ftp://example.org", "https://", "https://example.org/?a=b"] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
        let error = "https://me:word@example.org".parse::<ServerUrl>().unwrap_err().to_string();
        assert!(!error.contains("word@"), "{error}");
    }

    #[test]
    fn what_stays_on_this_machine_or_is_encrypted_is_private() {
        let private = |text: &str| text.parse::<ServerUrl>().unwrap().is_private();
        for text in ["http://localhost", "http://127.1.2.3:80", "http://[::1]:7370", "https://example.org"] {
            assert!(private(text), "{text}");
        }
        for text in ["http://example.org", "http://localhost.example.org", "http://10.0.0.1", "http://[::2]"]
        {
            assert!(!private(text), "{text}");
        }
    }
}
