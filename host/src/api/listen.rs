//! Connections: how many there may be, how long a caller may take to say what he wants, and with or without TLS.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::process::Cancel;

/// More connections than this wait until one has ended; fewer where this process may not have so many files.
const CONNECTIONS_MAX: u64 = 4096;

/// The database, and whatever executions there are, need a quarter of the files, and no fewer than these where
/// that leaves half of them.
const OTHER_FILES_MIN: u64 = 64;

/// A request has so many headers at most, of so many bytes in all.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 32 << 10;

/// Within this time a connection is encrypted, and has sent the headers of its next request.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long requests that are being answered are waited for at the end.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Time between two tries to take a connection when there is no room for one.
const AGAIN: Duration = Duration::from_millis(100);

/// Answers until `stop` is asked for and what is being answered then has been.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    mut stop: Cancel,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let slots = Arc::new(Semaphore::new(connections_max(files)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.asked() => break,
            Some(_) = connections.join_next() => {}
            (stream, slot) = accept(&listener, &slots) => {
                let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                connections.spawn(async move {
                    answer(stream, acceptor, router, stop).await;
                    drop(slot);
                });
            }
        }
    }
    drop(listener);
    let answered = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_MAX, answered).await.is_err() {
        tracing::warn!("what was still being answered is cut off");
    }
}

/// How many connections there may be in a process that may have so many files open.
fn connections_max(files: u64) -> usize {
    let others = (files / 4).max(OTHER_FILES_MIN).min(files / 2);
    usize::try_from(CONNECTIONS_MAX.min(files - others)).unwrap_or(usize::MAX)
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            // One that was there and is gone again, or no room for it.
            Err(error) => {
                tracing::debug!("can't take a connection: {error}");
                sleep(AGAIN).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, acceptor: Option<TlsAcceptor>, router: Router, mut stop: Cancel) {
    // What is small is sent at once.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return talk(stream, router, stop).await };
    let shaken = tokio::select! {
        shaken = timeout(PATIENCE, acceptor.accept(stream)) => shaken,
        () = stop.asked() => return,
    };
    match shaken {
        Ok(Ok(stream)) => talk(stream, router, stop).await,
        Ok(Err(error)) => tracing::debug!("a connection was not encrypted: {error}"),
        Err(_) => tracing::debug!("a connection was not encrypted in time"),
    }
}

async fn talk<S>(stream: S, router: Router, mut stop: Cancel)
where
    TokioIo<S>: Read + Write + Unpin,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.asked() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection has broken off: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_others() {
        for (files, connections) in
            [(16, 8), (64, 32), (128, 64), (256, 192), (1024, 768), (65_536, 4096), (u64::MAX, 4096)]
        {
            assert_eq!(connections_max(files), connections, "of {files}");
        }
    }
}
