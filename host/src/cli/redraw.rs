//! `--watch`: the same shown again and again, in its place.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use rustix::termios::tcgetwinsize;
use tokio::time::sleep;

use super::failure::{Exit, Failed};
use super::interruption;
use super::output::{Output, Tone};

/// Time between two looks.
const AGAIN: Duration = Duration::from_secs(1);

/// A screen of its own, without a cursor; and the one before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Before a line, what was there; and after the last, all that was below.
const CLEAR_LINE: &str = "\x1b[2K";
const CLEAR_REST: &str = "\x1b[J";
const HOME: &str = "\x1b[H";

/// Rows of a terminal that does not say how many it has.
const ROWS: usize = 24;

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Watch {
    /// Show it every second in its place, on a terminal, until Ctrl-C or until nothing more comes of it
    #[arg(long)]
    pub watch: bool,
}

/// Something as it is now.
pub(super) struct View {
    pub text: String,
    /// Whether it stays like that.
    pub is_final: bool,
}

impl View {
    /// Something that may be another in a moment.
    pub(super) fn passing(text: String) -> Self {
        Self { text, is_final: false }
    }
}

/// Shows what `look` finds, every second, until it is final or somebody interrupts; the last of it stays on the screen.
pub(super) async fn redraw(
    output: &Output,
    mut look: impl AsyncFnMut() -> Result<View, Failed>,
) -> Result<Exit, Failed> {
    if output.json || !io::stdout().is_terminal() {
        return Err(Failed::message(Exit::Input, "`--watch` draws on a terminal")
            .hint("for a program, ask again without it, or follow `/api/v1/executions/stream`"));
    }
    let mut view = look().await?;
    let (interruptions, mut stop) = interruption::listen_quietly();
    output.bytes(ENTER.as_bytes())?;
    let mut is_away = None;
    let outcome = loop {
        if let Err(error) = draw(output, &view.text, is_away.as_deref()) {
            break Err(error.into());
        }
        if view.is_final {
            break Ok(());
        }
        let looked = async {
            sleep(AGAIN).await;
            look().await
        };
        tokio::select! {
            looked = looked => match looked {
                Ok(looked) => (view, is_away) = (looked, None),
                Err(failed) if failed.is_outage() => is_away = Some(failed.text()),
                Err(failed) => break Err(failed),
            },
            () = stop.asked() => break Ok(()),
        }
    };
    interruptions.abort();
    output.bytes(LEAVE.as_bytes())?;
    outcome?;
    output.text(&view.text)?;
    Ok(Exit::Success)
}

/// Draws as much as there is room for.
fn draw(output: &Output, text: &str, is_away: Option<&str>) -> io::Result<()> {
    let rows = tcgetwinsize(io::stdout()).map_or(ROWS, |size| usize::from(size.ws_row).max(2));
    let away = is_away.map(|why| output.remark(Tone::Warning, "not as it is now:", why));
    let room = rows - 1 - usize::from(away.is_some());
    let mut drawn = HOME.as_bytes().to_vec();
    for line in away.as_deref().into_iter().chain(text.lines().take(room)) {
        write!(drawn, "{CLEAR_LINE}{line}\r\n")?;
    }
    let more = text.lines().count().saturating_sub(room);
    if more > 0 {
        write!(drawn, "{CLEAR_LINE}… and {more} more lines")?;
    }
    drawn.extend_from_slice(CLEAR_REST.as_bytes());
    output.bytes(&drawn)
}
