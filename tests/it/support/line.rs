//! The connection between a program and its database server, which can be cut.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The name of a server's socket within its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// A line to a server.
pub(crate) struct Line {
    /// The URL of the database, by this line.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    ends: Vec<UnixStream>,
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
                // Whoever comes while it is cut finds nobody at the other end.
                if !lock(&shared).is_cut {
                    drop(connect(near, &server, &shared));
                }
            }
        });
        let url = format!("{before}?host={}", folder.path().display());
        Some(Self { url, state, _folder: folder })
    }

    /// Ends all connections, and lets no new one through.
    pub(crate) fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for end in state.ends.drain(..) {
            // One that has ended already needs no end.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        lock(&self.state).is_cut = false;
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(near: UnixStream, server: &str, state: &Mutex<State>) -> io::Result<()> {
    let far = UnixStream::connect(server)?;
    lock(state).ends.extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            let copied = io::copy(&mut from, &mut to);
            drop(to.shutdown(Shutdown::Both));
            copied
        });
    }
    Ok(())
}
