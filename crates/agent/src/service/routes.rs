//! What is answered to which request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use crate::control::Control;
use crate::metrics::Metrics;

/// How long the engine may take for an answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What a listener answers.
pub(crate) struct Routes {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether it answers `/status`, which says more than everybody needs to know.
    pub(crate) has_status: bool,
}

#[derive(Debug, Clone, Copy)]
enum Route {
    Status,
    Metrics,
    Health,
}

impl Routes {
    /// The answer to a request. The place of its connection is taken until that is found, also if the peer goes away.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let Some(route) = self.route(request.uri().path()) else {
            let there =
                if self.has_status { "/status, /metrics and /healthz" } else { "/metrics and /healthz" };
            return Ok(response(StatusCode::NOT_FOUND, TEXT, format!("there is only {there}\n")));
        };
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = response(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "the agent only answers questions\n".to_owned(),
            );
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        // Reading counters takes a while, and the engine may not answer.
        let find = move || {
            let _place = place;
            self.find(route)
        };
        let answered = spawn_blocking(find).await;
        let failed = |_| response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "there is no answer\n".to_owned());
        Ok(answered.unwrap_or_else(failed))
    }

    fn route(&self, path: &str) -> Option<Route> {
        match path {
            "/status" if self.has_status => Some(Route::Status),
            "/metrics" => Some(Route::Metrics),
            "/healthz" => Some(Route::Health),
            _ => None,
        }
    }

    fn find(&self, route: Route) -> Response<Full<Bytes>> {
        let limit = ANSWER_WITHIN.as_secs();
        match route {
            Route::Status => {
                let status =
                    self.control.status(ANSWER_WITHIN).map(|status| self.metrics.with_memory(status));
                match status.map(|status| serde_json::to_string(&status)) {
                    Some(Ok(json)) => response(StatusCode::OK, JSON, json + "\n"),
                    Some(Err(error)) => {
                        response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n"))
                    }
                    None => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, no_answer(limit)),
                }
            }
            Route::Metrics => {
                let text = self.metrics.render(self.control.summary(ANSWER_WITHIN));
                response(StatusCode::OK, Metrics::CONTENT_TYPE, text)
            }
            Route::Health if self.control.ping(ANSWER_WITHIN) => {
                response(StatusCode::OK, TEXT, "ok\n".to_owned())
            }
            Route::Health => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, no_answer(limit)),
        }
    }
}

fn no_answer(seconds: u64) -> String {
    format!("the engine of the agent has not answered for {seconds} s: nobody puts policies on new cgroups\n")
}

fn response(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
