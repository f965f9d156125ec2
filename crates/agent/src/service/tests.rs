//! A service with an engine that says what a test wants it to.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::client::AskError;
use crate::notice::{Notice, NoticeKind, Severity};
use crate::status::{LateCgroup, OffPolicy, PolicyStatus, ReloadStatus, Status};

/// An engine that answers, or not, or takes as long as a test wants to say how things are.
struct Fake(AtomicBool, Mutex<()>);

impl Control for Fake {
    fn status(&self, limit: Duration) -> Option<Status> {
        let _turn = self.1.lock().unwrap();
        self.ping(limit).then(status)
    }

    fn summary(&self, limit: Duration) -> Option<Status> {
        self.ping(limit).then(|| Status { late: Vec::new(), notices: Vec::new(), ..status() })
    }

    fn ping(&self, _: Duration) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn status() -> Status {
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_290_007_048_200);
    Status {
        version: "1.2.3".to_owned(),
        pid: 7,
        started_at: at,
        directory: "/etc/knobgate/policies.d".to_owned(),
        policies: vec![PolicyStatus {
            name: "web".to_owned(),
            path: "/etc/knobgate/policies.d/web.knob".to_owned(),
            attachment: "web@0123456789ab".to_owned(),
            audit: false,
            cgroups: 3,
            outdated: 1,
            memory: 0,
        }],
        off: vec![OffPolicy { policy: Some("web".to_owned()), text: "by uid 0".to_owned() }],
        last_reload: ReloadStatus { at, error: Some("a \"quoted\" error".to_owned()) },
        cgroups: 41,
        late_cgroups: 2001,
        late: ["a", "b"].map(late).to_vec(),
        undecided_cgroups: 16_000,
        undecided: Vec::new(),
        notices: vec![Notice::new(NoticeKind::Off, "off")],
    }
}

/// Of one cgroup, with one of its two policies.
fn late(attachment: &str) -> LateCgroup {
    LateCgroup {
        cgroup: "/sys/fs/cgroup/one".to_owned(),
        workload: None,
        attachment: attachment.to_owned(),
        before_agent: true,
    }
}

/// A service that runs until it is dropped.
struct Running {
    service: Service,
    engine: Arc<Fake>,
    directory: TempDir,
    address: SocketAddr,
    _until: oneshot::Sender<()>,
}

impl Running {
    fn start() -> Self {
        let (service, engine) = (Service::new(), Arc::new(Fake(AtomicBool::new(true), Mutex::new(()))));
        let directory = tempfile::tempdir().unwrap();
        let unix = listeners::unix(&directory.path().join(Service::SOCKET)).unwrap();
        let tcp = listeners::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = tcp.local_addr().unwrap();
        let until = service.answer(Arc::clone(&engine) as Arc<dyn Control>, unix, Some(tcp)).unwrap();
        Self { service, engine, directory, address, _until: until }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(Service::SOCKET)
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn ask(&self, request: &str) -> String {
        answer_to(self.connect(), request)
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
}

fn answer_to(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

#[test]
fn the_status_is_json_with_moments_in_rfc_3339() {
    let answer = Running::start().get("/status");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"), "{answer}");
    let json: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(json["started_at"], "2026-11-21T19:40:07.048200Z");
    assert_eq!(json["last_reload"]["error"], "a \"quoted\" error");
    let read: Status = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!((read.started_at, read.policies), (status().started_at, status().policies));
}

#[test]
fn each_request_has_its_answer() {
    let running = Running::start();
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        ("GET /status/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        ("GET /%2e HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        (
            "POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 405 Method Not Allowed\r\ncontent-type: text/plain; charset=utf-8\r\nallow: GET, HEAD\r\n",
        ),
        ("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n"),
        ("\0\u{1b}[2J\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("GET /healthz HTTP/9.9\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
    ] {
        let answer = running.ask(request);
        assert!(answer.starts_with(expected), "{request:?}: {answer}");
    }
    let long = format!("GET /healthz HTTP/1.1\r\nLong: {}\r\n\r\n", "x".repeat(15 << 10));
    assert!(running.ask(&long).starts_with("HTTP/1.1 200 "));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    assert!(running.ask(&many).starts_with("HTTP/1.1 431 "));
}

#[test]
fn a_head_that_is_too_long_is_not_read_to_its_end() {
    let running = Running::start();
    let mut stream = running.connect();
    let part = [b'x'; 1 << 16];
    let mut sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nLong: ");
    for _ in 0..64 {
        sent = sent.and_then(|()| stream.write_all(&part));
    }
    assert!(sent.is_err(), "4 MiB were taken");
    assert!(running.get("/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn only_metrics_and_health_are_there_over_tcp() {
    let running = Running::start();
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        answer_to(TcpStream::connect(running.address).unwrap(), &request)
    };
    assert!(get("/metrics").ends_with("# EOF\n"));
    assert!(get("/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    let status = get("/status");
    assert!(
        status.starts_with("HTTP/1.1 404 ") && status.ends_with("there is only /metrics and /healthz\n"),
        "{status}"
    );
}

#[test]
fn an_engine_that_does_not_answer_is_not_healthy_and_has_metrics_all_the_same() {
    let running = Running::start();
    assert!(running.get("/metrics").contains("\nknobgate_up 1\n"));
    running.engine.0.store(false, Ordering::Relaxed);
    for path in ["/healthz", "/status"] {
        let answer = running.get(path);
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("has not answered for 5 s"),
            "{answer}"
        );
    }
    let metrics = running.get("/metrics");
    assert!(metrics.contains("\nknobgate_up 0\n") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(!metrics.contains("knobgate_watched_cgroups"), "{metrics}");
}

#[test]
fn peers_that_send_or_read_nothing_are_dropped() {
    let running = Running::start();
    // All places are taken: half by peers that send nothing, half by peers that ask and read nothing.
    let mut peers: Vec<UnixStream> = (0..listeners::CONNECTIONS_MAX).map(|_| running.connect()).collect();
    for peer in peers.iter_mut().skip(listeners::CONNECTIONS_MAX / 2) {
        peer.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    }
    // It waits until they are gone.
    assert!(running.get("/healthz").starts_with("HTTP/1.1 200 "));
    for mut peer in peers {
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
}

#[test]
fn peers_that_do_not_read_a_long_answer_stop_nobody() {
    let running = Running::start();
    for policy in 0..20_000 {
        running.service.metrics().count_suppressed(&format!("{policy:0100}"), 1);
    }
    let ask = |_| {
        let mut peer = running.connect();
        peer.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        peer
    };
    let peers: Vec<UnixStream> = (1..listeners::CONNECTIONS_MAX).map(ask).collect();
    let metrics = running.get("/metrics");
    assert!(metrics.len() > 2 << 20 && metrics.ends_with("# EOF\n"), "{}", metrics.len());
    assert!(running.get("/healthz").starts_with("HTTP/1.1 200 "));
    drop(peers);
}

#[test]
fn peers_that_go_away_leave_no_work_that_stops_others() {
    let running = Running::start();
    let held = running.engine.1.lock().unwrap();
    for _ in 0..5 * listeners::CONNECTIONS_MAX {
        let mut peer = TcpStream::connect(running.address).unwrap();
        peer.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        drop(peer);
        // systemd's watchdog waits for the same threads.
        assert!(running.get("/healthz").starts_with("HTTP/1.1 200 "));
    }
    drop(held);
    assert!(running.get("/metrics").ends_with("# EOF\n"));
}

#[test]
fn the_socket_of_a_dead_agent_is_replaced_and_nothing_else() {
    let running = Running::start();
    let taken = listeners::unix(&running.socket()).unwrap_err().to_string();
    assert!(taken.ends_with("agent.sock: another process listens there"), "{taken}");
    assert!(running.get("/healthz").starts_with("HTTP/1.1 200 "));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    drop(StdUnixListener::bind(&path).unwrap());
    listeners::unix(&path).unwrap();

    let file = directory.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    let taken = listeners::unix(&file).unwrap_err().to_string();
    assert!(taken.ends_with("file: there is something else"), "{taken}");
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

#[test]
fn what_the_agent_reports_is_counted() {
    struct Quiet;
    impl Reporter for Quiet {
        fn notice(&self, _: &Notice) {}
        fn attached(&self, _: Duration) {}
        fn reloaded(&self, _: Duration, _: bool) {}
    }
    let running = Running::start();
    let reporter = running.service.reporter(Box::new(Quiet));
    reporter.notice(&Notice::new(NoticeKind::Off, "off"));
    reporter.attached(Duration::from_micros(150));
    reporter.reloaded(Duration::from_millis(1), false);
    running.service.metrics().count_suppressed("we\"b\\\n", 3);
    running.service.metrics().count_lost(2);
    let metrics = running.get("/metrics");
    for line in [
        "knobgate_build_info{version=\"0.1.0\"} 1",
        "knobgate_notices_total{kind=\"off\",severity=\"warning\"} 1",
        "knobgate_notices_total{kind=\"link-vanished\",severity=\"error\"} 0",
        "knobgate_attach_latency_seconds_bucket{le=\"0.0001\"} 0",
        "knobgate_attach_latency_seconds_bucket{le=\"0.0002\"} 1",
        "knobgate_reloads_total{result=\"accepted\"} 0",
        "knobgate_reloads_total{result=\"rejected\"} 1",
        "knobgate_events_suppressed_total{policy=\"we\\\"b\\\\\\n\"} 3",
        "knobgate_events_lost_total 2",
        "knobgate_policy_off{policy=\"web\"} 1",
        "knobgate_all_off 0",
        "knobgate_outdated_cgroups{policy=\"web\"} 1",
        "knobgate_last_reload_successful 0",
        "knobgate_watched_cgroups 41",
        "knobgate_late_cgroups 2001",
        "knobgate_undecided_cgroups 16000",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

#[test]
fn a_running_agent_can_be_asked() {
    let running = Running::start();
    assert_eq!(Status::ask_at(&running.socket()).unwrap().policies, status().policies);
    running.engine.0.store(false, Ordering::Relaxed);
    let refused = Status::ask_at(&running.socket()).unwrap_err().to_string();
    assert!(
        refused.starts_with("the agent says: the engine of the agent has not answered for 5 s"),
        "{refused}"
    );

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    assert!(matches!(Status::ask_at(&path), Err(AskError::NoAgent)));
    let listener = StdUnixListener::bind(&path).unwrap();
    for answer in ["", "HTTP/1.1 200 OK\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n", "\u{1b}", "HTTP/1.1\r\n\r\n"] {
        let asked = std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(answer.as_bytes()).unwrap());
            Status::ask_at(&path)
        });
        assert!(matches!(asked, Err(AskError::Answer(_) | AskError::Socket { .. })), "{answer:?}: {asked:?}");
    }
    drop(listener);
    assert!(matches!(Status::ask_at(&path), Err(AskError::NoAgent)));
}

/// A file of the project.
fn project_file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_page_and_the_catalogue_have_all_kinds_of_notices() {
    let (page, catalogue) =
        (project_file("docs/agent.md"), project_file("packaging/journald/knobgate.catalog"));
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let mut rows: Vec<_> =
        rows.filter(|(_, cell)| Severity::ALL.iter().any(|one| one.name() == cell)).collect();
    rows.truncate(NoticeKind::ALL.len());
    let kinds = NoticeKind::ALL.map(|kind| (kind.name().to_owned(), kind.severity().name().to_owned()));
    assert_eq!(rows, kinds);
    let mut ids = HashSet::new();
    for kind in NoticeKind::ALL {
        assert!(ids.insert(kind.message_id()), "{kind:?} has the id of another one");
        let entry = format!("\n-- {}\nSubject: ", kind.message_id());
        assert!(catalogue.contains(&entry), "{kind:?} is not in the catalogue");
    }
}

#[test]
fn the_page_has_all_metrics_with_their_types() {
    let page = project_file("docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `knobgate_")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    let running = Running::start();
    running.service.metrics().count_suppressed("web", 1);
    let answer = running.get("/metrics");
    let types = answer.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE knobgate_")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    let [mut rows, mut types]: [Vec<_>; 2] = [rows.collect(), types.collect()];
    if !cfg!(feature = "otlp") {
        rows.retain(|(name, _)| !name.starts_with("otlp_"));
    }
    rows.sort();
    types.sort();
    assert_eq!(rows, types);
}
