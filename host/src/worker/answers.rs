//! What components answered, for as long as nothing has changed that the answer depended on.
//!
//! A component has no state and sees the machine only through the host, so an answer depends on what was asked,
//! on the component and its grants, and on what the host showed it, which the host knows. While all of
//! that is the same, asking again would give the same, and WebAssembly need not even be started.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Worker;
use crate::detection::DetectionError;
use crate::digest;
use crate::installation::Identity;
use crate::pack::Grants;
use crate::plugin::{Answer, Function, PluginError, RuntimePlugin, Scanned};
use crate::store::answer::AnswerKey;
use crate::store::runtime::RuntimeRow;

/// An answer and what it depended on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept<T> {
    pub value: T,
    /// The programs that the component was told of.
    pub tools: BTreeMap<PathBuf, Identity>,
    scanned: Vec<Scanned>,
}

impl<T> Kept<T> {
    /// What is so, whatever is on the machine.
    pub(crate) fn of(value: T) -> Self {
        Self { value, tools: BTreeMap::new(), scanned: Vec::new() }
    }

    fn still_holds(&self) -> bool {
        self.scanned.iter().all(Scanned::is_unchanged)
            && self.tools.iter().all(|(path, identity)| Identity::of(path).is_ok_and(|now| now == *identity))
    }
}

impl<T> From<Answer<T>> for Kept<T> {
    fn from(answer: Answer<T>) -> Self {
        Self { value: answer.value, tools: answer.tools, scanned: answer.scanned }
    }
}

impl Worker {
    /// What the component of `runtime` answers to `asked`. It is only asked, by `ask`, if it has not
    /// answered before or something has changed since; an answer is kept if it is `worth_keeping`.
    pub async fn answer<T, E, F>(
        &self,
        runtime: &RuntimeRow,
        (function, asked): (Function, &(impl Serialize + Sync)),
        worth_keeping: impl Fn(&T) -> bool,
        ask: impl FnOnce(RuntimePlugin) -> F,
    ) -> Result<Kept<T>, E>
    where
        T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        E: From<DetectionError> + From<PluginError>,
        F: Future<Output = Result<Kept<T>, E>>,
    {
        let Some(used) = &runtime.plugin else {
            return ask(self.runtime_plugin(runtime).await?).await;
        };
        let asked = digest::of_json(&(self.surroundings(runtime), asked));
        let function = function.to_string();
        let key = AnswerKey { plugin: &used.sha256, function: &function, asked: &asked };
        let known = self.store.answer::<Kept<T>>(self.id, key).await.map_err(DetectionError::from)?;
        if let Some(kept) = known.filter(Kept::still_holds) {
            return Ok(kept);
        }
        let kept = ask(self.runtime_plugin(runtime).await?).await?;
        if worth_keeping(&kept.value) {
            self.store.keep_answer(self.id, key, &kept).await.map_err(DetectionError::from)?;
        }
        Ok(kept)
    }

    /// Everything but the disk and the question that an answer depends on: the component, what it may do,
    /// and the variables that it or its grants can see.
    pub(crate) fn surroundings(&self, runtime: &RuntimeRow) -> impl Serialize + use<> {
        let used = runtime.plugin.as_ref();
        let grants = self.grants(runtime);
        let always = ["PATH", "HOME"].map(str::to_owned);
        let names =
            grants.iter().flat_map(|grants| grants.variables.clone().into_iter().chain(named(grants)));
        let visible = names
            .chain(always)
            .map(|name| {
                let value = self.settings.process_variables.get(&name).cloned();
                (name, value)
            })
            .collect::<Vec<_>>();
        let patterns = runtime.runtime.patterns();
        (used.map(|used| used.sha256.clone()), grants, visible, runtime.settings().to_vec(), patterns)
    }
}

/// The variables that folders of grants are written with: `${NAME}` or `${NAME:-default}`.
fn named(grants: &Grants) -> Vec<String> {
    let searched = grants.search.iter().flat_map(|root| &root.folders);
    searched
        .chain(&grants.read)
        .flat_map(|folder| folder.split("${").skip(1))
        .map(|rest| {
            rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::SearchRoot;

    #[test]
    fn variables_in_folders_are_part_of_the_surroundings() {
        let folders = ["${A_ROOT:-~/.a}/versions/*/bin", "/opt/${B}/${C_1}/bin", "$PATH"].map(str::to_owned);
        let grants = Grants {
            search: vec![SearchRoot { source: "a".to_owned(), folders: folders.to_vec() }],
            read: vec!["${D}".to_owned()],
            ..Grants::default()
        };
        assert_eq!(named(&grants), ["A_ROOT", "B", "C_1", "D"]);
    }
}
