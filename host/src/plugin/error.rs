//! What can go wrong with a component, and who is to blame.

use std::fmt;
use std::time::Duration;

use super::call::CallReport;
use super::contract::CONTRACT;
use crate::installation::Failure;
use crate::reference::PackRef;

/// A function that a component exports, or the work before any is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// Not a call: the component is compiled and linked.
    Load,
    /// `detection.detect`
    Detect,
    /// `detection.aliases`
    Aliases,
    /// `verification.verify`
    Verify,
    /// `environment.plan`
    Plan,
    /// `environment.check`
    Check,
    /// `environment.launch`
    Launch,
}

impl Function {
    /// The exported interface that it belongs to; none for [`Function::Load`].
    #[must_use]
    pub fn interface(self) -> Option<&'static str> {
        match self {
            Self::Load => None,
            Self::Detect | Self::Aliases => Some("detection"),
            Self::Verify => Some("verification"),
            Self::Plan | Self::Check | Self::Launch => Some("environment"),
        }
    }

    /// Its interface and its own name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Detect => "detection.detect",
            Self::Aliases => "detection.aliases",
            Self::Verify => "verification.verify",
            Self::Plan => "environment.plan",
            Self::Check => "environment.check",
            Self::Launch => "environment.launch",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Who spends a call's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The component's own code.
    Guest,
    /// The host, answering what the component asks.
    Host,
    /// Programs that the component has run.
    Child,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Guest => "the component itself",
            Self::Host => "the host, for the component",
            Self::Child => "programs that the component ran",
        })
    }
}

/// A component could not be loaded, called or believed.
#[derive(Clone, Debug, thiserror::Error)]
pub struct PluginError {
    /// The pack that ships the component.
    pub pack: PackRef,
    /// The component's name within the pack.
    pub component: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// What was being done.
    pub function: Function,
    /// Why it failed.
    #[source]
    pub cause: Box<Cause>,
    /// What the call had used by then, if it was one.
    pub report: Option<Box<CallReport>>,
}

impl PluginError {
    /// With what the call had used by then.
    #[must_use]
    pub(super) fn after(self, report: CallReport) -> Self {
        Self { report: Some(Box::new(report)), ..self }
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pack, component, digest, function, cause, .. } = self;
        let place = format_args!("component `{component}` of pack `{pack}` ({}), {function}", short(digest));
        match **cause {
            // The component's own words: they are about what it was asked, not about itself.
            Cause::Refused { .. } => write!(formatter, "{cause}; {place}"),
            _ => write!(formatter, "{place}: {cause}"),
        }
    }
}

/// As much of a digest as tells components apart.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Why a component could not be loaded, called or believed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Cause {
    /// The WebAssembly engine does not start on this machine.
    #[error("the WebAssembly engine does not start: {reason}")]
    Engine {
        /// What it says.
        reason: String,
    },
    /// The component's bytes can't be had.
    #[error("the component can't be read: {reason}")]
    Unreadable {
        /// What the operating system says.
        reason: String,
    },
    /// The bytes are not those that were installed.
    #[error("the component has changed since its pack was installed: its SHA-256 is now {actual}")]
    DigestMismatch {
        /// SHA-256 of what was read, in hexadecimal.
        actual: String,
    },
    /// Not a component, or not a valid one.
    #[error("not a valid WebAssembly component: {reason}")]
    Compile {
        /// What the compiler says.
        reason: String,
    },
    /// It was built for a contract that this host does not have.
    #[error("it needs version {version} of the contract (`{interface}`), and this Attune has {CONTRACT}")]
    UnknownContract {
        /// One of its interfaces that says so.
        interface: String,
        /// The version.
        version: semver::Version,
    },
    /// It needs something that this host does not provide.
    #[error("it imports `{import}`, which this host does not provide in that form: {reason}")]
    IncompatibleImport {
        /// The import's name.
        import: String,
        /// How it differs.
        reason: String,
    },
    /// It needs more than the limits allow, before it has even run.
    #[error("it needs {needed} {what} to start where {allowed} are allowed")]
    TooLarge {
        /// `bytes of memory`, `memories`, `tables`.
        what: &'static str,
        /// What it declares.
        needed: u64,
        /// What the limits allow.
        allowed: u64,
    },
    /// A grant that can't be understood.
    #[error("the grant `{grant}` is not valid: {reason}")]
    InvalidGrant {
        /// As written.
        grant: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A pattern of the YAML that can't be compiled.
    #[error("the pattern `{pattern}` is not valid: {reason}")]
    InvalidPattern {
        /// As written.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// It does not export the interface that the function belongs to.
    #[error("it does not export the interface `{interface}`")]
    MissingExport {
        /// The interface's name.
        interface: &'static str,
    },
    /// It exports the interface in another form.
    #[error("it exports the interface `{interface}` in a form that this host can't call: {reason}")]
    IncompatibleExport {
        /// The interface's name.
        interface: &'static str,
        /// How it differs.
        reason: String,
    },
    /// It failed too often for the runtime, and is left alone for a while.
    #[error(
        "it failed {failures} times in a row for this runtime and is not called for that for another {} s; \
         the last time, {last}",
        .wait.as_secs().max(1)
    )]
    CircuitOpen {
        /// Failures in a row.
        failures: u32,
        /// How long.
        wait: Duration,
        /// Why it failed the last time.
        last: Box<Cause>,
    },
    /// It did not answer in time.
    #[error(
        "it did not answer within {} ms; most of that was spent by {part} \
         (guest {} ms, host {} ms, programs {} ms)",
        .limit.as_millis(), .guest.as_millis(), .host.as_millis(), .child.as_millis()
    )]
    DeadlineExceeded {
        /// The limit.
        limit: Duration,
        /// Who spent most of it.
        part: Part,
        /// Time in the component's own code.
        guest: Duration,
        /// Time in the host.
        host: Duration,
        /// Time in programs.
        child: Duration,
    },
    /// It wanted more memory than the limits allow.
    #[error("out of memory: it asked for {wanted} bytes where {limit} are allowed")]
    OutOfMemory {
        /// What it would have had.
        wanted: usize,
        /// What it may have.
        limit: usize,
    },
    /// It crashed.
    #[error("it crashed: {reason}{}", .message.as_ref().map(|text| format!("; it said: {text}")).unwrap_or_default())]
    Trap {
        /// What the engine says.
        reason: String,
        /// What the component wrote to standard error: a panic's message.
        message: Option<String>,
    },
    /// The installation that it was to be called for is gone or has been replaced.
    #[error("the installation can't be used: {failure}")]
    Installation {
        /// What was found instead.
        failure: Failure,
    },
    /// It answered that it can't.
    #[error("{} ({})", .failure.message, .failure.class)]
    Refused {
        /// Its reason.
        failure: Failure,
    },
    /// It answered something that can't be.
    #[error("its answer is not valid: {place} is `{value}`, {rule}")]
    InvalidAnswer {
        /// Which part of the answer: `steps[2].path`.
        place: String,
        /// What it is, cut if it is long.
        value: String,
        /// What it would have to be.
        rule: &'static str,
    },
}

impl Cause {
    /// What to do about a component that does not load.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownContract { version, .. } if *version > CONTRACT => {
                format!(
                    "use an Attune that has version {version}, or build the component anew for {CONTRACT}"
                )
            }
            _ => format!("build it anew for this version of Attune, whose contract is {CONTRACT}"),
        }
    }

    /// Whether too little time is the reason, or was the last time that the component was called.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::DeadlineExceeded { .. } => true,
            Self::CircuitOpen { last, .. } => last.is_timeout(),
            _ => false,
        }
    }

    /// Whether its file is not what was installed.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::DigestMismatch { .. })
    }

    /// Whether the component itself misbehaved, so that calling it again is likely to do the same.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        match self {
            Self::DeadlineExceeded { .. } | Self::OutOfMemory { .. } | Self::Trap { .. } => true,
            Self::Engine { .. }
            | Self::Unreadable { .. }
            | Self::DigestMismatch { .. }
            | Self::Compile { .. }
            | Self::UnknownContract { .. }
            | Self::IncompatibleImport { .. }
            | Self::TooLarge { .. }
            | Self::InvalidGrant { .. }
            | Self::InvalidPattern { .. }
            | Self::MissingExport { .. }
            | Self::IncompatibleExport { .. }
            | Self::CircuitOpen { .. }
            | Self::Installation { .. }
            | Self::Refused { .. }
            | Self::InvalidAnswer { .. } => false,
        }
    }
}
