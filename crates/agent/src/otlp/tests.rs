//! A collector that does what a test wants it to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Mutex;
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tokio::net::TcpListener;

use super::*;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How the collector answers.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Takes,
    /// With this status, and the pause that it asks for in seconds.
    Status(u16, Option<u64>),
    /// It takes all but so many.
    TakesAllBut(i64),
    /// Never.
    Silent,
}

#[derive(Debug, Default)]
struct Taken {
    /// For the next requests. After them, everything is taken.
    manners: Mutex<VecDeque<Manner>>,
    requests: Mutex<Vec<(Manner, ExportLogsServiceRequest)>>,
}

/// A collector that listens until it is dropped.
struct Collector {
    address: SocketAddr,
    taken: Arc<Taken>,
    _until: tokio::sync::oneshot::Sender<()>,
}

impl Collector {
    fn start(manners: &[Manner]) -> Self {
        Self::listen(StdTcpListener::bind("127.0.0.1:0").unwrap(), manners)
    }

    fn listen(listener: StdTcpListener, manners: &[Manner]) -> Self {
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let taken =
            Arc::new(Taken { manners: Mutex::new(manners.iter().copied().collect()), ..Taken::default() });
        let (until, ended) = tokio::sync::oneshot::channel::<()>();
        let of_thread = Arc::clone(&taken);
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let taken = Arc::clone(&of_thread);
                        let answer = service_fn(move |request| answer(Arc::clone(&taken), request));
                        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
                    }
                });
                let _ = ended.await;
            });
        });
        Self { address, taken, _until: until }
    }

    fn endpoint(&self) -> OtlpEndpoint {
        endpoint(self.address)
    }

    /// The bodies of all entries that were taken.
    fn bodies(&self) -> Vec<String> {
        let requests = self.taken.requests.lock().unwrap();
        let taken = requests.iter().filter(|(manner, _)| matches!(manner, Manner::Takes));
        let logs = taken.flat_map(|(_, request)| &request.resource_logs).flat_map(|logs| &logs.scope_logs);
        let bodies = logs.flat_map(|logs| &logs.log_records).map(|record| match &record.body {
            Some(body) => string(&body.value).to_owned(),
            None => String::new(),
        });
        bodies.collect()
    }

    fn requests(&self) -> usize {
        self.taken.requests.lock().unwrap().len()
    }
}

async fn answer(taken: Arc<Taken>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/base/v1/logs"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let request = ExportLogsServiceRequest::decode(body).unwrap();
    let manner = taken.manners.lock().unwrap().pop_front().unwrap_or(Manner::Takes);
    taken.requests.lock().unwrap().push((manner, request));
    let mut response = Response::builder();
    let mut message = ExportLogsServiceResponse::default();
    match manner {
        Manner::Takes => {}
        Manner::Silent => std::future::pending().await,
        Manner::TakesAllBut(rejected) => {
            message.partial_success = Some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: "too\nold".to_owned(),
            });
        }
        Manner::Status(status, pause) => {
            response = response.status(status);
            if let Some(pause) = pause {
                response = response.header("retry-after", pause);
            }
        }
    }
    Ok(response.body(Full::new(Bytes::from(message.encode_to_vec()))).unwrap())
}

fn endpoint(address: SocketAddr) -> OtlpEndpoint {
    OtlpEndpoint::parse(&format!("http://{address}/base"), 1).unwrap()
}

/// An exporter, and what it says.
struct Exporting {
    exporter: OtlpExporter,
    metrics: Arc<Metrics>,
    said: Arc<Mutex<Vec<Collected>>>,
}

impl Exporting {
    fn start(endpoint: OtlpEndpoint) -> Self {
        let (metrics, said) = (Arc::new(Metrics::new()), Arc::new(Mutex::new(Vec::new())));
        let of_thread = Arc::clone(&said);
        let say = move |what| of_thread.lock().unwrap().push(what);
        let exporter = OtlpExporter::start(endpoint, Arc::clone(&metrics), say).unwrap();
        Self { exporter, metrics, said }
    }

    fn send(&self, text: &str) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        let mut entry = OtlpRecord::new(at, Severity::Warning, "denied", text.to_owned());
        entry.attributes.push(("knobgate.policy".to_owned(), "web".to_owned()));
        self.exporter.send(entry);
    }

    fn said(&self) -> Vec<Collected> {
        self.said.lock().unwrap().clone()
    }
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn string(value: &Option<Value>) -> &str {
    match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?} is no text"),
    }
}

fn attributes(all: &[KeyValue]) -> Vec<(&str, &str)> {
    all.iter().map(|one| (&*one.key, string(&one.value.as_ref().unwrap().value))).collect()
}

#[test]
fn an_entry_arrives_with_its_resource_severity_time_and_attributes() {
    let collector = Collector::start(&[]);
    let exporting = Exporting::start(collector.endpoint());
    exporting.send("an access was denied");
    eventually("it arrives", || collector.requests() == 1);
    let requests = collector.taken.requests.lock().unwrap();
    let [logs] = &requests[0].1.resource_logs[..] else { panic!("{requests:?}") };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        ("service.name", "knobgate"),
        ("service.version", version),
        ("host.name", &*host),
        ("os.type", "linux"),
    ];
    assert_eq!(attributes(&logs.resource.as_ref().unwrap().attributes), expected);
    let [scope] = &logs.scope_logs[..] else { panic!("{logs:?}") };
    assert_eq!(scope.scope.as_ref().unwrap().name, "knobgate-agent");
    let [record] = &scope.log_records[..] else { panic!("{scope:?}") };
    assert_eq!((record.time_unix_nano, record.severity_number), (1_500_000_000, 13));
    assert!(record.observed_time_unix_nano > record.time_unix_nano);
    assert_eq!((&*record.severity_text, &*record.event_name), ("warning", "denied"));
    assert_eq!(string(&record.body.as_ref().unwrap().value), "an access was denied");
    assert_eq!(attributes(&record.attributes), [("knobgate.policy", "web")]);
    assert!(exporting.said().is_empty());
}

#[test]
fn what_a_busy_collector_does_not_take_is_sent_again_and_that_is_said_once() {
    let busy = [Manner::Status(429, Some(0)), Manner::Status(503, Some(1)), Manner::Status(504, Some(0))];
    let collector = Collector::start(&busy);
    let exporting = Exporting::start(collector.endpoint());
    exporting.send("one");
    eventually("it is taken", || collector.bodies() == ["one"]);
    eventually("that is said", || exporting.said().len() == 2);
    let failing = Collected::Failing("it answers 429 Too Many Requests".to_owned());
    assert_eq!(exporting.said(), [failing, Collected::Again(0)]);
    assert_eq!((collector.requests(), exporting.metrics.uncollected()), (4, 0));
}

#[test]
fn what_a_collector_rejects_is_counted_and_not_sent_again() {
    let collector = Collector::start(&[Manner::Status(400, None), Manner::TakesAllBut(1)]);
    let exporting = Exporting::start(collector.endpoint());
    for (text, lost) in [("one", 1), ("two", 2)] {
        exporting.send(text);
        eventually("it is counted", || exporting.metrics.uncollected() == lost);
    }
    exporting.send("three");
    eventually("it is taken", || collector.bodies() == ["three"]);
    eventually("that is said", || exporting.said().len() == 2);
    let rejected = Collected::Rejected("it answers 400 Bad Request".to_owned());
    assert_eq!(exporting.said(), [rejected, Collected::Again(2)]);
    assert_eq!(collector.requests(), 3);
}

#[test]
fn no_more_entries_are_counted_than_there_were_whatever_a_collector_says() {
    let collector = Collector::start(&[Manner::TakesAllBut(i64::MAX); 3]);
    let exporting = Exporting::start(collector.endpoint());
    for lost in 1..=3 {
        exporting.send("one");
        eventually("it is counted", || exporting.metrics.uncollected() >= lost);
        assert_eq!(exporting.metrics.uncollected(), lost);
    }
    exporting.send("four");
    eventually("it is taken", || exporting.said().last() == Some(&Collected::Again(3)));
}

#[test]
fn while_the_collector_is_down_entries_wait_and_the_rest_is_counted() {
    // Nobody listens, and nobody else gets this port.
    let listener = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let exporting = Exporting::start(endpoint(address));
    exporting.send("0");
    eventually("it says so", || !exporting.said().is_empty());
    let more = WAITING_MAX + 100;
    for number in 1..=more {
        exporting.send(&number.to_string());
    }
    let lost = exporting.metrics.uncollected();
    assert!((100..=100 + BATCH_MAX as u64).contains(&lost), "{lost}");
    let collector = Collector::listen(StdTcpListener::bind(address).unwrap(), &[]);
    let kept = 1 + more - usize::try_from(lost).unwrap();
    eventually("what was kept arrives", || collector.bodies().len() == kept);
    let expected: Vec<String> = (0..kept).map(|number| number.to_string()).collect();
    assert_eq!(collector.bodies(), expected);
    let said = exporting.said();
    assert!(matches!(&said[0], Collected::Failing(why) if why.contains("Connection refused")), "{said:?}");
    assert_eq!(said[1..], [Collected::Again(lost)]);
}

#[test]
fn a_flood_of_decisions_keeps_no_notice_from_the_collector() {
    let collector = Collector::start(&[Manner::Status(503, Some(1))]);
    let exporting = Exporting::start(collector.endpoint());
    let decision = || OtlpRecord::new(SystemTime::UNIX_EPOCH, Severity::Warning, "denied", "no".to_owned());
    for _ in 0..2 * WAITING_MAX {
        exporting.exporter.send_decision(decision());
    }
    let lost = exporting.metrics.uncollected();
    assert!(lost > 0);
    for _ in 0..FOR_NOTICES {
        exporting.send("notice");
    }
    assert_eq!(exporting.metrics.uncollected(), lost);
    let notices = || collector.bodies().iter().filter(|body| *body == "notice").count();
    eventually("all notices arrive", || notices() == FOR_NOTICES);
}

#[test]
fn a_collector_that_never_answers_holds_nobody_up() {
    let collector = Collector::start(&[Manner::Silent; 100]);
    let exporting = Exporting::start(collector.endpoint());
    exporting.send("one");
    eventually("it has the request", || collector.requests() == 1);
    for _ in 0..WAITING_MAX + 10 {
        exporting.send("more");
    }
    assert_eq!(exporting.metrics.uncollected(), 10);
    eventually("it says so", || !exporting.said().is_empty());
    assert_eq!(exporting.said(), [Collected::Failing("it has not answered for 10 s".to_owned())]);
    // Dropping it waits for a second, and not for the collector.
    drop(exporting.exporter);
}

#[test]
fn at_the_end_what_waits_is_sent() {
    let collector = Collector::start(&[]);
    let exporting = Exporting::start(collector.endpoint());
    for number in 0..BATCH_MAX + 1 {
        exporting.send(&number.to_string());
    }
    drop(exporting.exporter);
    eventually("all of them arrive", || collector.bodies().len() == BATCH_MAX + 1);
}
