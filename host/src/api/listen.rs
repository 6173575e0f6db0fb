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
    let slots = Arc::new(Semaphore::new(connections_max()));
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

fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // The database, and whatever executions there are, need some as well.
    usize::try_from(CONNECTIONS_MAX.min(files / 4 * 3)).unwrap_or(usize::MAX)
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
