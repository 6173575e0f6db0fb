//! `attune pack lock` and `attune pack sign`, and who vouches for what is installed.

use std::path::Path;

use serde::Serialize;

use super::read;
use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::pack::bundle::Bundle;
use crate::pack::lock;
use crate::pack::signature::{self, Policy, SecretKey, Unverified};
use crate::worker::Worker;

/// What was written, as `--json` shows it.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    pub(super) path: &'a Path,
}

/// Writes a file for whoever installs the pack.
fn write(path: &Path, text: &str, output: &Output) -> Result<Exit, Failed> {
    std::fs::write(path, text).map_err(|error| {
        let context = format!("can't write `{}`", path.display());
        Failed::new(Exit::Failure, anyhow::Error::new(error).context(context))
    })?;
    output.data(&Written { path }, || path.display().to_string())?;
    Ok(Exit::Success)
}

pub(super) fn lock(folder: &Path, output: &Output) -> Result<Exit, Failed> {
    if folder.is_file() {
        let message = "only the folder of a pack can be locked";
        return Err(Failed::message(Exit::Input, message).hint("unpack the archive first"));
    }
    let text = lock::of(&read(folder)?).ok_or_else(|| {
        Failed::message(Exit::Input, "there is nothing to lock: the pack has no components")
    })?;
    write(&folder.join(lock::LOCK), &text, output)
}

pub(super) fn sign(path: &Path, key: &Path, output: &Output) -> Result<Exit, Failed> {
    let bundle = read(path)?;
    let secret = SecretKey::read(key).map_err(|error| {
        let context = format!("can't use the key `{}`", key.display());
        Failed::new(Exit::Input, anyhow::Error::new(error).context(context))
            .hint("`attune key new FILE` makes one")
    })?;
    write(&signature::path_of(path), &secret.sign(&bundle.digest()), output)
}

/// The name of the trusted key that a pack is signed with.
pub(in crate::cli) fn signer(worker: &Worker, path: &Path, bundle: &Bundle) -> Result<String, Unverified> {
    signature::verify(&signature::path_of(path), &bundle.digest(), &worker.settings.trusted_keys)
}

/// The name of the trusted key that a pack is signed with. Refused, or warned of, if there is none and the settings say so.
pub(super) fn verified(
    worker: &Worker,
    path: &Path,
    bundle: &Bundle,
    output: &Output,
) -> Result<Result<String, Unverified>, Failed> {
    let verified = signer(worker, path, bundle);
    match (&verified, worker.settings.signatures) {
        (Ok(_), _) | (Err(_), Policy::Off) => {}
        (Err(error), Policy::Warn) => output.warn(&format!("the pack is not verified: {error}")),
        (Err(error), Policy::Require) => {
            let message =
                format!("the pack is not verified, which the setting `signatures` requires: {error}");
            return Err(Failed::message(Exit::NotApproved, message)
                .hint("have it signed by one of `[trusted_keys]`: attune pack sign PACK --key FILE"));
        }
    }
    Ok(verified)
}
