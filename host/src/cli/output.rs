//! Printing: data to standard output, talk to standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failed;
use super::options::{Options, When};
use crate::printable::{json, printable};

/// Where and how a command prints.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, from an option or a terminal"
)]
pub(super) struct Output {
    /// Data as JSON.
    pub json: bool,
    /// Nothing but errors on standard error.
    pub quiet: bool,
    /// Colour on standard error.
    pub talk_colour: bool,
    /// Colour on standard output.
    pub data_colour: bool,
    /// Whether somebody watches standard error.
    pub watched: bool,
}

/// A way to make text stand out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
    Strong,
    Dim,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "1;31",
            Self::Strong => "1",
            Self::Dim => "2",
        }
    }
}

impl Output {
    /// As the options and the terminal ask for.
    pub(super) fn new(options: &Options) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| match options.color {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !no_colour && !dumb,
        };
        let watched = io::stderr().is_terminal();
        Self {
            json: options.json,
            quiet: options.quiet,
            talk_colour: colour(watched),
            data_colour: colour(io::stdout().is_terminal()),
            watched: watched && !dumb,
        }
    }

    /// Prints data: as JSON if that was asked for, else as `human` writes it.
    pub(super) fn data<T: Serialize>(&self, data: &T, human: impl FnOnce() -> String) -> io::Result<()> {
        if self.json {
            let mut text = serde_json::to_string_pretty(data).map_err(io::Error::other)?;
            text.push('\n');
            self.bytes(json(text).as_bytes())
        } else {
            self.text(&human())
        }
    }

    /// Prints what a command would do, after saying that it was not done.
    pub(super) fn plan<T: Serialize>(&self, plan: &T, human: impl FnOnce() -> String) -> io::Result<()> {
        #[derive(Serialize)]
        struct Planned<'a, T> {
            dry_run: bool,
            #[serde(flatten)]
            plan: &'a T,
        }
        self.data(&Planned { dry_run: true, plan }, || {
            format!("nothing was done; this is the plan\n\n{}", human())
        })
    }

    /// Prints text for people to standard output, with a line end if it has none.
    pub(super) fn text(&self, text: &str) -> io::Result<()> {
        if text.is_empty() || text.ends_with('\n') {
            self.bytes(text.as_bytes())
        } else {
            self.bytes(format!("{text}\n").as_bytes())
        }
    }

    /// Prints an event, as a line of JSON.
    pub(super) fn line<T: Serialize>(&self, event: &T) -> io::Result<()> {
        let mut line = serde_json::to_string(event).map_err(io::Error::other)?;
        line.push('\n');
        self.bytes(line.as_bytes())
    }

    /// Prints bytes to standard output. A reader that went away, such as `head`, is no failure.
    #[expect(clippy::unused_self, reason = "printing goes through `Output` everywhere")]
    pub(super) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome.map_err(|error| {
                io::Error::new(error.kind(), format!("can't write to standard output: {error}"))
            }),
        }
    }

    /// Says something on standard error, unless it is to be quiet.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            talk(text);
        }
    }

    /// Warns on standard error.
    pub(super) fn warn(&self, text: &str) {
        if !self.quiet {
            talk(&self.remark(Tone::Warning, "warning:", text));
        }
    }

    /// A heading and what it is about, as everything on standard error looks.
    pub(super) fn remark(&self, tone: Tone, heading: &str, text: &str) -> String {
        format!("{} {}", self.tone(tone, heading), printable(text))
    }

    /// Says why a command failed: the error with its causes, and what to do about it.
    pub(super) fn failure(&self, failed: &Failed) {
        if let Some(report) = &failed.report {
            talk(report.trim_end());
        }
        talk(&self.remark(Tone::Bad, "error:", &failed.text()));
        for hint in &failed.hints {
            talk(&self.remark(Tone::Strong, "hint:", hint));
        }
    }

    /// `text` in a tone, on standard error.
    pub(super) fn tone(&self, tone: Tone, text: &str) -> String {
        paint(self.talk_colour, tone, text)
    }

    /// `text` in a tone, on standard output.
    pub(super) fn data_tone(&self, tone: Tone, text: &str) -> String {
        paint(self.data_colour, tone, text)
    }
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", tone.code()) } else { text.to_owned() }
}

/// A line on standard error; when even that is gone, there is nobody left to tell.
fn talk(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}
