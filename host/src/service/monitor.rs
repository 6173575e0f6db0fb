//! What others can ask of a service over HTTP: whether it lives, whether it is ready, and its figures.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::time::{interval, timeout};

use crate::metrics;
use crate::store::Store;
use crate::store::queue::Depth;

/// A service that has not looked at the queue for so long hangs. Longer than any wait for a connection.
const STALLED: Duration = Duration::from_secs(90);

/// Time between two times at which what was noted is summed up.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long the database may take for what it is asked for the figures: who collects them waits for 10 s at most, unless
/// he is told otherwise.
const ASKED_MAX: Duration = Duration::from_secs(1);

/// How a service is.
#[derive(Debug)]
pub(super) struct Vitals {
    /// It takes nothing more.
    pub(super) is_draining: AtomicBool,
    /// When it looked at the queue the last time.
    looked: Mutex<Instant>,
    /// When its leases were renewed the last time, by a clock that nobody sets.
    renewed: Mutex<Instant>,
    /// How old a renewal may be before what runs is ended.
    sure: Duration,
}

impl Vitals {
    /// Of a service that ends what it runs if its leases are not renewed for `sure`.
    pub(super) fn new(sure: Duration) -> Self {
        let now = Instant::now();
        Self { is_draining: AtomicBool::new(false), looked: Mutex::new(now), renewed: Mutex::new(now), sure }
    }

    pub(super) fn has_looked(&self) {
        set(&self.looked, Instant::now());
    }

    pub(super) fn has_renewed(&self, time: Instant) {
        set(&self.renewed, time);
    }

    /// Whether the leases are too old for somebody else not to have what runs soon.
    pub(super) fn is_unsure(&self) -> bool {
        elapsed(&self.renewed) > self.sure
    }

    /// Why it takes nothing; none if it does.
    fn unready(&self) -> Option<&'static str> {
        if self.is_draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if self.is_unsure() {
            Some("database unreachable")
        } else {
            None
        }
    }
}

fn set(time: &Mutex<Instant>, to: Instant) {
    *time.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

fn elapsed(time: &Mutex<Instant>) -> Duration {
    time.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
}

/// What is asked about.
struct Watched {
    vitals: Arc<Vitals>,
    store: Store,
    figures: PrometheusHandle,
    /// What waited when somebody asked the last time.
    waited: Mutex<Vec<Depth>>,
}

/// Answers for as long as the service lives. The address that it got.
pub(super) async fn answer(
    address: SocketAddr,
    vitals: Arc<Vitals>,
    store: Store,
    figures: PrometheusHandle,
) -> std::io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let upkeep = figures.clone();
    let router = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(figures_of))
        .with_state(Arc::new(Watched { vitals, store, figures, waited: Mutex::default() }));
    Ok((bound, async move {
        tokio::select! {
            served = axum::serve(listener, router) => {
                if let Err(error) = served {
                    tracing::error!("nobody can ask for this worker's health any more: {error}");
                }
            }
            () = keep_small(upkeep) => {}
        }
    }))
}

/// Sums up what was noted, whether or not somebody collects it.
async fn keep_small(figures: PrometheusHandle) {
    let mut beat = interval(UPKEEP);
    loop {
        beat.tick().await;
        figures.run_upkeep();
    }
}

async fn live(State(watched): State<Arc<Watched>>) -> Response {
    says((elapsed(&watched.vitals.looked) > STALLED).then_some("stalled"))
}

async fn ready(State(watched): State<Arc<Watched>>) -> Response {
    says(watched.vitals.unready())
}

fn says(trouble: Option<&'static str>) -> Response {
    let status = if trouble.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = serde_json::json!({ "status": trouble.unwrap_or("ok") });
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

async fn figures_of(State(watched): State<Arc<Watched>>) -> Response {
    match timeout(ASKED_MAX, watched.store.queue_depths()).await {
        Ok(Ok(depths)) => {
            let mut waited = watched.waited.lock().unwrap_or_else(PoisonError::into_inner);
            // What does not wait any more is nothing.
            for gone in waited.iter() {
                metrics::queue(&gone.runtime, &gone.constraint, 0, Duration::ZERO);
            }
            for depth in &depths {
                metrics::queue(&depth.runtime, &depth.constraint, depth.waiting, depth.oldest);
            }
            *waited = depths;
        }
        // The other figures are as good as ever, and more wanted than before.
        Ok(Err(error)) => tracing::debug!("can't see what waits in the queue: {error}"),
        Err(_) => tracing::debug!("can't see what waits in the queue: there was no answer in {ASKED_MAX:?}"),
    }
    let text = watched.figures.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
