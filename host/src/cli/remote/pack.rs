//! `attune pack`, of a server.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::failure::{Exit, Failed};
use crate::cli::grants::asked_text;
use crate::cli::output::Output;
use crate::cli::pack::install::{AskedView, PlanView, confirmed, installed_line, plan_text, vouched};
use crate::cli::pack::remove::print_plan;
use crate::cli::pack::show::{given, head, programs};
use crate::cli::pack::{Pack, invalid, print_list, read_to_check};
use crate::cli::progress::Progress;
use crate::cli::runtime::Known;
use crate::client::packs::{Installed, Mistake, Upload};
use crate::client::{Client, ClientError};
use crate::pack::bundle::Bundle;
use crate::pack::install::Asked;
use crate::pack::problem::{Problems, Source, counted};
use crate::pack::signature;
use crate::pack::unfit;
use crate::printable::printable;
use crate::reference::PackRef;
use crate::store::pack::PackRow;

/// As many actions of a pack as are shown.
const PROGRAMS_MAX: usize = 10_000;

pub(super) async fn execute(client: &Client, command: Pack, output: &Output) -> Result<Exit, Failed> {
    match command {
        Pack::List => {
            let packs = client.all::<PackRow>(&["packs"]).await?;
            print_list(&packs, output)?;
        }
        Pack::Show { pack } => {
            let shipped = shipped(client, &pack).await?;
            output.data(&shipped, || describe(&shipped))?;
        }
        Pack::Install { path, approve, dry } => {
            install(client, &path, (approve, dry.dry_run), output).await?;
        }
        Pack::Validate { path } => validate(client, &path, output).await?,
        Pack::Remove { pack, dry } => {
            if dry.dry_run {
                print_plan(&client.removal_of(&pack).await?, output)?;
                return Ok(Exit::Success);
            }
            client.remove_pack(&pack).await?;
            output.say(&format!("removed {pack}"));
        }
        // They are about files.
        Pack::Lock { .. } | Pack::Sign { .. } | Pack::New { .. } => {}
    }
    Ok(Exit::Success)
}

/// An action or a sensor in a list.
#[derive(Serialize, Deserialize)]
struct Program {
    r#ref: String,
    label: String,
    runtime: String,
    runtime_version_constraint: Option<String>,
}

impl Program {
    fn row(&self) -> [String; 4] {
        let plain = |text: &str| printable(text).into_owned();
        let constraint = given(self.runtime_version_constraint.as_deref().map(plain));
        [plain(&self.r#ref), plain(&self.runtime), constraint, plain(&self.label)]
    }
}

/// What a pack ships, as `--json` shows it.
#[derive(Serialize)]
struct Shipped {
    #[serde(flatten)]
    pack: PackRow,
    runtimes: Vec<String>,
    actions: Vec<Program>,
    sensors: Vec<Program>,
}

async fn shipped(client: &Client, pack: &PackRef) -> Result<Shipped, Failed> {
    let row = client.get::<PackRow>(&["packs", pack.as_str()], &[]).await?;
    let of_pack = [("pack", pack.to_string())];
    let actions = client.list(&["actions"], &of_pack, PROGRAMS_MAX).await?;
    let sensors = client.list(&["sensors"], &of_pack, PROGRAMS_MAX).await?;
    let runtimes = client.all::<Known>(&["runtimes"]).await?.into_iter();
    let is_own = |name: &String| name.split_once('.').is_some_and(|(of, _)| of == pack.as_str());
    let runtimes = runtimes.map(|known| known.reference).filter(is_own).collect();
    Ok(Shipped { pack: row, runtimes, actions, sensors })
}

fn describe(shipped: &Shipped) -> String {
    let runtimes =
        shipped.runtimes.iter().map(|runtime| format!("{:<14}{}\n", "runtime", printable(runtime)));
    let mut text = head(&shipped.pack) + &runtimes.collect::<String>();
    for (heading, items) in [("ACTION", &shipped.actions), ("SENSOR", &shipped.sensors)] {
        if !items.is_empty() {
            text.push('\n');
            text += &programs(heading, items.iter().map(Program::row));
        }
    }
    text
}

fn archive(bundle: &Bundle, output: &Output) -> Result<Vec<u8>, Failed> {
    // The server would not know of what is left out.
    let problems = unfit(bundle);
    if !problems.is_empty() {
        return Err(invalid(&problems, output)?);
    }
    bundle.to_archive().map_err(|error| {
        Failed::new(Exit::Failure, anyhow::Error::new(error).context("can't make an archive of the pack"))
    })
}

/// Says how much of a pack is on its way, and then what the server is `doing` with it.
fn on_its_way(
    progress: &Progress,
    archive: &[u8],
    doing: &'static str,
) -> impl Fn(usize) + Send + Sync + use<> {
    let (progress, all) = (progress.clone(), archive.len());
    let kibibytes = |bytes: usize| bytes.div_ceil(1 << 10);
    move |sent| {
        progress.say(if sent < all {
            format!("sending the pack: {} of {} KiB", kibibytes(sent), kibibytes(all))
        } else {
            format!("the pack is sent ({} KiB); the server {doing}", kibibytes(all))
        });
    }
}

async fn install(
    client: &Client,
    path: &Path,
    (approve, dry_run): (bool, bool),
    output: &Output,
) -> Result<(), Failed> {
    let bundle = read_to_check(path, output)?;
    let archive = archive(&bundle, output)?;
    // Only the server knows whom it trusts.
    let signature = std::fs::read_to_string(signature::path_of(path)).ok();
    let upload = Upload { archive: &archive, signature: signature.as_deref(), approve, dry_run };
    let doing = "checks it and compiles its components";
    let progress = Progress::begin(output);
    let mut outcome = client.install(upload, on_its_way(&progress, &archive, doing)).await;
    progress.end();
    if let Err(ClientError::Refused(refusal)) = &outcome
        && !refusal.asked.is_empty()
        && !dry_run
        && std::io::stdin().is_terminal()
        && output.watched
    {
        let asked = refusal.asked.iter().cloned().map(Asked::from).collect::<Vec<_>>();
        if confirmed(asked.iter())? {
            let progress = Progress::begin(output);
            let sent = on_its_way(&progress, &archive, doing);
            outcome = client.install(Upload { approve: true, ..upload }, sent).await;
            progress.end();
        }
    }
    let installed = outcome.map_err(|error| failed(error, &bundle, output))?;
    if dry_run {
        return show_plan(&installed, output);
    }
    output.data(&installed, || installed_text(&installed))?;
    Ok(())
}

fn installed_text(installed: &Installed) -> String {
    let Installed { r#ref, version, digest, replaced_version, .. } = installed;
    let mut text = installed_line(r#ref, version, digest, replaced_version.as_deref());
    text += &vouched(installed.verified_by.as_deref(), installed.unverified.as_deref());
    let lists = [
        ("no longer there", &installed.gone),
        ("runtimes", &installed.runtimes),
        ("actions", &installed.actions),
        ("sensors", &installed.sensors),
    ];
    let lists = lists.into_iter().filter(|(_, items)| !items.is_empty());
    for (name, items) in lists {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{name}: {}", items.join(", "));
    }
    printable(&text).into_owned()
}

fn show_plan(planned: &Installed, output: &Output) -> Result<(), Failed> {
    let asked = planned.asked.iter().cloned().map(Asked::from).collect::<Vec<_>>();
    let view = PlanView {
        reference: planned.r#ref.clone(),
        version: planned.version.clone(),
        digest: &planned.digest,
        verified_by: planned.verified_by.as_deref(),
        unverified: planned.unverified.clone(),
        replaces: None,
        replaces_version: planned.replaced_version.as_deref(),
        runtimes: planned.runtimes.clone(),
        actions: planned.actions.clone(),
        sensors: planned.sensors.clone(),
        gone: &planned.gone,
        grants: asked.iter().map(AskedView::new).collect(),
    };
    output.plan(&view, || printable(&plan_text(&asked, &view)).into_owned())?;
    Ok(())
}

/// Why a pack was not installed, as if it had been read here.
fn failed(error: ClientError, bundle: &Bundle, output: &Output) -> Failed {
    let ClientError::Refused(refusal) = &error else { return error.into() };
    if !refusal.problems.is_empty() {
        let problems = problems(&refusal.problems, bundle);
        return invalid(&problems, output).unwrap_or_else(std::convert::identity);
    }
    let asked = refusal.asked.iter().cloned().map(Asked::from);
    let report = asked.map(|asked| asked_text(&asked)).collect::<String>();
    if report.is_empty() {
        return error.into();
    }
    let failed = Failed::new(Exit::NotApproved, error).report(printable(&report));
    failed.hint("run it again with --approve to allow this")
}

async fn validate(client: &Client, path: &Path, output: &Output) -> Result<(), Failed> {
    #[derive(Serialize)]
    struct Checked<'a> {
        valid: bool,
        r#ref: Option<&'a str>,
        digest: String,
        problems: &'a Problems,
    }
    let bundle = read_to_check(path, output)?;
    let archive = archive(&bundle, output)?;
    let progress = Progress::begin(output);
    let outcome = client.validate(&archive, on_its_way(&progress, &archive, "checks it")).await;
    progress.end();
    let validity = outcome.map_err(|error| failed(error, &bundle, output))?;
    if !validity.problems.is_empty() {
        return Err(invalid(&problems(&validity.problems, &bundle), output)?);
    }
    let (name, digest) = (validity.r#ref.as_deref(), bundle.digest());
    output.data(&Checked { valid: true, r#ref: name, digest, problems: &Problems::default() }, || {
        let version = validity.version.as_deref().unwrap_or_default();
        let text = format!(
            "{} {version} is a valid pack: {}",
            name.unwrap_or_default(),
            counted(bundle.len(), "file")
        );
        printable(&text).into_owned()
    })?;
    Ok(())
}

/// What a server found wrong, at the places where it is in what was sent.
fn problems(mistakes: &[Mistake], bundle: &Bundle) -> Problems {
    let mut problems = Problems::default();
    for Mistake { path, line, column, message, hint } in mistakes {
        let entry = bundle.get(path).and_then(|entry| std::str::from_utf8(&entry.bytes).ok());
        let place = entry.zip(line.zip(*column));
        match place.and_then(|(text, (line, column))| Some((text, offset(text, line, column)?))) {
            Some((text, at)) => {
                let word = text[at..].split(char::is_whitespace).next().unwrap_or_default();
                problems.add(&Source::new(path, text), &(at..at + word.len()), message, hint);
            }
            None => problems.add_file(path, message, hint),
        }
    }
    problems
}

/// Where in a text the character of a line is; lines and characters count from 1.
fn offset(text: &str, line: usize, column: usize) -> Option<usize> {
    let before = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>();
    let rest = text.get(before..)?;
    let at = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).nth(column.checked_sub(1)?)?;
    Some(before + at)
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn places_are_found_again() {
        let text = "é: 1\nab\n";
        for (line, column, at) in
            [(1, 1, Some(0)), (1, 2, Some(2)), (2, 1, Some(6)), (2, 2, Some(7)), (3, 1, Some(9))]
        {
            assert_eq!(offset(text, line, column), at, "{line}:{column}");
        }
        for (line, column) in [(0, 1), (1, 0), (3, 2)] {
            assert_eq!(offset(text, line, column), None, "{line}:{column}");
        }
    }
}
