//! What is known of a runtime, whatever is installed of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::cli::output::{Output, Tone};
use crate::printable::printable;
use crate::store::runtime::RuntimeRow;

#[derive(Serialize, Deserialize)]
pub(in crate::cli) struct Known {
    #[serde(rename = "ref")]
    pub reference: String,
    label: String,
    aliases: Vec<String>,
    versions: Vec<KnownVersion>,
}

#[derive(Serialize, Deserialize)]
struct KnownVersion {
    version: String,
    is_default: bool,
    #[serde(alias = "declared")]
    is_declared: bool,
    available: bool,
    verified_at: Option<DateTime<Utc>>,
    meta: BTreeMap<String, String>,
}

impl From<&RuntimeRow> for Known {
    fn from(row: &RuntimeRow) -> Self {
        let versions = row.versions.iter().map(|row| KnownVersion {
            version: row.declared.version.clone(),
            is_default: row.declared.is_default,
            is_declared: row.is_declared,
            available: row.available,
            verified_at: row.verified_at,
            meta: row.declared.meta.clone(),
        });
        Self {
            reference: row.runtime.reference.to_string(),
            label: row.runtime.label.clone(),
            aliases: row.runtime.aliases.clone(),
            versions: versions.collect(),
        }
    }
}

impl Known {
    /// Reference, label, aliases and versions, for a table.
    pub(in crate::cli) fn row(&self, output: &Output) -> [String; 4] {
        let versions = self.versions.iter().filter(|version| version.is_declared).map(|version| {
            let default = if version.is_default { "*" } else { "" };
            let text = printable(&version.version).into_owned() + default;
            output.data_tone(if version.available { Tone::Good } else { Tone::Dim }, &text)
        });
        let versions = versions.collect::<Vec<_>>().join(" ");
        let plain = |text: &str| printable(text).into_owned();
        [plain(&self.reference), plain(&self.label), plain(&self.aliases.join(", ")), versions]
    }

    /// Everything, a line each.
    pub(in crate::cli) fn text(&self, description: Option<&str>, aliases: &[(String, String)]) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                // Writing to a string can't fail.
                let _ = writeln!(text, "{name:<14}{}", printable(value));
            }
        };
        line("runtime", &self.reference);
        line("label", &self.label);
        line("description", description.unwrap_or_default().trim());
        line("aliases", &self.aliases.join(", "));
        for version in &self.versions {
            let mut notes = Vec::new();
            if version.is_default {
                notes.push("default".to_owned());
            }
            if !version.is_declared {
                notes.push("detected, not declared".to_owned());
            }
            notes.push(if version.available { "available" } else { "not available" }.to_owned());
            notes.extend(version.meta.iter().map(|(name, value)| format!("{name} {value}")));
            line("version", &format!("{:<10}{}", version.version, notes.join(", ")));
        }
        let aliases = aliases.iter().map(|(name, constraint)| format!("{name} = {constraint}"));
        line("can be asked", &aliases.collect::<Vec<_>>().join(", "));
        text
    }
}
