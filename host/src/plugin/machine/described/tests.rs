use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::super::program::{Executable, Format};
use super::super::super::roots::Looks;
use super::super::Machine;
use super::*;

fn file(text: &str) -> Thing {
    Thing::File { contents: text.into(), executable: false }
}

fn link(target: &str) -> Thing {
    Thing::Link(target.into())
}

fn program(answers: Vec<Scripted>) -> Thing {
    Thing::Program { contents: None, answers }
}

fn script(text: &str) -> Thing {
    Thing::Program { contents: Some(text.into()), answers: Vec::new() }
}

fn prints(arguments: &[&str], text: &str) -> Scripted {
    Scripted {
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        variables: Vec::new(),
        delay: Duration::ZERO,
        reply: Reply::Ends { ending: Ending::Exited(0), stdout: text.into(), stderr: Vec::new() },
    }
}

fn machine() -> Described {
    let things = [
        ("/opt/tool/bin/tool3", program(vec![prints(&["--version"], "3"), prints(&["-c", "*"], "c")])),
        (
            "/opt/tool/bin/slow",
            program(vec![Scripted { delay: Duration::from_mins(1), ..prints(&["**"], "") }]),
        ),
        ("/opt/tool/notes", file("some text")),
        ("/usr/bin/tool", link("../../opt/tool/bin/tool3")),
        ("/usr/bin/good", script("#!/bin/sh\n")),
        ("/usr/bin/bad", script("#!/no/such\n")),
        ("/usr/bin/broken", link("/nowhere")),
        ("/usr/bin/loop", link("loop")),
        ("/current", link("/opt/tool/..")),
        ("/empty", Thing::Folder),
    ];
    Described::new(things.map(|(path, thing)| (PathBuf::from(path), thing)))
}

#[test]
fn paths_lead_where_they_would() {
    let machine = machine();
    for (path, end) in [
        ("/usr/bin/tool", Ok("/opt/tool/bin/tool3")),
        ("/usr/bin/../bin/./tool", Ok("/opt/tool/bin/tool3")),
        ("/current", Ok("/opt")),
        ("/current/tool/notes", Ok("/opt/tool/notes")),
        ("/", Ok("/")),
        ("/empty/..", Ok("/")),
        ("/usr/bin/broken", Err(Errno::NOENT)),
        ("/usr/bin/loop", Err(Errno::LOOP)),
        ("/usr/bin/loop/x", Err(Errno::LOOP)),
        ("/opt/tool/notes/x", Err(Errno::NOTDIR)),
        ("/none/..", Err(Errno::NOENT)),
        ("relative", Err(Errno::NOENT)),
    ] {
        let found = machine.canonicalize(Path::new(path)).map_err(|error| error.raw_os_error());
        assert_eq!(found, end.map(PathBuf::from).map_err(|error| Some(error.raw_os_error())), "{path}");
    }
    let names: Vec<_> = machine.entries(Path::new("/usr/bin")).expect("entries").into_iter().collect();
    assert_eq!(names[0], ("bad".into(), Kind::File));
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(machine.read(Path::new("/opt/tool/notes"), 4).expect("read"), b"some");
    assert_eq!(machine.read_link(Path::new("/usr/bin/broken")).expect("a link"), Path::new("/nowhere"));
}

#[test]
fn programs_are_what_the_host_takes_for_programs() {
    let machine = Machine::Described(std::sync::Arc::new(machine()));
    let at = |path: &str| {
        Executable::at(Path::new(path), &mut Looks::on(&machine))
            .map(|program| (program.path.display().to_string(), program.format))
            .map_err(|failure| failure.class)
    };
    assert_eq!(at("/usr/bin/tool"), Ok(("/opt/tool/bin/tool3".to_owned(), Format::Native)));
    assert_eq!(at("/usr/bin/good"), Ok(("/usr/bin/good".to_owned(), Format::Script("/bin/sh".to_owned()))));
    assert_eq!(at("/usr/bin/bad"), Err(FailureClass::BadShebang));
    assert_eq!(at("/usr/bin/broken"), Err(FailureClass::BrokenSymlink));
    assert_eq!(at("/usr/bin/loop"), Err(FailureClass::SymlinkLoop));
    assert_eq!(at("/opt/tool/notes"), Err(FailureClass::NotExecutable));
    assert_eq!(at("/empty"), Err(FailureClass::IsDirectory));
    assert_eq!(at("/usr/bin/none"), Err(FailureClass::NotFound));
}

fn run(machine: &Described, program: &str, arguments: &[&str]) -> Result<String, FailureClass> {
    let invocation = Invocation {
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        variables: Vec::new(),
        stdin: Vec::new(),
        timeout: Duration::from_secs(5),
    };
    let outcome = machine.run(Path::new(program), &invocation, 100);
    outcome.map(|done| String::from_utf8(done.stdout).expect("text")).map_err(|failure| failure.class)
}

#[test]
fn programs_answer_as_described_and_nothing_else() {
    let machine = machine();
    let tool = "/opt/tool/bin/tool3";
    assert_eq!(run(&machine, tool, &["--version"]), Ok("3".to_owned()));
    assert_eq!(run(&machine, tool, &["-c", "anything"]), Ok("c".to_owned()));
    assert_eq!(run(&machine, "/opt/tool/bin/slow", &["a", "b"]), Err(FailureClass::Timeout));
    assert_eq!(machine.take_unanswered(), [""; 0]);
    let unknown = Err(FailureClass::Other("not-described".to_owned()));
    assert_eq!(run(&machine, tool, &["-c"]), unknown);
    assert_eq!(run(&machine, "/usr/bin/good", &[]), unknown);
    assert_eq!(
        machine.take_unanswered(),
        ["/opt/tool/bin/tool3 with the arguments [\"-c\"]", "/usr/bin/good with the arguments []"]
    );
    assert_eq!(machine.take_unanswered(), [""; 0]);
}

proptest! {
    /// Against the file system itself.
    #[test]
    fn paths_are_resolved_as_by_the_kernel(
        links in proptest::collection::btree_map("[a-c](/[a-c]){0,1}", "(\\.\\./|/)?[a-c](/[a-c]){0,2}", 0..4),
        asked in proptest::collection::vec("[a-c]|\\.\\.", 1..5),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        let mut things = vec![(root.join("a/file"), file(""))];
        std::fs::create_dir_all(root.join("a")).expect("a folder");
        std::fs::write(root.join("a/file"), "").expect("a file");
        for (path, target) in links {
            let (path, target) = (root.join(path), target.strip_prefix('/').map_or_else(|| target.clone().into(), |rest| root.join(rest)));
            let free = path.parent().is_some_and(|parent| parent.is_dir() && parent.canonicalize().is_ok_and(|real| real == parent));
            if free && std::os::unix::fs::symlink(&target, &path).is_ok() {
                things.push((path, Thing::Link(target)));
            }
        }
        let machine = Described::new(things);
        let asked = asked.iter().fold(root.clone(), |path, part| path.join(part));
        let (ours, real) = (machine.canonicalize(&asked), asked.canonicalize());
        if real.as_ref().is_ok_and(|real| !real.starts_with(&root)) {
            return Ok(());
        }
        prop_assert_eq!(ours.map_err(|error| error.raw_os_error()), real.map_err(|error| error.raw_os_error()));
    }
}
