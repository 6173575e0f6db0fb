//! Variables that look like settings and are none: without a word, a misspelt one would do nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::KEYS;
use crate::nearest::{did_you_mean, nearest};

const PREFIX: &str = "ATTUNE_";

/// Variables that the program reads beside the settings.
const READ: [&str; 8] = [
    "ATTUNE_CONFIG",
    "ATTUNE_LOG",
    "ATTUNE_PROFILE",
    "ATTUNE_SERVER",
    "ATTUNE_TEST_MACHINE",
    "ATTUNE_TEST_PACK",
    "ATTUNE_TEST_RUNTIME",
    "ATTUNE_TOKEN",
];

/// Variables that an action is given, and hands on if it starts the program itself.
const GIVEN: [&str; 8] = [
    "ATTUNE_ACTION",
    "ATTUNE_ATTEMPT",
    "ATTUNE_EXECUTION_ID",
    "ATTUNE_PACK",
    "ATTUNE_PACK_DIR",
    "ATTUNE_PARAMETERS_FILE",
    "ATTUNE_RUNTIME",
    "ATTUNE_RUNTIME_VERSION",
];

/// A warning for each variable that was probably meant to set something.
pub(super) fn warnings(variables: &BTreeMap<OsString, OsString>) -> Vec<String> {
    let settable = || KEYS.iter().map(|key| key.variable).chain(READ);
    let names = variables.keys().filter_map(|name| name.to_str());
    let unknown = names.filter(|name| {
        name.starts_with(PREFIX) && !settable().any(|known| known == *name) && !GIVEN.contains(name)
    });
    unknown
        .map(|name| {
            // Without what they all begin with, by which any two would be alike.
            let rest = &name[PREFIX.len()..];
            let nearest = nearest(settable().map(|known| (&known[PREFIX.len()..], known)), rest)
                .map_or_else(|| "; `attune config show` lists those that do".to_owned(), did_you_mean);
            format!("the variable `{name}` sets nothing{nearest}")
        })
        .collect()
}
