//! What the command line does, over HTTP: `/api/v1`.
//!
//! A layer over the same functions that the commands call: handlers check who asks, read the request, call one of them, and
//! turn what comes back into a document or a [`Problem`]. The routes are where the document that describes them is made, so
//! that neither can have what the other has not.

mod access;
mod actions;
mod body;
mod change;
mod declaration;
mod events;
mod executions;
mod fleet;
mod installations;
mod listen;
mod page;
mod packs;
mod plugins;
mod problem;
mod programs;
mod query;
mod rate;
mod runtimes;
mod sensors;
mod state;
mod stream;
mod tls;
mod tokens;
mod versions;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::process::Cancel;
use crate::worker::Worker;

use rate::Rate;
use watch::Watch;

pub use access::ADMIN_TOKEN_FILE;
pub use problem::Problem;
pub use tls::{TlsError, TlsFiles};

/// Where all of it is.
pub const PREFIX: &str = "/api/v1";

/// More bytes of a request than this are not read. Parameters may have as many as the queue takes.
const BODY_MAX: usize = 2 << 20;

/// The same, where an archive of a pack is sent: components made from interpreters have tens of MiB.
const ARCHIVE_MAX: usize = 128 << 20;

/// Where archives are sent to.
const UPLOADS: &str = "/api/v1/packs";

/// It takes no longer until one is read and installed, with the components in it compiled; or until every installation of a
/// runtime has proved that it works.
const WORK_MAX: Duration = Duration::from_mins(10);

/// No other answer takes longer than this.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// For how long whoever asks from a page need not ask again whether he may.
const ALLOWED_FOR: Duration = Duration::from_mins(10);

/// What handlers share.
#[derive(Debug)]
struct Api {
    worker: Worker,
    /// The same, to ask for executions with: what those have in common is read once, until who asks next sees that it was
    /// changed.
    asker: Worker,
    /// Where it listens: whoever asks has to call it by a name that is meant for there.
    bound: SocketAddr,
    watch: Watch,
    /// None: as often as anybody likes.
    rate: Option<Rate>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Attune",
        description = "Runs automation actions under the language runtime version that each asks for.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "Where this document comes from")),
    security(("token" = [])),
    components(schemas(Problem, stream::Stands, stream::Printed, stream::Became)),
    modifiers(&Token),
    tags(
        (name = "packs", description = "What is installed"),
        (name = "runtimes", description = "Languages, and the versions of each"),
        (name = "actions", description = "What can be run"),
        (name = "sensors", description = "What watches for events"),
        (name = "executions", description = "What was asked to run, and what came of it"),
        (name = "workers", description = "Who runs it, and what they built"),
        (name = "plugins", description = "Components, and what they may do"),
        (name = "access", description = "Tokens, and what was done with them"),
    )
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("attune_…").build(),
        );
        description.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// Every route, with its description.
fn routes() -> OpenApiRouter<Arc<Api>> {
    let routes = OpenApiRouter::new()
        .routes(routes!(packs::list, packs::install).layer(DefaultBodyLimit::max(ARCHIVE_MAX)))
        .routes(routes!(packs::validate).layer(DefaultBodyLimit::max(ARCHIVE_MAX)))
        .routes(routes!(packs::show, packs::remove))
        .routes(routes!(runtimes::list, runtimes::create))
        .routes(routes!(runtimes::show, runtimes::change, runtimes::delete))
        .routes(routes!(runtimes::all_grants))
        .routes(routes!(runtimes::grants, runtimes::set_grants))
        .routes(routes!(versions::list, versions::register))
        .routes(routes!(versions::show, versions::change, versions::delete))
        .routes(routes!(versions::set_default))
        .routes(routes!(installations::list))
        .routes(routes!(installations::verify))
        .routes(routes!(installations::verify_version))
        .routes(routes!(installations::resolve))
        .routes(routes!(actions::list, actions::create))
        .routes(routes!(actions::show, actions::change, actions::delete))
        .routes(routes!(sensors::list, sensors::create))
        .routes(routes!(sensors::show, sensors::change, sensors::delete))
        .routes(routes!(events::list))
        .routes(routes!(executions::list, executions::enqueue))
        .routes(routes!(executions::show))
        .routes(routes!(executions::cancel))
        .routes(routes!(executions::retry))
        .routes(routes!(executions::log))
        .routes(routes!(executions::result))
        .routes(routes!(stream::follow))
        .routes(routes!(stream::follow_all))
        .routes(routes!(fleet::workers))
        .routes(routes!(fleet::worker))
        .routes(routes!(fleet::cordon))
        .routes(routes!(fleet::uncordon))
        .routes(routes!(fleet::drain))
        .routes(routes!(fleet::environments))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::show))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::audit));
    OpenApiRouter::with_openapi(Description::openapi()).nest(PREFIX, routes)
}

/// The document that describes the API, as OpenAPI 3.1.
#[must_use]
pub fn description() -> String {
    let mut description = routes().into_openapi();
    // It has to say what an answer means also where that is what its status does.
    let operations = description.paths.paths.values_mut().flat_map(|path| {
        [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete]
            .into_iter()
            .flatten()
    });
    for (status, response) in operations.flat_map(|operation| &mut operation.responses.responses) {
        if let RefOr::T(response) = response
            && response.description.is_empty()
            && let Ok(status) = status.parse::<StatusCode>()
            && let Some(words) = status.canonical_reason()
        {
            words.clone_into(&mut response.description);
        }
    }
    let schemas = description.components.iter_mut().flat_map(|components| &mut components.schemas);
    schemas.for_each(|(name, schema)| page::name_items(name, schema));
    let mut text = description.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Why the API can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address can't be used.
    #[error("can't listen on `{address}`: {source}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// Everybody who is on the way could read the tokens.
    #[error("`{address}` can be reached from other machines, and what goes over it can be read on the way")]
    Exposed { address: SocketAddr },
    /// Nothing can be encrypted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token of whoever starts it can't be written.
    #[error("can't write the token of the administrator into `{}`: {source}", path.display())]
    Token {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The database can't be used.
    #[error(transparent)]
    Change(#[from] crate::store::change::ChangeError),
}

/// An API that listens and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    api: Arc<Api>,
}

/// How others reach it.
#[derive(Clone, Debug)]
pub struct Reach {
    pub address: SocketAddr,
    /// With a certificate, it is encrypted.
    pub tls: Option<TlsFiles>,
    /// Whether others may reach it without encryption.
    pub plain: bool,
}

impl Bound {
    /// Listens; where others can reach it, only with encryption or if that is allowed.
    pub async fn new(worker: Worker, reach: &Reach) -> Result<Self, ApiError> {
        let address = reach.address;
        if !address.ip().is_loopback() && reach.tls.is_none() && !reach.plain {
            return Err(ApiError::Exposed { address });
        }
        let tls = reach.tls.as_ref().map(tls::load).transpose()?;
        let failed = |source| ApiError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        access::ensure_admin(&worker).await?;
        let watch = Watch::new(worker.store.clone());
        let asker = Worker { store: worker.store.caching(), ..worker.clone() };
        let rate = worker.settings.api.rate_limit.map(Rate::new);
        Ok(Self { listener, tls, api: Arc::new(Api { worker, asker, bound, watch, rate }) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.api.bound
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address().ip())
    }

    /// The same for what runs on this machine.
    #[must_use]
    pub fn own_url(&self) -> String {
        self.url_at(match self.address().ip() {
            IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            address => address,
        })
    }

    fn url_at(&self, address: IpAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{PREFIX}", SocketAddr::new(address, self.address().port()))
    }

    /// Answers until `stop` is asked for and what is being answered then has been.
    pub async fn serve(self, stop: Cancel) {
        let Self { listener, tls, api } = self;
        let mut asked = stop.clone();
        let end = async {
            asked.asked().await;
            // Who follows something would be waited for in vain.
            api.watch.end().await;
        };
        tokio::join!(listen::serve(listener, tls, router(&api), stop), api.watch.run(), end);
    }
}

fn router(api: &Arc<Api>) -> Router {
    let (router, description) = routes().split_for_parts();
    let known = Arc::new(query::Known::new(&description));
    let router = router
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_done)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(known, query::check))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(Arc::clone(api), access::admit));
    let origins = &api.worker.settings.api.origins;
    let router = if origins.is_empty() { router } else { router.layer(cors(origins)) };
    router
        // Whoever may not look at anything may still read what there would be.
        .route(&format!("{PREFIX}/openapi.json"), get(|| async { document() }))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/health/ready", get(ready))
        .merge(page())
        .layer(CompressionLayer::new())
        .with_state(Arc::clone(api))
}

/// Lets pages of these origins ask, and read the answers.
fn cors(origins: &[String]) -> CorsLayer {
    const MORE: [HeaderName; 3] = [
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        access::REQUEST_ID,
    ];
    let [key, last, request] = MORE;
    CorsLayer::new()
        .allow_origin(
            origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect::<Vec<_>>(),
        )
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, key, last])
        .expose_headers([header::ETAG, header::RETRY_AFTER, request])
        .max_age(ALLOWED_FOR)
}

/// Cuts off what takes too long; what is left of it is not done, but for packs, which are installed as a whole or not at all.
async fn in_time(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_work = path.starts_with(UPLOADS) || path.ends_with("/verify");
    let limit = if is_work && request.method() == Method::POST { WORK_MAX } else { ANSWER_MAX };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::late(limit).into_response(),
    }
}

/// A page to look at the API with, and to try it.
fn page() -> SwaggerUi {
    let document = format!("{PREFIX}/openapi.json");
    SwaggerUi::new("/docs")
        .config(Config::from(document).persist_authorization(false).try_it_out_enabled(true))
}

fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], description()).into_response()
}

async fn nothing_there() -> Problem {
    Problem::not_found("there is nothing under this path")
        .hint(format!("{PREFIX}/openapi.json describes what there is"))
}

async fn not_done() -> Problem {
    Problem::not_allowed().hint(format!("{PREFIX}/openapi.json describes what can be done"))
}

async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.worker.store.time().await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
