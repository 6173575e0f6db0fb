//! `attune resolve`, of a server: which of its installations is selected.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::cli::failure::{Exit, Failed};
use crate::cli::output::Output;
use crate::cli::resolve::{Resolve, parse, reference};
use crate::client::Client;
use crate::selection::rows_table;

#[derive(Serialize)]
struct Question<'a> {
    action: Option<&'a str>,
    runtime: Option<&'a str>,
    runtime_version_constraint: Option<String>,
    runtime_variant: Option<&'a str>,
}

#[derive(Deserialize)]
struct Resolution {
    stands_for: Option<String>,
    selected: Option<Json>,
    candidates: Vec<Candidate>,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Candidate {
    version: String,
    path: Option<String>,
    declared: Option<Declared>,
    chosen: bool,
    message: String,
}

/// The declared version that covers it.
#[derive(Deserialize)]
struct Declared {
    version: String,
}

pub(super) async fn execute(client: &Client, command: &Resolve, output: &Output) -> Result<Exit, Failed> {
    if !command.candidate.is_empty() {
        // Nobody has to be asked.
        return command.among_given(output);
    }
    let (action, constraint) = match (&command.runtime, &command.what) {
        (Some(_), constraint) => (None, constraint),
        (None, Some(action)) => {
            reference(action)?;
            (Some(action.as_str()), &command.constraint)
        }
        (None, None) => {
            return Err(Failed::message(Exit::Input, "name an action, or use --runtime or --candidate"));
        }
    };
    let constraint = constraint.as_deref().map(parse).transpose()?;
    let asked = constraint.as_ref().map(ToString::to_string);
    let question = Question {
        action,
        runtime: command.runtime.as_deref(),
        runtime_version_constraint: asked.clone(),
        runtime_variant: command.variant.as_deref(),
    };
    // That there is none is another error than that something is wrong with the question.
    match (action, command.runtime.as_deref()) {
        (Some(action), _) => client.get::<IgnoredAny>(&["actions", action], &[]).await?,
        (None, Some(runtime)) => client.get::<IgnoredAny>(&["runtimes", runtime], &[]).await?,
        (None, None) => IgnoredAny,
    };
    let document = client.post::<Json>(&["resolve"], &question).await?;
    let resolution = client.read::<Resolution>(&document)?;
    if !output.json {
        for warning in &resolution.warnings {
            output.warn(warning);
        }
        if let (Some(asked), Some(meaning)) = (asked, &resolution.stands_for) {
            output.say(&format!("`{asked}` stands for `{meaning}` there"));
        }
    }
    let rows = resolution.candidates.into_iter().map(|candidate| {
        let Candidate { version, path, declared, chosen, message } = candidate;
        let series =
            declared.map(|declared| declared.version).filter(|series| *series != version).unwrap_or_default();
        let mark = if chosen { "*" } else { "" }.to_owned();
        [mark, version, series, path.unwrap_or_default(), message]
    });
    let rows = rows.collect::<Vec<_>>();
    output.data(&document, || if rows.is_empty() { String::new() } else { rows_table(rows.into_iter()) })?;
    match resolution.selected {
        Some(_) => Ok(Exit::Success),
        None if output.json => Ok(Exit::NoMatch),
        None => {
            let text = "nothing on the machine of the server satisfies what is asked for";
            Err(Failed::message(Exit::NoMatch, text))
        }
    }
}
