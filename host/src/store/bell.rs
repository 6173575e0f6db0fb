//! Waking services that wait for something to do.
//!
//! A bell may be missed: whoever listens also looks from time to time. On a server it is a notification; beside a file,
//! each service has a socket in a folder that everybody who uses the file knows.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::net::UnixDatagram;
use tokio::time::sleep;
use uuid::Uuid;

use super::database::{Database, Transaction};
use super::{Location, Result, Store, refusal};

/// The channel of notifications on a server.
const CHANNEL: &str = "attune_queue";

/// Time between two tries to reach a server.
const AGAIN: Duration = Duration::from_millis(500);

/// So many letters fit into a socket at least: Linux's own value of `net.unix.max_dgram_qlen`.
const ROOM_MIN: usize = 10;

/// What there may be to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bell {
    /// The queue has changed.
    Queue,
    /// What workers can run may have changed: what is kept of packs, runtimes, versions, actions and sensors, or what is
    /// installed on a machine.
    Runnable,
}

impl Bell {
    /// As it is sent.
    const fn letter(self) -> &'static str {
        match self {
            Self::Queue => "q",
            Self::Runnable => "r",
        }
    }
}

/// What was rung since somebody listened the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rung {
    pub queue: bool,
    pub runnable: bool,
}

impl Rung {
    fn add(&mut self, letter: &[u8]) {
        // What is not understood may mean either.
        self.queue |= letter != Bell::Runnable.letter().as_bytes();
        self.runnable |= letter != Bell::Queue.letter().as_bytes();
    }
}

/// Hears when there may be something to do.
#[derive(Debug)]
pub enum Listener {
    /// Of a service beside a file.
    Socket(Socket),
    /// Of a service on a server.
    Server(Box<PgListener>),
    /// Nothing can be heard; whoever listens has to look.
    Deaf,
}

/// A socket that is removed when nobody listens any more.
#[derive(Debug)]
pub struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A socket that is left is removed by the first one that rings it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Commits a change of what workers can run, and has them look at it.
    pub(super) async fn commit_runnable(&self, transaction: Transaction) -> Result<()> {
        transaction.commit().await?;
        self.ring(Bell::Runnable).await;
        Ok(())
    }

    /// Wakes the services. That it can't is no failure, they are only slower then.
    pub async fn ring(&self, bell: Bell) {
        match &self.database {
            Database::Sqlite(_) => {
                if let Location::File(path) = &self.location {
                    ring_all(&bells(path), bell);
                }
            }
            Database::Postgres(_) => {
                let statement = self.database.query("select pg_notify($1, $2)");
                let rung = statement.bind(CHANNEL).bind(bell.letter()).fetch_all().await;
                if let Err(error) = rung {
                    tracing::debug!("can't wake the workers: {error}");
                }
            }
        }
    }

    /// Listens from now on: look once after this, so that nothing is missed.
    pub async fn listen(&self) -> Listener {
        let listener = match (&self.database, &self.location) {
            (Database::Sqlite(_), Location::File(path)) => {
                bind(&bells(path)).map_err(|error| error.to_string())
            }
            (Database::Postgres(pool), _) => subscribe(pool).await.map_err(|error| error.to_string()),
            (Database::Sqlite(_), Location::Server(_)) => Ok(Listener::Deaf),
        };
        listener.unwrap_or_else(|error| {
            tracing::warn!("nobody can wake this worker, so it only looks from time to time: {error}");
            Listener::Deaf
        })
    }
}

impl Listener {
    /// Completes when a bell was rung, once for all the times that it was.
    pub async fn heard(&mut self) -> Rung {
        let mut rung = Rung::default();
        match self {
            Self::Socket(Socket { socket, .. }) => {
                let mut letter = [0; 1];
                match socket.recv(&mut letter).await {
                    Ok(_) => rung.add(&letter),
                    Err(_) => std::future::pending().await,
                }
                let mut count = 1;
                while socket.try_recv(&mut letter).is_ok() {
                    rung.add(&letter);
                    count += 1;
                }
                if count >= ROOM_MIN {
                    // There may have been no room for more.
                    rung = Rung { queue: true, runnable: true };
                }
            }
            Self::Server(listener) => {
                match listener.try_recv().await {
                    Ok(Some(notification)) => rung.add(notification.payload().as_bytes()),
                    // Another connection in place of one that was lost. What was rung meanwhile is lost as well, so
                    // that counts as rung.
                    Ok(None) => rung = Rung { queue: true, runnable: true },
                    // No connection; the next call tries again.
                    Err(_) => {
                        sleep(AGAIN).await;
                        rung = Rung { queue: true, runnable: true };
                    }
                }
                while let Some(notification) = listener.next_buffered() {
                    rung.add(notification.payload().as_bytes());
                }
            }
            Self::Deaf => std::future::pending().await,
        }
        rung
    }
}

/// The folder of sockets of those who listen beside a file.
fn bells(database: &Path) -> PathBuf {
    database.with_extension("bells")
}

fn bind(folder: &Path) -> std::io::Result<Listener> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(Uuid::now_v7().simple().to_string());
    Ok(Listener::Socket(Socket { socket: UnixDatagram::bind(&path)?, path }))
}

async fn subscribe(pool: &sqlx::PgPool) -> Result<Listener> {
    let mut listener = Box::pin(refusal::reached(pool, PgListener::connect_with(pool))).await?;
    listener.listen(CHANNEL).await?;
    Ok(Listener::Server(Box::new(listener)))
}

fn ring_all(folder: &Path, what: Bell) {
    // Without the folder, nobody has ever listened.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let Ok(bell) = std::os::unix::net::UnixDatagram::unbound() else { return };
    // Where there is no room for more, whoever listens knows that he may have missed something.
    if bell.set_nonblocking(true).is_err() {
        return;
    }
    for path in entries.flatten().map(|entry| entry.path()) {
        match bell.send_to(what.letter().as_bytes(), &path) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                // Whoever listened was killed.
                let _ = std::fs::remove_file(&path);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn all_who_listen_hear_it_and_who_is_gone_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::File(folder.path().join("attune.db"));
        let store = Store::open(&location).await.unwrap();
        store.ring(Bell::Queue).await;
        let (mut one, mut other) = (store.listen().await, store.listen().await);
        for _ in 0..3 {
            store.ring(Bell::Queue).await;
        }
        assert_eq!(one.heard().await, Rung { queue: true, runnable: false });
        store.ring(Bell::Runnable).await;
        assert_eq!(other.heard().await, Rung { queue: true, runnable: true });
        assert_eq!(one.heard().await, Rung { queue: false, runnable: true });
        assert!(timeout(Duration::from_millis(20), one.heard()).await.is_err(), "three times is once");
        drop(one);
        let left = bells(&folder.path().join("attune.db"));
        assert_eq!(left.read_dir().unwrap().count(), 1);
        if let Listener::Socket(socket) = other {
            // As after a kill: the socket is closed, its file stays.
            let path = socket.path.clone();
            let (closed, aside) = (path.clone(), path.with_extension("aside"));
            std::fs::rename(&path, &aside).unwrap();
            drop(socket);
            std::fs::rename(aside, closed).unwrap();
        }
        store.ring(Bell::Queue).await;
        assert_eq!(left.read_dir().unwrap().count(), 0);
    }

    #[tokio::test]
    async fn who_may_have_missed_something_is_told_that_it_may_be_anything() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::File(folder.path().join("attune.db"))).await.unwrap();
        let mut listener = store.listen().await;
        let room = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
        for _ in 0..=room.trim().parse::<usize>().unwrap() + 1 {
            store.ring(Bell::Queue).await;
        }
        store.ring(Bell::Runnable).await;
        assert_eq!(listener.heard().await, Rung { queue: true, runnable: true });
        store.ring(Bell::Queue).await;
        assert_eq!(listener.heard().await, Rung { queue: true, runnable: false }, "there is room again");
    }
}
