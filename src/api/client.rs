//! The client's side, as the CLI uses it: one request, one answer.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::types::Problem;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no switch is running: nobody listens on {}; start one with `vswitch run`, or name it with --switch or --socket", .0.display())]
    NotRunning(PathBuf),
    #[error("cannot talk to the switch on {}: {cause}", path.display())]
    Connection { path: PathBuf, cause: io::Error },
    #[error("the switch on {} answered what this program does not understand: {cause}; are both of one version?", path.display())]
    Misunderstood { path: PathBuf, cause: String },
    #[error("{0}")]
    Refused(String),
}

/// Asks `GET uri`.
pub(crate) fn get<T: DeserializeOwned>(socket: &Path, uri: &str) -> Result<T, ClientError> {
    request(socket, Method::GET, uri, Bytes::new())
}

/// Asks `POST uri` with a JSON body.
pub(crate) fn post<T: DeserializeOwned>(
    socket: &Path,
    uri: &str,
    body: &impl Serialize,
) -> Result<T, ClientError> {
    let body = serde_json::to_vec(body).map_err(|error| misunderstood(socket, &error))?;
    request(socket, Method::POST, uri, body.into())
}

fn request<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    uri: &str,
    body: Bytes,
) -> Result<T, ClientError> {
    // A runtime of the calling thread only, so that the process stays single-threaded and `exec` may follow.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| ClientError::Connection { path: socket.to_owned(), cause })?;
    let (status, answer) = runtime.block_on(exchange(socket, method, uri, body))?;
    if status.is_success() {
        return serde_json::from_slice(&answer).map_err(|error| misunderstood(socket, &error));
    }
    let problem: Problem = serde_json::from_slice(&answer).map_err(|error| misunderstood(socket, &error))?;
    Err(ClientError::Refused(problem.error))
}

async fn exchange(
    socket: &Path,
    method: Method,
    uri: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning(socket.to_owned())
        }
        _ => ClientError::Connection { path: socket.to_owned(), cause },
    })?;
    let broken = |error: hyper::Error| ClientError::Connection {
        path: socket.to_owned(),
        cause: io::Error::other(error),
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "vswitch")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(|error| misunderstood(socket, &error))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let answer = response.into_body().collect().await.map_err(broken)?.to_bytes();
    Ok((status, answer))
}

fn misunderstood(socket: &Path, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Misunderstood { path: socket.to_owned(), cause: error.to_string() }
}
