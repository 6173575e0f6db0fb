//! Where the data is kept, as operators write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// SQLite, in this file.
    File(PathBuf),
    /// PostgreSQL, at this URL.
    Server(String),
}

/// A text that says no such thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write `sqlite://` and the path of a file, or `postgres://user@host/database`")]
pub struct InvalidLocation;

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_file = !path.is_empty() && !path.starts_with(':') && !path.contains('?');
            return if is_file { Ok(Self::File(path.into())) } else { Err(InvalidLocation) };
        }
        match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(Self::Server(text.to_owned())),
            _ => Err(InvalidLocation),
        }
    }
}

/// Without the password.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self {
            Self::File(path) => return write!(formatter, "{}", path.display()),
            Self::Server(url) => url,
        };
        let Some((scheme, rest)) = url.split_once("://") else { return formatter.write_str(url) };
        // Parameters may hold one as well.
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split(':').next().unwrap_or_default();
                write!(formatter, "{scheme}://{user}@{host}")
            }
            None => write!(formatter, "{scheme}://{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let shown = text.parse::<Location>().ok().map(|location| location.to_string());
        assert_eq!(shown.as_deref(), expected, "{text}");
    }

    #[test]
    fn locations_are_read_and_shown_without_passwords() {
        check("sqlite:///srv/attune.db", Some("/srv/attune.db"));
        check("sqlite://attune.db", Some("attune.db"));
        check("sqlite:attune.db", Some("attune.db"));
        check("postgres://attune:s3cret@db.example/attune", Some("postgres://attune@db.example/attune"));
        check("postgresql:///attune?password=s3cret", Some("postgresql:///attune"));
        check("postgres://a:b@c@host/x", Some("postgres://a@host/x"));
        for none in [
            "",
            "attune.db",
            "mysql://host/db",
            "sqlite:",
            "sqlite::memory:",
            "postgres://",
            "sqlite://a?mode=ro",
        ] {
            check(none, None);
        }
    }
}
