//! `attune plugin test`: the scenarios of a pack.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use super::super::failure::{Exit, Failed};
use super::super::options::Options;
use super::super::output::{Output, Tone};
use super::super::pack::problems_failed;
use super::super::progress::Progress;
use super::library::{Library, runtime_of};
use crate::pack::problem::{Problems, counted};
use crate::pack::scenario::{self, Scenario};
use crate::plugin::{PluginError, Plugins};
use crate::printable::printable;
use crate::scenario::{Difference, Played, play};
use crate::worker::plugin_settings;

/// The arguments.
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// The folder of a pack
    pack: PathBuf,
    /// Only scenarios whose file has one of these words in its name
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A further pack that this one builds on; those that come with Attune are there anyway
    #[arg(long, value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Show what was answered, also where all is as expected
    #[arg(long)]
    answers: bool,
}

/// What came of one file.
#[derive(Serialize)]
struct Tested {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    passed: bool,
    calls: Vec<TestedCall>,
    /// Why nothing could be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct TestedCall {
    call: &'static str,
    line: usize,
    passed: bool,
    differences: Vec<Difference>,
    /// What programs were asked that the machine has no answer for.
    unanswered: Vec<String>,
    answer: Json,
}

impl From<Played> for TestedCall {
    fn from(played: Played) -> Self {
        Self {
            call: played.name,
            line: played.position.line,
            passed: played.is_good(),
            differences: played.differences,
            unanswered: played.unanswered,
            answer: played.answer,
        }
    }
}

impl Test {
    pub(super) async fn execute(&self, options: &Options, output: &Output) -> Result<Exit, Failed> {
        let mut library = Library::embedded().map_err(|problems| problems_failed(&problems, false))?;
        for folder in &self.with {
            library.open(folder, output.talk_colour)?;
        }
        let reference = library.open(&self.pack, output.talk_colour)?.reference.clone();
        let scenarios = self.scenarios(output)?;
        let plugins = Plugins::new(plugin_settings(&options.settings(output)?));
        let progress = Progress::begin(output);
        let mut tested = Vec::new();
        for scenario in scenarios {
            progress.say(format!("{} of {reference}", scenario.source.path));
            tested.push(test(&library, &reference, &plugins, &scenario).await);
        }
        progress.end();
        let failed = tested.iter().filter(|tested| !tested.passed).count();
        output.data(&tested, || {
            tested.iter().map(|tested| shown(tested, &self.pack, self.answers, output)).collect()
        })?;
        let all = counted(tested.len(), "scenario");
        if failed == 0 {
            output.say(&format!("{all} of {reference}: all as expected"));
            return Ok(Exit::Success);
        }
        Err(Failed::message(
            Exit::Failure,
            format!("{failed} of {all} of {reference} went otherwise than expected"),
        ))
    }

    /// The pack's scenarios that are asked for, or every mistake in them.
    fn scenarios(&self, output: &Output) -> Result<Vec<Scenario>, Failed> {
        let mut problems = Problems::default();
        let files = files(&self.pack)?;
        let is_asked =
            |name: &str| self.names.is_empty() || self.names.iter().any(|part| name.contains(part));
        let asked: Vec<_> = files.iter().filter(|(name, _)| is_asked(name)).collect();
        if asked.is_empty() {
            let folder = self.pack.join(scenario::FOLDER);
            let failed = if files.is_empty() {
                Failed::message(Exit::NotFound, format!("there are no scenarios in {}", folder.display()))
                    .hint("write one by hand, or have it written from this machine: `attune plugin record --help`")
            } else {
                let names = files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                Failed::message(Exit::NotFound, format!("no scenario is called that: there are {names}"))
            };
            return Err(failed);
        }
        let read = asked.iter().map(|(name, bytes)| {
            scenario::read(&format!("{}{name}", scenario::FOLDER), bytes, &mut problems)
        });
        let read: Vec<_> = read.collect();
        read.into_iter().collect::<Option<Vec<_>>>().filter(|_| problems.is_empty()).ok_or_else(|| {
            Failed::message(Exit::Input, format!("the scenarios have {problems}"))
                .report(problems.render(output.talk_colour))
        })
    }
}

/// The files of scenarios with their names, sorted.
fn files(pack: &Path) -> Result<Vec<(String, Vec<u8>)>, Failed> {
    let folder = pack.join(scenario::FOLDER);
    let unreadable = |path: &Path, error: io::Error| {
        Failed::new(
            Exit::Failure,
            anyhow::Error::new(error).context(format!("can't read {}", path.display())),
        )
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&folder, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&folder, error))?.path();
        let is_scenario = path.extension().is_some_and(|extension| extension == "yaml");
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| is_scenario) else {
            continue;
        };
        files.push((name.to_owned(), fs::read(&path).map_err(|error| unreadable(&path, error))?));
    }
    files.sort();
    Ok(files)
}

async fn test(
    library: &Library,
    reference: &crate::reference::PackRef,
    plugins: &Plugins,
    scenario: &Scenario,
) -> Tested {
    let played = match called(library, reference, scenario) {
        Ok((runtime, source)) => async {
            let plugin = plugins.load(&source).await?;
            play(plugins, &plugin, runtime, scenario).await
        }
        .await
        .map_err(|error: PluginError| error.to_string()),
        Err(error) => Err(error),
    };
    let (calls, error) = match played {
        Ok(played) => (played.into_iter().map(TestedCall::from).collect::<Vec<_>>(), None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Tested {
        file: scenario.source.path.clone(),
        description: scenario.description.clone(),
        passed: error.is_none() && calls.iter().all(|call| call.passed),
        calls,
        error,
    }
}

/// The runtime that a scenario is about, and its component.
fn called<'l>(
    library: &'l Library,
    reference: &crate::reference::PackRef,
    scenario: &Scenario,
) -> Result<(&'l crate::pack::Runtime, crate::plugin::ComponentSource), String> {
    let pack = library.pack(reference).ok_or("the pack is gone")?;
    let runtime = runtime_of(pack, scenario.runtime.as_ref().map(|(name, _)| name.as_str()))?;
    let source = library.component(runtime);
    Ok((runtime, source.ok_or_else(|| format!("the component of `{}` is not at hand", runtime.reference))?))
}

/// A line if all is well, and every difference if it is not.
fn shown(tested: &Tested, pack: &Path, answers: bool, output: &Output) -> String {
    let (tone, word) = if tested.passed { (Tone::Good, "ok") } else { (Tone::Bad, "failed") };
    let place = pack.join(&tested.file).display().to_string();
    let description = tested.description.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    let mut text =
        format!("{:<6}  {}\n", output.data_tone(tone, word), printable(&format!("{place}{description}")));
    // Writing to a string can't fail.
    if let Some(error) = &tested.error {
        let _ = writeln!(text, "    {}", printable(error));
    }
    for call in &tested.calls {
        for Difference { path, expected, got, position } in &call.differences {
            let of = if path.is_empty() { String::new() } else { format!(" {path}") };
            let _ = writeln!(text, "    {place}:{}:{}: {}{of}", position.line, position.column, call.call);
            let _ = writeln!(text, "        expected  {}", indented(expected));
            let _ = writeln!(text, "        got       {}", indented(got));
        }
        for run in &call.unanswered {
            let _ = writeln!(text, "    {place}:{}: {} ran {}", call.line, call.call, printable(run));
            let _ = writeln!(text, "        the machine has no answer for that: add one to its `programs`");
        }
        if answers {
            let answer = printable(&format!("{:#}", call.answer)).replace('\n', "\n    ");
            let _ = writeln!(text, "    {}: {answer}", call.call);
        }
    }
    text
}

/// Further lines below the first.
fn indented(text: &str) -> String {
    printable(text).replace('\n', "\n                  ")
}
