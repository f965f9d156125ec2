//! One request to a collector, and what its answer means (OTLP/HTTP, <https://opentelemetry.io/docs/specs/otlp/>).

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use knobgate::OtlpEndpoint;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent_error::with_causes;

/// How long a request may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;
/// The media type of Protocol Buffers.
const PROTOBUF: &str = "application/x-protobuf";

/// What the collector makes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Taken,
    /// So many entries, or all of them, are not taken, and will not be.
    Rejected {
        entries: Option<u64>,
        why: String,
    },
    /// It is to be sent again, after this pause if it says so.
    Later {
        why: String,
        pause: Option<Duration>,
    },
}

/// Sends a request in a connection of its own: a collector that is restarted, or moves, is found again.
pub(super) async fn post(endpoint: &OtlpEndpoint, body: &[u8]) -> Answer {
    let later = |why| Answer::Later { why, pause: None };
    match timeout(WITHIN, exchange(endpoint, body)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => later(with_causes(&*error)),
        Err(_) => later(format!("it has not answered for {} s", WITHIN.as_secs())),
    }
}

async fn exchange(
    endpoint: &OtlpEndpoint,
    body: &[u8],
) -> Result<Answer, Box<dyn Error + Send + Sync + 'static>> {
    let stream = TcpStream::connect(endpoint.authority()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or when `sender` is dropped.
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.path())
        .header(HOST, endpoint.authority())
        .header(USER_AGENT, concat!("knobgate-agent/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, PROTOBUF)
        .body(Full::new(Bytes::copy_from_slice(body)))?;
    let response = sender.send_request(request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await?.to_bytes();
    connection.abort();
    if status.is_success() {
        return Ok(taken(&body));
    }
    let why = format!("it answers {status}");
    Ok(match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Answer::Later { why, pause: seconds.map(Duration::from_secs) }
        }
        _ => Answer::Rejected { entries: None, why },
    })
}

/// What a success means: it may be a partial one.
fn taken(body: &[u8]) -> Answer {
    let partial = ExportLogsServiceResponse::decode(body).ok().and_then(|response| response.partial_success);
    let rejected = partial.filter(|partial| partial.rejected_log_records > 0);
    match rejected {
        Some(partial) => Answer::Rejected {
            entries: Some(partial.rejected_log_records.unsigned_abs()),
            why: format!("it takes only a part of them: {}", partial.error_message.escape_debug()),
        },
        None => Answer::Taken,
    }
}
