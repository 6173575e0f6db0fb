//! Packs, sent to a server.

use std::convert::Infallible;

use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use reqwest::{Body, Method};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Client, Result, WORK_MAX};
use crate::pack::Grants;
use crate::pack::install::Asked;
use crate::pack::remove;
use crate::reference::{PackRef, RuntimeRef};

/// A pack that was installed, or would be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Installed {
    pub(crate) r#ref: String,
    pub(crate) version: String,
    /// SHA-256 of the bundle.
    pub(crate) digest: String,
    pub(crate) verified_by: Option<String>,
    /// Why nobody who is trusted vouches for it.
    pub(crate) unverified: Option<String>,
    pub(crate) replaced_version: Option<String>,
    pub(crate) runtimes: Vec<String>,
    pub(crate) actions: Vec<String>,
    pub(crate) sensors: Vec<String>,
    /// What it replaces has that it has not.
    pub(crate) gone: Vec<String>,
    pub(crate) asked: Vec<AskedGrants>,
    /// Whether nothing was done.
    pub(crate) dry_run: bool,
}

/// What the component of a runtime asks to be allowed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AskedGrants {
    runtime: RuntimeRef,
    grants: Grants,
    /// What was approved before.
    before: Option<Grants>,
    approved: bool,
    withheld: Vec<String>,
}

impl From<AskedGrants> for Asked {
    fn from(asked: AskedGrants) -> Self {
        let AskedGrants { runtime, grants, before, approved, withheld } = asked;
        Self { runtime, grants, before, approved, withheld }
    }
}

/// Something that is wrong with a file of a pack.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mistake {
    /// Relative to the pack.
    pub(crate) path: String,
    /// From 1; none if it is the whole file that is wrong.
    pub(crate) line: Option<usize>,
    /// In characters, from 1.
    pub(crate) column: Option<usize>,
    pub(crate) message: String,
    /// What would be right.
    pub(crate) hint: String,
}

/// Whether an archive is a pack that can be installed.
#[derive(Debug, Deserialize)]
pub(crate) struct Validity {
    pub(crate) r#ref: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) problems: Vec<Mistake>,
}

/// How a pack is to be installed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) archive: &'a [u8],
    /// As `attune pack sign` wrote it.
    pub(crate) signature: Option<&'a str>,
    /// Allow what its components ask for.
    pub(crate) approve: bool,
    /// Do none of it.
    pub(crate) dry_run: bool,
}

/// Bytes of an archive that are sent at a time.
const PART: usize = 64 << 10;

impl Client {
    /// Installs a pack, or says what would be done. `sent` is told how many bytes are on their way.
    pub(crate) async fn install(
        &self,
        upload: Upload<'_>,
        sent: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Installed> {
        let Upload { archive, signature, approve, dry_run } = upload;
        let query = [("approve", approve.to_string()), ("dry_run", dry_run.to_string())];
        self.send_archive(&["packs"], &query, (archive, signature), sent).await
    }

    /// Checks a pack, and installs nothing.
    pub(crate) async fn validate(
        &self,
        archive: &[u8],
        sent: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Validity> {
        self.send_archive(&["packs", "validate"], &[], (archive, None), sent).await
    }

    /// Removes a pack.
    pub(crate) async fn remove_pack(&self, pack: &PackRef) -> Result<()> {
        self.answer(self.request(Method::DELETE, &["packs", pack.as_str()], &[])).await?;
        Ok(())
    }

    /// What removing a pack would take away.
    pub(crate) async fn removal_of(&self, pack: &PackRef) -> Result<remove::Plan> {
        let dry = [("dry_run", true.to_string())];
        self.document(self.request(Method::DELETE, &["packs", pack.as_str()], &dry)).await
    }

    async fn send_archive<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        (archive, signature): (&[u8], Option<&str>),
        sent: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<T> {
        let parts = archive.chunks(PART).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let mut on_its_way = 0;
        let body = stream::iter(parts).map(move |part| {
            on_its_way += part.len();
            sent(on_its_way);
            Ok::<_, Infallible>(part)
        });
        let mut request = self
            .stream(Method::POST, path, query)
            .timeout(WORK_MAX)
            .header(CONTENT_TYPE, "application/octet-stream")
            // So that one that is too large is refused before it is sent.
            .header(CONTENT_LENGTH, archive.len())
            .body(Body::wrap_stream(body));
        if let Some(signature) = signature {
            request = request.header(HeaderName::from_static("attune-signature"), signature.trim());
        }
        self.document(request).await
    }
}
