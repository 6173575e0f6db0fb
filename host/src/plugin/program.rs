//! Programs on disk: what a path leads to and whether it could be run, found out without running it.

use std::io;
use std::path::{Path, PathBuf};

use super::machine::{Kind, Machine, Status};
use super::roots::Looks;
use crate::installation::{Failure, FailureClass, Identity};

/// As much of a program as is read to know its format; the kernel reads as much of a `#!` line.
const HEAD: u64 = 256;

/// A program that may be run: what a component's handle stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it as public")]
pub struct Executable {
    /// Canonical absolute path.
    pub(crate) path: PathBuf,
    /// The paths that led here, in search order.
    pub(crate) names: Vec<String>,
    pub(crate) source: String,
    pub(crate) format: Format,
    pub(crate) identity: Identity,
}

/// What the first bytes of a program say it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Machine code for this machine.
    Native,
    /// A script, with the text of its `#!` line after these two characters.
    Script(String),
    /// Executable but not readable, so nobody knows.
    Unreadable,
}

impl Executable {
    /// What is at `path`, links followed. Blocks.
    pub(crate) fn at(path: &Path, looks: &mut Looks) -> Result<Self, Failure> {
        looks.look(path);
        let machine = looks.machine().clone();
        let canonical = machine.canonicalize(path).map_err(|error| unresolved(&machine, path, &error))?;
        let status = machine.status(&canonical).map_err(|error| unresolved(&machine, path, &error))?;
        check_kind(&machine, &canonical, &status)?;
        if canonical.to_str().is_none() {
            return Err(Failure::new(FailureClass::Other("not-utf-8".to_owned()), "the path is not UTF-8"));
        }
        let format = format(&canonical, looks)?;
        Ok(Self {
            names: path.to_str().map(str::to_owned).into_iter().collect(),
            path: canonical,
            source: String::new(),
            format,
            identity: status.identity,
        })
    }

    /// The canonical path as text; `at` made sure that it is.
    pub(crate) fn path_text(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Fails if the file is no longer the one that was looked at.
    pub(crate) fn check_unchanged(&self, machine: &Machine) -> Result<(), Failure> {
        let now = machine.status(&self.path).map_err(|error| unresolved(machine, &self.path, &error))?;
        if now.identity == self.identity {
            return Ok(());
        }
        Err(Failure::new(
            FailureClass::NotFound,
            format!("{} has been replaced since it was found", self.path.display()),
        ))
    }
}

/// Why a path could not be followed.
pub(crate) fn unresolved(machine: &Machine, path: &Path, error: &io::Error) -> Failure {
    let place = path.display();
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return Failure::new(FailureClass::SymlinkLoop, format!("the links at {place} lead in a circle"));
    }
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => match machine.read_link(path) {
            Ok(target) => Failure::new(
                FailureClass::BrokenSymlink,
                format!("{place} is a link to {}, which leads nowhere", target.display()),
            ),
            Err(_) => Failure::new(FailureClass::NotFound, format!("nothing is at {place}")),
        },
        io::ErrorKind::PermissionDenied => {
            Failure::new(FailureClass::PermissionDenied, format!("no permission to reach {place}"))
        }
        _ => Failure::new(FailureClass::Other("unreadable".to_owned()), format!("{place}: {error}")),
    }
}

fn check_kind(machine: &Machine, path: &Path, status: &Status) -> Result<(), Failure> {
    let place = path.display();
    match status.kind {
        Kind::File => {}
        Kind::Folder => return Err(Failure::new(FailureClass::IsDirectory, format!("{place} is a folder"))),
        Kind::Link | Kind::Special => {
            return Err(Failure::new(FailureClass::ExecFormat, format!("{place} is not a regular file")));
        }
    }
    if !status.executable {
        return Err(Failure::new(FailureClass::NotExecutable, format!("{place} is not executable")));
    }
    if machine.may_execute(path) {
        return Ok(());
    }
    Err(Failure::new(FailureClass::PermissionDenied, format!("no permission to execute {place}")))
}

fn format(path: &Path, looks: &mut Looks) -> Result<Format, Failure> {
    let head = match looks.machine().read(path, HEAD) {
        Ok(head) => head,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Format::Unreadable),
        Err(error) => return Err(unresolved(looks.machine(), path, &error)),
    };
    let format = format_of(&head).map_err(|reason| {
        Failure::new(FailureClass::ExecFormat, format!("{} is {reason}", path.display()))
    })?;
    if let Format::Script(line) = &format {
        check_interpreter(path, line, looks)?;
    }
    Ok(format)
}

fn check_interpreter(path: &Path, line: &str, looks: &mut Looks) -> Result<(), Failure> {
    let interpreter = line.split_whitespace().next().unwrap_or_default();
    looks.look(Path::new(interpreter));
    let is_file = |path| looks.machine().status(path).is_ok_and(|status| status.kind == Kind::File);
    if Path::new(interpreter).is_absolute() && is_file(Path::new(interpreter)) {
        return Ok(());
    }
    Err(Failure::new(
        FailureClass::BadShebang,
        format!("{} asks for the interpreter `{interpreter}`, which is not there", path.display()),
    ))
}

/// `e_machine` of programs for this processor, the 32-bit relative of it included.
pub(crate) const MACHINES: &[u16] = if cfg!(target_arch = "x86_64") {
    &[62, 3]
} else if cfg!(target_arch = "aarch64") {
    &[183, 40]
} else if cfg!(target_arch = "riscv64") {
    &[243]
} else {
    &[]
};

/// What the first bytes say; the error is what it is instead of a program.
fn format_of(head: &[u8]) -> Result<Format, &'static str> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return Ok(Format::Script(String::from_utf8_lossy(line).trim().to_owned()));
    }
    if head.starts_with(b"\x7fELF") {
        return elf(head);
    }
    if cfg!(target_os = "macos") {
        // Mach-O of 64 bits, or several in one file.
        let magic = head.get(..4).unwrap_or_default();
        if [[0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]].iter().any(|known| known == magic) {
            return Ok(Format::Native);
        }
    }
    Err("no program: it starts neither as machine code nor with `#!`")
}

fn elf(head: &[u8]) -> Result<Format, &'static str> {
    if !cfg!(target_os = "linux") {
        return Err("a program for another operating system");
    }
    let (Some(&data), Some(&[type_0, type_1, machine_0, machine_1])) =
        (head.get(5), head.get(16..20).and_then(|bytes| bytes.first_chunk::<4>()))
    else {
        return Err("a damaged program: it ends within its header");
    };
    let word = |bytes: [u8; 2]| {
        if data == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    };
    let native_order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if data != native_order || !MACHINES.contains(&word([machine_0, machine_1])) {
        return Err("a program for another processor");
    }
    // Two is an executable, three a position-independent one; libraries' objects and core dumps are others.
    if !matches!(word([type_0, type_1]), 2 | 3) {
        return Err("machine code, but no program");
    }
    Ok(Format::Native)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::super::roots::{Scanned, settle};
    use super::*;

    fn head(path: &str) -> Vec<u8> {
        let mut head = fs::read(path).expect("a program");
        head.truncate(256);
        head
    }

    #[test]
    fn formats() {
        let own = head("/proc/self/exe");
        let mut foreign = own.clone();
        foreign[18] = 0x08;
        foreign[19] = 0x00;
        let mut object = own.clone();
        object[16] = 1;
        for (bytes, native) in [
            (own.clone(), true),
            (foreign, false),
            (object, false),
            (own[..10].to_vec(), false),
            (Vec::new(), false),
            (b"echo hello\n".to_vec(), false),
            (b"MZ\x90\0".to_vec(), false),
        ] {
            assert_eq!(format_of(&bytes) == Ok(Format::Native), native, "{bytes:?}");
        }
        for (bytes, line) in [
            (&b"#!/bin/sh\nexec x"[..], "/bin/sh"),
            (b"#! /usr/bin/env -S a b \nx", "/usr/bin/env -S a b"),
            (b"#!/bin/sh", "/bin/sh"),
            (b"#!", ""),
            (b"#!\xff\n", "\u{fffd}"),
        ] {
            assert_eq!(format_of(bytes), Ok(Format::Script(line.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = format_of(&bytes);
            let mut elf = b"\x7fELF".to_vec();
            elf.extend(bytes);
            let _ = format_of(&elf);
        }
    }

    /// Makes `name` in a fresh folder by `make`, and compares the class of what it leads to.
    fn check(make: fn(&Path) -> io::Result<()>, expected: Option<&FailureClass>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("name");
        make(&path).expect("the scene");
        let found = Executable::at(&path, &mut Looks::default());
        assert_eq!(found.as_ref().err().map(|failure| &failure.class), expected, "{found:?}");
    }

    fn script(path: &Path, text: &str, mode: u32) -> io::Result<()> {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    #[test]
    fn what_a_path_leads_to() {
        check(|path| script(path, "#!/bin/sh\n", 0o755), None);
        check(|path| symlink("/bin/sh", path), None);
        check(|_| Ok(()), Some(&FailureClass::NotFound));
        check(|path| symlink("nowhere", path), Some(&FailureClass::BrokenSymlink));
        check(|path| symlink("name", path), Some(&FailureClass::SymlinkLoop));
        check(|path| fs::create_dir(path), Some(&FailureClass::IsDirectory));
        check(|path| script(path, "#!/bin/sh\n", 0o644), Some(&FailureClass::NotExecutable));
        check(|path| script(path, "hello", 0o755), Some(&FailureClass::ExecFormat));
        check(|path| script(path, "", 0o755), Some(&FailureClass::ExecFormat));
        check(|path| script(path, "#!/no/such\n", 0o755), Some(&FailureClass::BadShebang));
        check(|path| script(path, "#!relative\n", 0o755), Some(&FailureClass::BadShebang));
        check(|path| symlink("/dev/null", path), Some(&FailureClass::ExecFormat));
    }

    #[test]
    fn an_interpreter_that_appears_or_goes_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("name");
        let interpreter = folder.path().join("sub/interpreter");
        script(&path, &format!("#!{} -x\n", interpreter.display()), 0o755).expect("a script");
        let looked = || {
            settle();
            let mut looks = Looks::default();
            let class = Executable::at(&path, &mut looks).map_err(|failure| failure.class).err();
            let scanned = looks.into_scanned();
            assert!(scanned.iter().all(Scanned::is_unchanged));
            (class, scanned)
        };
        let (class, scanned) = looked();
        assert_eq!(class, Some(FailureClass::BadShebang));
        fs::create_dir(folder.path().join("sub")).expect("a folder");
        fs::copy("/bin/sh", &interpreter).expect("installed");
        assert!(!scanned.iter().all(Scanned::is_unchanged));
        let (class, scanned) = looked();
        assert_eq!(class, None);
        fs::remove_file(&interpreter).expect("removed");
        assert!(!scanned.iter().all(Scanned::is_unchanged));
    }

    #[test]
    fn a_replaced_program_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("name");
        script(&path, "#!/bin/sh\nexit 1\n", 0o755).expect("a script");
        let program = Executable::at(&path, &mut Looks::default()).expect("a program");
        assert_eq!(program.check_unchanged(&Machine::This), Ok(()));
        fs::remove_file(&path).expect("removed");
        assert_eq!(
            program.check_unchanged(&Machine::This).map_err(|failure| failure.class),
            Err(FailureClass::NotFound)
        );
        script(&path, "#!/bin/sh\nexit 22\n", 0o755).expect("another script");
        assert_eq!(
            program.check_unchanged(&Machine::This).map_err(|failure| failure.class),
            Err(FailureClass::NotFound)
        );
    }
}
