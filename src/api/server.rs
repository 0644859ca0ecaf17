//! The server's side: routes, and the questions they put to the daemon.
//!
//! Handlers hold no state: each sends a [`Request`] to the control loop, which owns the daemon, and waits for
//! the answer.

use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::types::{NewContainer, Problem};

/// Questions that may wait for the control loop.
const WAITING: usize = 64;

/// What the API can ask of the daemon.
#[derive(Debug)]
pub(crate) enum Ask {
    /// To be told something.
    Tell(Query),
    /// To make a container that lasts as long as a process.
    AddContainer(NewContainer),
}

/// What the daemon can be asked to tell; changes nothing.
#[derive(Debug)]
pub(crate) enum Query {
    Status,
    Ports {
        network: Option<String>,
    },
    Fdb {
        network: Option<String>,
    },
    Counters {
        network: Option<String>,
    },
    Neighbors {
        network: Option<String>,
    },
    Routes {
        network: Option<String>,
    },
    /// Connections from this place of their table on.
    Conntrack {
        network: Option<String>,
        from: u32,
    },
    Networks,
    Network(String),
    Containers,
    Container(String),
    /// A container's published ports.
    Published(String),
}

/// Why the daemon did not do it.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such thing.
    NotFound(String),
    /// It cannot be done.
    Failed(String),
}

/// The daemon's answer.
pub(crate) type Answer = Result<Value, Refusal>;

/// A question and where the answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// Starts serving on the current runtime; requests come out of the receiver.
pub(crate) fn serve(listener: UnixListener) -> mpsc::Receiver<Request> {
    let (requests, receiver) = mpsc::channel(WAITING);
    let router = Router::new()
        .route("/v1/status", get(async |asker| tell(asker, Query::Status).await))
        .route("/v1/ports", get(async |asker, only| tell(asker, Query::Ports { network: of(only) }).await))
        .route("/v1/fdb", get(async |asker, only| tell(asker, Query::Fdb { network: of(only) }).await))
        .route(
            "/v1/counters",
            get(async |asker, only| tell(asker, Query::Counters { network: of(only) }).await),
        )
        .route(
            "/v1/neighbors",
            get(async |asker, only| tell(asker, Query::Neighbors { network: of(only) }).await),
        )
        .route("/v1/routes", get(async |asker, only| tell(asker, Query::Routes { network: of(only) }).await))
        .route("/v1/conntrack", get(conntrack))
        .route("/v1/networks", get(async |asker| tell(asker, Query::Networks).await))
        .route("/v1/networks/{name}", get(async |asker, Path(name)| tell(asker, Query::Network(name)).await))
        .route("/v1/containers", get(async |asker| tell(asker, Query::Containers).await).post(add_container))
        .route(
            "/v1/containers/{name}",
            get(async |asker, Path(name)| tell(asker, Query::Container(name)).await),
        )
        .route(
            "/v1/containers/{name}/ports",
            get(async |asker, Path(name)| tell(asker, Query::Published(name)).await),
        )
        .with_state(requests);
    tokio::spawn(async move {
        // Never returns: accept errors are retried.
        let _ = axum::serve(listener, router).await;
    });
    receiver
}

type Asker = State<mpsc::Sender<Request>>;

/// `?network=NAME`.
#[derive(Deserialize)]
struct Only {
    network: Option<String>,
}

fn of(UrlQuery(only): UrlQuery<Only>) -> Option<String> {
    only.network
}

/// `?network=NAME&from=PLACE`.
#[derive(Deserialize)]
struct Part {
    network: Option<String>,
    from: Option<u32>,
}

async fn conntrack(asker: Asker, UrlQuery(Part { network, from }): UrlQuery<Part>) -> Response {
    tell(asker, Query::Conntrack { network, from: from.unwrap_or(0) }).await
}

async fn add_container(asker: Asker, Json(new): Json<NewContainer>) -> Response {
    put(asker, Ask::AddContainer(new)).await
}

async fn tell(asker: Asker, query: Query) -> Response {
    put(asker, Ask::Tell(query)).await
}

/// Puts a question to the control loop and makes its answer a response.
async fn put(State(requests): Asker, ask: Ask) -> Response {
    let (reply, answer) = oneshot::channel();
    let sent = requests.send(Request { ask, reply }).await;
    let answer = if sent.is_ok() { answer.await.ok() } else { None };
    let (status, error) = match answer {
        Some(Ok(value)) => return Json(value).into_response(),
        Some(Err(Refusal::NotFound(error))) => (StatusCode::NOT_FOUND, error),
        Some(Err(Refusal::Failed(error))) => (StatusCode::CONFLICT, error),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the switch is shutting down".to_owned()),
    };
    (status, Json(Problem { error })).into_response()
}
