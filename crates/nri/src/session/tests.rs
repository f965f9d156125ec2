use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::messages::{ContainerState, Hook, Hooks};
use crate::plugin::Adjustment;

/// Says what it is asked, and rejects containers that are called `no`.
#[derive(Default)]
struct Recorder {
    asked: Vec<String>,
}

impl Recorder {
    fn event(&mut self, event: &str, pod: &PodSandbox, container: &Container) -> Result<(), Rejection> {
        self.asked.push(format!("{event} {}/{}", pod.name, container.name));
        if container.name == "no" { Err(Rejection::new("not this one")) } else { Ok(()) }
    }
}

impl Plugin for Recorder {
    fn events(&self) -> Events {
        Events::CREATE_CONTAINER | Events::START_CONTAINER
    }

    fn connected(&mut self, runtime: &Runtime) {
        self.asked.push(format!("connected {} {}", runtime.name, runtime.version));
    }

    fn synchronize(&mut self, pods: &[PodSandbox], containers: &[Container]) {
        self.asked.push(format!("synchronize {} {}", pods.len(), containers.len()));
    }

    fn create_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<Adjustment, Rejection> {
        self.event("create", pod, container)?;
        let hook = Hook { path: "/bin/hook".to_owned(), ..Hook::default() };
        Ok(Adjustment { hooks: Hooks { create_runtime: vec![hook], poststop: Vec::new() } })
    }

    fn start_container(&mut self, pod: &PodSandbox, container: &Container) -> Result<(), Rejection> {
        self.event("start", pod, container)
    }

    fn shutdown(&mut self) {
        self.asked.push("shutdown".to_owned());
    }
}

/// The runtime's end of a connection.
struct FakeRuntime {
    stream: UnixStream,
    responses: Incoming,
    next: u32,
}

impl FakeRuntime {
    /// Reads the registration.
    fn new(mut stream: UnixStream) -> Self {
        let mut requests = Incoming::default();
        let frame = mux::read_frame(&mut stream).unwrap();
        assert_eq!(frame.connection, mux::RUNTIME_SERVICE);
        requests.push(&frame.payload);
        let (stream_id, request) = requests.request().unwrap().unwrap();
        assert_eq!(
            (stream_id, &*request.service, &*request.method),
            (1, "nri.pkg.api.v1alpha1.Runtime", "RegisterPlugin")
        );
        let register = RegisterPluginRequest::decode(&*request.payload).unwrap();
        assert_eq!((&*register.plugin_name, &*register.plugin_idx), ("test", "07"));
        Self { stream, responses: Incoming::default(), next: 1 }
    }

    fn registered(&mut self, response: &Response) {
        mux::write(&mut self.stream, mux::RUNTIME_SERVICE, &ttrpc::response(1, response)).unwrap();
    }

    fn send(&mut self, method: &str, payload: Vec<u8>) -> u32 {
        let request =
            Request { service: "nri.pkg.api.v1alpha1.Plugin".to_owned(), method: method.to_owned(), payload };
        let bytes = ttrpc::request(self.next, &request);
        mux::write(&mut self.stream, mux::PLUGIN_SERVICE, &bytes).unwrap();
        self.next += 2;
        self.next - 2
    }

    /// The payload of the response, or the message of the error.
    fn call(&mut self, method: &str, request: &impl Message) -> Result<Vec<u8>, String> {
        self.raw_call(method, request.encode_to_vec())
    }

    fn raw_call(&mut self, method: &str, request: Vec<u8>) -> Result<Vec<u8>, String> {
        let sent = self.send(method, request);
        loop {
            if let Some((stream, response)) = self.responses.response().unwrap() {
                assert_eq!(stream, sent);
                return match response.failure() {
                    Some(failure) => Err(failure.to_owned()),
                    None => Ok(response.payload().to_owned()),
                };
            }
            let frame = mux::read_frame(&mut self.stream).unwrap();
            assert_eq!(frame.connection, mux::PLUGIN_SERVICE);
            self.responses.push(&frame.payload);
        }
    }
}

/// What the plugin was asked while the runtime did this, and how the connection has ended.
fn session(runtime: impl FnOnce(FakeRuntime) + Send + 'static) -> (Vec<String>, SessionError) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let runtime = thread::spawn(move || runtime(FakeRuntime::new(theirs)));
    let (mut plugin, id) = (Recorder::default(), PluginId::new("test", "07").unwrap());
    let Err(error) = serve(&mut ours, &id, &mut plugin, |stream| stream.set_read_timeout(None));
    drop(ours);
    runtime.join().unwrap();
    (plugin.asked, error)
}

fn configure() -> ConfigureRequest {
    ConfigureRequest { runtime_name: "containerd".to_owned(), runtime_version: "2".to_owned() }
}

fn about(container: &str) -> ContainerRequest {
    ContainerRequest {
        pod: Some(PodSandbox { name: "web".to_owned(), ..PodSandbox::default() }),
        container: Some(Container { name: container.to_owned(), ..Container::default() }),
    }
}

#[test]
fn a_plugin_is_registered_and_asked() {
    let (asked, error) = session(|mut runtime| {
        // Before the response to the registration, as containerd may do.
        let response = runtime.call("Configure", &configure()).unwrap();
        assert_eq!(ConfigureResponse::decode(&*response).unwrap().events, 0b10_1000);
        runtime.registered(&Response::ok(&Empty {}));
        let response = runtime.call("CreateContainer", &about("nginx")).unwrap();
        let adjust = CreateContainerResponse::decode(&*response).unwrap().adjust.unwrap();
        assert_eq!(adjust.hooks.unwrap().create_runtime[0].path, "/bin/hook");
        runtime.call("StartContainer", &about("nginx")).unwrap();
        let ContainerRequest { pod, container } = about("old");
        runtime.call("StateChange", &StateChangeEvent { event: 6, pod, container }).unwrap();
        runtime.call("StateChange", &StateChangeEvent { event: 7, ..StateChangeEvent::default() }).unwrap();
        runtime.call("Shutdown", &Empty {}).unwrap();
    });
    assert_eq!(
        asked,
        ["connected containerd 2", "create web/nginx", "start web/nginx", "start web/old", "shutdown"]
    );
    assert!(matches!(error, SessionError::Ended(MuxError::Closed)), "{error}");
}

#[test]
fn a_rejection_is_an_error_with_its_text_and_the_connection_goes_on() {
    let (asked, _) = session(|mut runtime| {
        runtime.call("Configure", &configure()).unwrap();
        for method in ["CreateContainer", "StartContainer"] {
            assert_eq!(runtime.call(method, &about("no")), Err("not this one".to_owned()));
        }
        let ContainerRequest { pod, container } = about("no");
        let change = StateChangeEvent { event: 6, pod, container };
        assert_eq!(runtime.call("StateChange", &change), Err("not this one".to_owned()));
        runtime.call("StartContainer", &about("yes")).unwrap();
    });
    assert_eq!(asked[1..], ["create web/no", "start web/no", "start web/no", "start web/yes"]);
}

#[test]
fn a_request_that_cannot_be_decoded_is_rejected() {
    session(|mut runtime| {
        runtime.call("Configure", &configure()).unwrap();
        for method in ["CreateContainer", "StartContainer", "Synchronize", "StateChange"] {
            let error = runtime.raw_call(method, vec![0x0a, 0xff]).unwrap_err();
            assert!(error.starts_with("the request cannot be decoded"), "{error}");
        }
        let error = runtime.call("Unheard", &Empty {}).unwrap_err();
        assert_eq!(error, "there is no method Unheard");
        runtime.call("StartContainer", &about("yes")).unwrap();
    });
}

#[test]
fn pods_that_come_in_parts_are_told_once() {
    let (asked, _) = session(|mut runtime| {
        runtime.call("Configure", &configure()).unwrap();
        for (pods, more) in [(3, true), (2, true), (1, false)] {
            let running = Container { state: ContainerState::Running.into(), ..Container::default() };
            let request = SynchronizeRequest {
                pods: vec![PodSandbox::default(); pods],
                containers: vec![running],
                more,
            };
            let response = runtime.call("Synchronize", &request).unwrap();
            assert_eq!(SynchronizeResponse::decode(&*response).unwrap().more, more);
        }
    });
    assert_eq!(asked[1..], ["synchronize 6 3"]);
}

#[test]
fn frames_of_connections_that_nobody_has_opened_are_skipped() {
    let (asked, _) = session(|mut runtime| {
        for connection in [0, 3, u32::MAX] {
            mux::write(&mut runtime.stream, connection, b"what is this").unwrap();
        }
        runtime.call("Configure", &configure()).unwrap();
    });
    assert_eq!(asked, ["connected containerd 2"]);
}

#[test]
fn a_runtime_that_rejects_the_plugin_says_why() {
    let (_, error) = session(|mut runtime| runtime.registered(&Response::error("no plugins today")));
    assert!(matches!(&error, SessionError::Rejected(why) if why == "no plugins today"), "{error}");
}

#[test]
fn a_runtime_that_does_not_answer_is_left() {
    let (asked, error) = session(|mut runtime| {
        runtime.registered(&Response::ok(&Empty {}));
        // Until the other side has left.
        let _ = mux::read_frame(&mut runtime.stream);
    });
    assert!(asked.is_empty() && matches!(error, SessionError::NotRegistered(MuxError::TimedOut)), "{error}");
}

#[test]
fn what_is_not_nri_ends_the_connection() {
    for (connection, bytes) in [
        (mux::PLUGIN_SERVICE, &b"\xff\xff\xff\xff\0\0\0\0\x01\0"[..]),
        (mux::PLUGIN_SERVICE, b"\0\0\0\0\0\0\0\x01\x02\0"),
        (mux::RUNTIME_SERVICE, b"\0\0\0\0\0\0\0\x01\x01\0"),
        (mux::RUNTIME_SERVICE, b"\0\0\0\x01\0\0\0\x01\x02\0\xff"),
    ] {
        let (asked, error) =
            session(move |mut runtime| mux::write(&mut runtime.stream, connection, bytes).unwrap());
        assert!(asked.is_empty() && matches!(error, SessionError::Ttrpc(_)), "{error}");
    }
    let (_, error) =
        session(|mut runtime| runtime.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap());
    assert!(matches!(error, SessionError::NotRegistered(MuxError::TooLong { .. })), "{error}");
    let (_, error) = session(|mut runtime| runtime.stream.write_all(b"\0\0\0\x01\0\0\0\x09abc").unwrap());
    assert!(matches!(error, SessionError::NotRegistered(MuxError::Truncated)), "{error}");
}

proptest! {
    /// Frames of the right form with anything in them, and anything at all.
    #[test]
    fn no_bytes_make_it_panic(
        frames in prop::collection::vec((0..4_u32, prop::collection::vec(any::<u8>(), 0..64)), 0..8),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        for (connection, payload) in frames {
            mux::write(&mut theirs, connection, &payload).unwrap();
        }
        theirs.write_all(&rest).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let id = PluginId::new("test", "07").unwrap();
        let Err(_) = serve(&mut ours, &id, &mut Recorder::default(), |_| Ok(()));
    }
}
