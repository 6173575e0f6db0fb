//! The connection between a program and its database server, which can be out of order.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The name of a server's socket within its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A line to a server.
pub(crate) struct Line {
    /// The URL of the database, by this line.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    ends: Vec<UnixStream>,
    /// Whether the connections that are there carry nothing any more.
    muted: Arc<AtomicBool>,
    /// How many connections were let through.
    through: usize,
}

/// How a line is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Whoever connects is hung up on.
    Cut,
    /// Whoever connects is refused, as by a machine on which there is no server.
    Refused,
    /// Whoever connects waits for an answer for ever.
    Silent,
}

impl Line {
    /// A line to the database at `url`, if its server has a socket.
    pub(crate) fn to(url: &str) -> Option<Self> {
        let (before, server) = url.split_once("?host=")?;
        let folder = tempfile::Builder::new().prefix("attune-line-").tempdir_in("/tmp").expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let state = Arc::<Mutex<State>>::default();
        let (server, shared) = (format!("{server}/{SOCKET}"), Arc::clone(&state));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let mut state = lock(&shared);
                match state.fault {
                    None => {
                        drop(state);
                        drop(connect(near, &server, &shared));
                    }
                    Some(Fault::Silent) => state.ends.push(near),
                    // Nobody is at the other end.
                    Some(Fault::Cut | Fault::Refused) => {}
                }
            }
        });
        let url = format!("{before}?host={}", folder.path().display());
        Some(Self { url, state, folder })
    }

    /// Ends all connections, and lets no new one through.
    pub(crate) fn cut(&self) {
        self.fail(Fault::Cut);
    }

    /// The same, in a way.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = lock(&self.state);
        state.fault = Some(fault);
        if fault == Fault::Refused {
            let (socket, aside) = self.sockets();
            fs::rename(&socket, aside).expect("moved");
            // The file stays, and nobody listens.
            drop(UnixListener::bind(socket).expect("a socket"));
        }
        // Last: who is hung up on connects again, and is to find it as it is to be.
        state.hang_up();
    }

    /// Has the connections that are there carry nothing any more, and nobody is told; new ones are as they should be.
    pub(crate) fn mute(&self) {
        std::mem::take(&mut lock(&self.state).muted).store(true, Ordering::Relaxed);
    }

    pub(crate) fn mend(&self) {
        let mut state = lock(&self.state);
        if state.fault.take() == Some(Fault::Refused) {
            let (socket, aside) = self.sockets();
            fs::rename(aside, socket).expect("moved");
        }
        state.hang_up();
    }

    /// How many connections were let through since the beginning.
    pub(crate) fn through(&self) -> usize {
        lock(&self.state).through
    }

    /// The socket of the line, and where it is while it is refused.
    fn sockets(&self) -> (PathBuf, PathBuf) {
        let socket = self.folder.path().join(SOCKET);
        (socket.clone(), socket.with_extension("aside"))
    }
}

impl State {
    fn hang_up(&mut self) {
        for end in self.ends.drain(..) {
            // One that has ended already needs no end.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(near: UnixStream, server: &str, state: &Mutex<State>) -> io::Result<()> {
    let far = UnixStream::connect(server)?;
    let ends = [near.try_clone()?, far.try_clone()?];
    let muted;
    {
        let mut state = lock(state);
        // It may have been put out of order meanwhile.
        if state.fault.is_some() {
            return Ok(());
        }
        state.ends.extend(ends);
        state.through += 1;
        muted = Arc::clone(&state.muted);
    }
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let muted = Arc::clone(&muted);
        thread::spawn(move || {
            let copied = carry(&mut from, &mut to, &muted);
            drop(to.shutdown(Shutdown::Both));
            copied
        });
    }
    Ok(())
}

fn carry(from: &mut UnixStream, to: &mut UnixStream, muted: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if !muted.load(Ordering::Relaxed) {
            to.write_all(&buffer[..count])?;
        }
    }
}
