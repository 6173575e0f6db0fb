//! Changing one thing by itself: which state of it is meant, and why a change is refused.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::database::{Row, Transaction};
use super::{Result, StoreError};
use crate::reference::RuntimeRef;
use crate::version::InvalidVersion;

/// A state of something that is kept: another one with every change, and never the same again, not even when it is deleted
/// and made anew. Who changes what he has read says which state that was, and is refused if it is not the last any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(Uuid);

impl Revision {
    /// That of what is not kept here: nothing ever has it.
    pub(super) fn of_nothing() -> Self {
        Self(Uuid::nil())
    }

    /// That of a change that is made now.
    pub(super) fn new() -> Self {
        Self(Uuid::now_v7())
    }

    pub(super) fn of(row: &Row) -> Result<Self> {
        row.try_get("revision").map(Self)
    }

    pub(super) fn value(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(formatter)
    }
}

impl FromStr for Revision {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// What can be changed by itself, or is needed by what can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pack,
    /// A pack's, which serves runtimes.
    Component,
    Runtime,
    Version,
    Action,
    Sensor,
    /// Of the API.
    Token,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pack => "pack",
            Self::Component => "component",
            Self::Runtime => "runtime",
            Self::Version => "version",
            Self::Action => "action",
            Self::Sensor => "sensor",
            Self::Token => "token",
        })
    }
}

/// Why something was not changed. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is to be made, and is there.
    #[error("the {kind} `{name}` is there already")]
    Duplicate {
        kind: Kind,
        /// As it is called there.
        name: String,
    },
    /// It is to be changed or deleted, and is not there.
    #[error("there is no {kind} `{name}`")]
    NotFound { kind: Kind, name: String },
    /// What it belongs to, or is started with, is not there.
    #[error("`{name}` needs the {kind} `{needed}`, which is not there")]
    Unknown {
        /// What was to be written.
        name: String,
        /// What is missing.
        kind: Kind,
        needed: String,
    },
    /// The runtime that it names may be one or the other.
    #[error("`{name}` asks for the runtime `{text}`, which may mean {}: write which", listed(.meant))]
    Ambiguous {
        /// What was to be written.
        name: String,
        /// The runtime, as it was written.
        text: String,
        meant: Vec<RuntimeRef>,
    },
    /// Somebody else has changed it since it was read.
    #[error("the {kind} `{name}` has been changed by somebody else: read it again")]
    Changed { kind: Kind, name: String },
    /// Others need it.
    #[error("the {kind} `{name}` is used by {}", listed(.users))]
    InUse {
        kind: Kind,
        name: String,
        /// References, in their order.
        users: Vec<String>,
    },
    /// That is no version that can be declared.
    #[error("the version `{}` can't be read: {source}", source.text)]
    InvalidVersion {
        #[from]
        source: InvalidVersion,
    },
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn listed(names: &[impl fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A row that nobody else changes or deletes before the end of the transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Locked {
    pub(super) id: i64,
    /// The pack that it belongs to, or is.
    pub(super) pack: i64,
    pub(super) revision: Revision,
    /// Made by somebody, not by a pack.
    pub(super) ad_hoc: bool,
}

/// Locks the row with a reference, if there is one. `lock` changes nothing, which takes the lock on every engine.
async fn lock(transaction: &mut Transaction, lock: &'static str, reference: &str) -> Result<Option<Locked>> {
    let row = transaction.query(lock).bind(reference).fetch_optional().await?;
    row.map(|row| {
        Ok(Locked {
            id: row.try_get("id")?,
            pack: row.try_get("pack")?,
            revision: Revision::of(&row)?,
            ad_hoc: row.try_get("ad_hoc")?,
        })
    })
    .transpose()
}

impl Kind {
    /// Locks the one with a reference, if there is one. Packs are locked before runtimes, and those before what is
    /// started with them.
    pub(super) async fn lock(self, transaction: &mut Transaction, reference: &str) -> Result<Option<Locked>> {
        let statement = match self {
            Self::Pack => {
                "update pack set label = label where ref = $1 returning id, id as pack, revision, false as ad_hoc"
            }
            Self::Runtime => {
                "update runtime set label = label where ref = $1 returning id, pack, revision, ad_hoc"
            }
            Self::Action => {
                "update action set label = label where ref = $1 returning id, pack, revision, ad_hoc"
            }
            Self::Sensor => {
                "update sensor set label = label where ref = $1 returning id, pack, revision, ad_hoc"
            }
            // They are locked with what they belong to, and have no reference.
            Self::Component | Self::Version | Self::Token => return Ok(None),
        };
        lock(transaction, statement, reference).await
    }

    /// Locks the one that is to be changed; with `expected`, only in that state.
    pub(super) async fn lock_for_change(
        self,
        transaction: &mut Transaction,
        reference: &str,
        expected: Option<Revision>,
    ) -> Result<Locked, ChangeError> {
        let name = || reference.to_owned();
        let locked = self.lock(transaction, reference).await?;
        let locked = locked.ok_or_else(|| ChangeError::NotFound { kind: self, name: name() })?;
        self.check(locked.revision, expected, name)?;
        Ok(locked)
    }

    /// Refuses a change of another state than the last.
    pub(super) fn check(
        self,
        last: Revision,
        expected: Option<Revision>,
        name: impl FnOnce() -> String,
    ) -> Result<(), ChangeError> {
        match expected {
            Some(expected) if expected != last => Err(ChangeError::Changed { kind: self, name: name() }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Locks the pack that something new is to belong to, which must not be there yet: no other is made meanwhile.
pub(super) async fn lock_for_new(
    transaction: &mut Transaction,
    kind: Kind,
    pack: &str,
    reference: &str,
) -> Result<i64, ChangeError> {
    let Some(pack_row) = Kind::Pack.lock(transaction, pack).await? else {
        let (name, needed) = (reference.to_owned(), pack.to_owned());
        return Err(ChangeError::Unknown { name, kind: Kind::Pack, needed });
    };
    match kind.lock(transaction, reference).await? {
        Some(_) => Err(ChangeError::Duplicate { kind, name: reference.to_owned() }),
        None => Ok(pack_row.id),
    }
}
