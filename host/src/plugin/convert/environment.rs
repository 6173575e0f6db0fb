//! Plans and launches: what a component wants done to a disk, checked before anyone acts on it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::super::bindings::exports::attune::runtime::environment as wit;
use super::super::error::Cause;
use super::{installation_to_wit, invalid};
use crate::environment::{LaunchCommand, Manifest, Plan, PlannedProgram, RunStep, Stage, Step, StepAction};
use crate::installation::{Identity, Installation};
use crate::pack::{DeclaredCommand, ExecutionConfig, VariableChange};
use crate::variable;

const CONFINED: &str = "which is not a path within the environment, without `..`";
const UNKNOWN: &str = "which this host does not know";

/// Steps of a plan: each is shown, recorded and timed, and a program for what takes more of them is one step.
const STEPS_MAX: usize = 1_000;

/// What the paths of an answer are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'a> {
    /// Programs that the component was given handles of.
    pub(crate) tools: &'a BTreeMap<PathBuf, Identity>,
    pub(crate) installation: &'a Installation,
}

fn commands_to_wit(commands: &[DeclaredCommand]) -> Vec<wit::DeclaredCommand> {
    let convert = |command: &DeclaredCommand| wit::DeclaredCommand {
        arguments: command.run.clone(),
        network: command.network,
        timeout: command.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
        extra: Vec::new(),
    };
    commands.iter().map(convert).collect()
}

pub(crate) fn config_to_wit(config: &ExecutionConfig, settings: &[(String, String)]) -> wit::Config {
    wit::Config {
        interpreter_arguments: config.interpreter.args.clone(),
        environment_interpreter: config.environment.interpreter.clone(),
        create: commands_to_wit(&config.environment.create),
        install: commands_to_wit(&config.dependencies.install),
        settings: settings.to_vec(),
        extra: Vec::new(),
    }
}

pub(crate) fn plan_request(
    installation: &Installation,
    config: wit::Config,
    manifests: &[Manifest],
) -> wit::PlanRequest {
    let manifests = manifests.iter();
    wit::PlanRequest {
        installation: installation_to_wit(installation),
        config,
        manifests: manifests
            .map(|manifest| wit::Manifest {
                name: manifest.name.clone(),
                contents: manifest.contents.clone(),
            })
            .collect(),
        extra: Vec::new(),
    }
}

pub(crate) fn plan_from_wit(plan: wit::BuildPlan, ground: Ground<'_>) -> Result<Plan, Cause> {
    let count = plan.steps.len();
    if count > STEPS_MAX {
        return Err(invalid(
            "steps",
            &format!("{count} steps"),
            "which is more than 1000, the most that are taken",
        ));
    }
    let steps = plan.steps.into_iter().enumerate();
    let steps = steps.map(|(number, step)| step_from_wit(&format!("steps[{number}]"), step, ground));
    let stage = plan.stage.map(|stage| -> Result<Stage, Cause> {
        let links = stage.links.into_iter().enumerate().map(|(number, (name, target))| {
            let place = format!("stage.links[{number}]");
            Ok((confined(format!("{place}.name"), name)?, confined(format!("{place}.target"), target)?))
        });
        Ok(Stage { links: links.collect::<Result<_, _>>()? })
    });
    Ok(Plan { steps: steps.collect::<Result<_, _>>()?, stage: stage.transpose()?, inputs: plan.inputs })
}

fn step_from_wit(place: &str, step: wit::Step, ground: Ground<'_>) -> Result<Step, Cause> {
    let path = |path: String| confined(format!("{place}.path"), path);
    let action = match step.action {
        wit::Action::MakeDir(folder) => StepAction::MakeDir { path: path(folder)? },
        wit::Action::WriteFile(file) => StepAction::WriteFile {
            path: path(file.path)?,
            contents: file.contents,
            executable: file.executable,
        },
        wit::Action::Link(link) => {
            let path = path(link.path)?;
            let target = link_target(format!("{place}.target"), &path, link.target, ground)?;
            StepAction::Link { path, target }
        }
        wit::Action::Run(run) => StepAction::Run(run_from_wit(place, run, ground)?),
        wit::Action::Verify(file) => StepAction::Verify { path: path(file)? },
        wit::Action::Other(name) => return Err(invalid(format!("{place}.action"), &name, UNKNOWN)),
    };
    Ok(Step { title: step.title, action })
}

fn run_from_wit(place: &str, run: wit::RunStep, ground: Ground<'_>) -> Result<RunStep, Cause> {
    let variables = run.variables.into_iter().enumerate().map(|(number, (name, value))| {
        let place = format!("{place}.variables[{number}]");
        Ok((variable_name(&place, name)?, without_zero(&place, value)?))
    });
    Ok(RunStep {
        program: program_from_wit(place, run.program, ground)?,
        arguments: arguments_from_wit(place, run.arguments)?,
        variables: variables.collect::<Result<_, _>>()?,
        folder: if run.folder.is_empty() {
            run.folder
        } else {
            confined(format!("{place}.folder"), run.folder)?
        },
        network: run.network,
        timeout: run.timeout.map(|milliseconds| Duration::from_millis(milliseconds.into())),
    })
}

pub(crate) fn launch_from_wit(command: wit::Command, ground: Ground<'_>) -> Result<LaunchCommand, Cause> {
    let variables = command.variables.into_iter().enumerate().map(|(number, (name, change))| {
        let place = format!("command.variables[{number}]");
        // What the action itself starts is its own business.
        let name = if name == "PATH" { name } else { variable_name(&place, name)? };
        let change = match change {
            wit::Change::Set(value) => VariableChange::Set(without_zero(&place, value)?),
            wit::Change::Prepend(value) => VariableChange::Prepend(without_zero(&place, value)?),
            wit::Change::Append(value) => VariableChange::Append(without_zero(&place, value)?),
            wit::Change::Unset => VariableChange::Unset,
            wit::Change::Other(change) => return Err(invalid(place, &change, UNKNOWN)),
        };
        Ok((name, change))
    });
    Ok(LaunchCommand {
        program: program_from_wit("command", command.program, ground)?,
        arguments: arguments_from_wit("command", command.arguments)?,
        variables: variables.collect::<Result<_, _>>()?,
    })
}

fn program_from_wit(place: &str, program: wit::Program, ground: Ground<'_>) -> Result<PlannedProgram, Cause> {
    let place = format!("{place}.program");
    match program {
        wit::Program::Installation => Ok(PlannedProgram::Installation),
        wit::Program::Environment(path) => Ok(PlannedProgram::Environment(confined(place, path)?)),
        wit::Program::Tool(path) if ground.tools.contains_key(Path::new(&path)) => {
            Ok(PlannedProgram::Tool(path.into()))
        }
        wit::Program::Tool(path) => {
            Err(invalid(place, &path, "which is not a tool that this call was given a handle of"))
        }
        wit::Program::Other(name) => Err(invalid(place, &name, UNKNOWN)),
    }
}

fn arguments_from_wit(place: &str, arguments: Vec<String>) -> Result<Vec<String>, Cause> {
    let arguments = arguments.into_iter().enumerate();
    arguments
        .map(|(number, argument)| without_zero(&format!("{place}.arguments[{number}]"), argument))
        .collect()
}

fn without_zero(place: &str, text: String) -> Result<String, Cause> {
    if text.contains('\0') {
        return Err(invalid(place, &text, "which contains a zero byte"));
    }
    Ok(text)
}

/// What steers how programs are loaded would reach into programs that were verified without it.
fn variable_name(place: &str, name: String) -> Result<String, Cause> {
    if !variable::is_name(&name) {
        return Err(invalid(place, &name, "which is not a name for a variable"));
    }
    if variable::steers_programs(&name) {
        return Err(invalid(place, &name, "which steers how programs are loaded"));
    }
    Ok(name)
}

fn confined(place: String, path: String) -> Result<String, Cause> {
    let is_confined = !path.contains('\0')
        && Path::new(&path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && Path::new(&path).components().any(|part| matches!(part, Component::Normal(_)));
    if is_confined { Ok(path) } else { Err(invalid(place, &path, CONFINED)) }
}

/// A relative target may climb, but not out of the environment; an absolute one leads to the installation
/// or to a tool.
fn link_target(place: String, link: &str, target: String, ground: Ground<'_>) -> Result<String, Cause> {
    let path = Path::new(&target);
    let is_allowed = if path.is_absolute() {
        let climbs = path.components().any(|part| part == Component::ParentDir);
        !climbs && (ground.tools.contains_key(path) || path.starts_with(prefix(&ground.installation.path)))
    } else {
        stays_within(Path::new(link), path)
    };
    if is_allowed && !target.is_empty() && !target.contains('\0') {
        return Ok(target);
    }
    Err(invalid(
        place,
        &target,
        "which leads out of the environment, and to neither the installation nor a tool",
    ))
}

/// Whether a link at `link` with a relative `target` ends within the folder that `link` is relative to.
fn stays_within(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().filter(|part| matches!(part, Component::Normal(_))).count();
    depth = depth.saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// The folder that an installation fills: two above its program, but never the whole disk.
fn prefix(program: &Path) -> &Path {
    let folder = program.parent().unwrap_or(program);
    folder.parent().filter(|prefix| prefix.parent().is_some()).unwrap_or(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    fn with_ground<T>(answer: impl FnOnce(Ground<'_>) -> T) -> T {
        let identity = Identity { dev: 1, inode: 2, size: 3, mtime: 4, ctime: 5 };
        let installation = Installation {
            path: "/opt/lang/1.2/bin/lang".into(),
            version: Version {
                semver: semver::Version::new(1, 2, 3),
                native: "1.2.3".to_owned(),
                variant: None,
            },
            source: String::new(),
            aliases: Vec::new(),
            attributes: Vec::new(),
        };
        let tools = [(PathBuf::from("/usr/bin/tool"), identity)].into();
        answer(Ground { tools: &tools, installation: &installation })
    }

    fn check(action: wit::Action, place: Option<&str>) {
        let shown = format!("{action:?}");
        let plan = wit::BuildPlan {
            steps: vec![wit::Step { title: "a step".to_owned(), action }],
            stage: None,
            inputs: Vec::new(),
            extra: Vec::new(),
        };
        let found = match with_ground(|ground| plan_from_wit(plan, ground)) {
            Ok(_) => None,
            Err(Cause::InvalidAnswer { place, .. }) => Some(place),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found.as_deref(), place, "{shown}");
    }

    #[test]
    fn paths_of_steps_are_confined() {
        for (path, good) in [
            ("bin", true),
            ("bin/./x", true),
            (".hidden", true),
            ("a..b", true),
            ("", false),
            (".", false),
            ("/etc", false),
            ("..", false),
            ("bin/../../x", false),
            ("bin/../x", false),
            ("a\0b", false),
        ] {
            let place = (!good).then_some("steps[0].path");
            check(wit::Action::MakeDir(path.to_owned()), place);
            check(wit::Action::Verify(path.to_owned()), place);
            let file = wit::FileStep { path: path.to_owned(), contents: Vec::new(), executable: false };
            check(wit::Action::WriteFile(file), place);
        }
        check(wit::Action::Other("melt".to_owned()), Some("steps[0].action"));
    }

    #[test]
    fn links_lead_to_what_is_known() {
        for (path, target, good) in [
            ("bin/lang", "/opt/lang/1.2/bin/lang", true),
            ("bin/lang", "/opt/lang/1.2/lib/x", true),
            ("bin/tool", "/usr/bin/tool", true),
            ("lib64", "lib", true),
            ("bin/x", "../lib/x", true),
            ("bin/x", "../../lib/x", false),
            ("x", "../x", false),
            ("x", "a/../../b", false),
            ("bin/sh", "/usr/bin/sh", false),
            ("bin/x", "/opt/lang/1.2/../../../etc/passwd", false),
            ("bin/x", "", false),
        ] {
            let link = wit::LinkStep { path: path.to_owned(), target: target.to_owned() };
            check(wit::Action::Link(link), (!good).then_some("steps[0].target"));
        }
    }

    #[test]
    fn prefixes_are_never_the_whole_disk() {
        for (program, folder) in [
            ("/usr/bin/x", "/usr"),
            ("/opt/x", "/opt"),
            ("/x", "/"),
            ("/opt/lang/1.2/bin/lang", "/opt/lang/1.2"),
        ] {
            assert_eq!(prefix(Path::new(program)), Path::new(folder), "{program}");
        }
    }

    fn run() -> wit::RunStep {
        wit::RunStep {
            program: wit::Program::Installation,
            arguments: vec!["-m".to_owned()],
            variables: vec![("A".to_owned(), "b".to_owned())],
            folder: String::new(),
            network: false,
            timeout: None,
            extra: Vec::new(),
        }
    }

    #[test]
    fn runs_are_checked() {
        let program = |program| wit::RunStep { program, ..run() };
        let variable =
            |name: &str| wit::RunStep { variables: vec![(name.to_owned(), String::new())], ..run() };
        for (run, place) in [
            (run(), None),
            (program(wit::Program::Tool("/usr/bin/tool".to_owned())), None),
            (program(wit::Program::Tool("/usr/bin/sh".to_owned())), Some("steps[0].program")),
            (program(wit::Program::Environment("bin/x".to_owned())), None),
            (program(wit::Program::Environment("../x".to_owned())), Some("steps[0].program")),
            (program(wit::Program::Other("x".to_owned())), Some("steps[0].program")),
            (variable("PATH"), Some("steps[0].variables[0]")),
            (variable("LD_PRELOAD"), Some("steps[0].variables[0]")),
            (variable("A=B"), Some("steps[0].variables[0]")),
            (wit::RunStep { folder: "sub".to_owned(), ..run() }, None),
            (wit::RunStep { folder: "/tmp".to_owned(), ..run() }, Some("steps[0].folder")),
            (wit::RunStep { arguments: vec!["a\0".to_owned()], ..run() }, Some("steps[0].arguments[0]")),
        ] {
            check(wit::Action::Run(run), place);
        }
    }

    #[test]
    fn launches_are_checked() {
        let command = |name: &str, change| wit::Command {
            program: wit::Program::Installation,
            arguments: Vec::new(),
            variables: vec![(name.to_owned(), change)],
            extra: Vec::new(),
        };
        for (command, good) in [
            (command("PATH", wit::Change::Prepend("bin".to_owned())), true),
            (command("X", wit::Change::Unset), true),
            (command("X", wit::Change::Set("a\0".to_owned())), false),
            (command("X", wit::Change::Other("shuffle".to_owned())), false),
            (command("LD_AUDIT", wit::Change::Unset), false),
        ] {
            let shown = format!("{command:?}");
            assert_eq!(with_ground(|ground| launch_from_wit(command, ground)).is_ok(), good, "{shown}");
        }
    }
}
