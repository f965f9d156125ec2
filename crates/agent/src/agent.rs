//! The agent: a thread that keeps policies on cgroups, and the handle that others have of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use knobgate::ContainerPolicies;
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::agent_error::AgentError;
use crate::engine::Engine;
use crate::lock::AgentLock;
use crate::reporter::Reporter;
use crate::status::Status;

/// What the agent works with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentOptions {
    /// The directory of the policies.
    pub policies: PathBuf,
    /// The file that says more about them; without one, that at [`AgentConfig::PATH`](knobgate::AgentConfig::PATH), if there is one.
    pub config: Option<PathBuf>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self { policies: ContainerPolicies::DIRECTORY.into(), config: None }
    }
}

/// The agent.
///
/// ```no_run
/// use std::time::Duration;
///
/// use knobgate_agent::{Agent, AgentOptions, Notice, Reporter};
///
/// struct Lines;
/// impl Reporter for Lines {
///     fn notice(&self, notice: &Notice) {
///         eprintln!("{notice}");
///     }
///     fn attached(&self, _: Duration) {}
///     fn reloaded(&self, _: Duration, _: bool) {}
/// }
///
/// let agent = Agent::start(AgentOptions::default(), Box::new(Lines))?;
/// println!("{:?}", agent.status(Duration::from_secs(1)));
/// agent.stop();
/// agent.join()?;
/// # Ok::<(), knobgate_agent::AgentError>(())
/// ```
#[derive(Debug)]
pub struct Agent;

/// What is asked of the engine.
#[derive(Debug)]
pub(crate) enum Request {
    Ping(Sender<()>),
    Status(Sender<Status>),
    Summary(Sender<Status>),
    Reload,
    Stop,
}

/// A running agent. Dropping the last handle does not stop it.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: Sender<Request>,
    /// An eventfd that wakes the engine.
    wake: OwnedFd,
    /// The end of a pipe whose other end the engine has.
    ended: OwnedFd,
    thread: Mutex<Option<JoinHandle<Result<(), AgentError>>>>,
}

/// The requests, for the engine.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) queue: Receiver<Request>,
    pub(crate) wake: OwnedFd,
    /// Closed when the engine ends.
    _alive: OwnedFd,
}

impl Agent {
    /// Starts the agent: reads everything, puts the policies on the cgroups that are there, and goes on in a thread of its own. When this
    /// returns, it watches.
    ///
    /// Signals that have to reach another thread are to be blocked before.
    ///
    /// # Errors
    ///
    /// [`AgentError`]: another agent runs, the policies or the configuration have errors, or the kernel or the bpffs cannot be used.
    pub fn start(options: AgentOptions, reporter: Box<dyn Reporter>) -> Result<AgentHandle, AgentError> {
        let lock = AgentLock::take()?;
        let failed = |source: rustix::io::Errno| AgentError::Start { source: source.into() };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let (ended, alive) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let (requests, queue) = channel();
        let own_wake = wake.try_clone().map_err(|source| AgentError::Start { source })?;
        let requests_of_engine = Requests { queue, wake: own_wake, _alive: alive };
        let mut engine = Engine::start(options, reporter, requests_of_engine)?;
        let thread = thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let _lock = lock;
                engine.run()
            })
            .map_err(|source| AgentError::Start { source })?;
        let shared = Shared { requests, wake, ended, thread: Mutex::new(Some(thread)) };
        Ok(AgentHandle { shared: Arc::new(shared) })
    }
}

impl AgentHandle {
    /// How things are; `None` if the engine does not answer in time. This blocks until then.
    pub fn status(&self, within: Duration) -> Option<Status> {
        let (answer, answered) = channel();
        self.request(Request::Status(answer))?;
        answered.recv_timeout(within).ok()
    }

    /// The same without the lists of cgroups and notices, which cost the engine more.
    pub(crate) fn summary(&self, within: Duration) -> Option<Status> {
        let (answer, answered) = channel();
        self.request(Request::Summary(answer))?;
        answered.recv_timeout(within).ok()
    }

    /// Whether the engine answers in time. This blocks until then.
    pub fn ping(&self, within: Duration) -> bool {
        let (answer, answered) = channel();
        self.request(Request::Ping(answer)).is_some() && answered.recv_timeout(within).is_ok()
    }

    /// Has the policies and the configuration read again. The [`Reporter`] is told when that is done.
    pub fn reload(&self) {
        self.request(Request::Reload);
    }

    /// Has the agent end. Policies stay in force.
    pub fn stop(&self) {
        self.request(Request::Stop);
    }

    /// Waits until the agent has ended.
    ///
    /// # Errors
    ///
    /// [`AgentError`]: why it ended by itself. A second call knows of none.
    pub fn join(&self) -> Result<(), AgentError> {
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Err(AgentError::Panicked)))
    }

    /// `None` if it has ended.
    fn request(&self, request: Request) -> Option<()> {
        self.shared.requests.send(request).ok()?;
        // It can only be full if it is readable anyway.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
        Some(())
    }
}

impl AsFd for AgentHandle {
    /// Hangs up (`POLLHUP`) when the agent has ended, for whatever reason.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.ended.as_fd()
    }
}

impl Requests {
    /// The next request.
    pub(crate) fn next(&self) -> Option<Request> {
        self.queue.try_recv().ok()
    }

    /// Makes the descriptor not readable until the next request comes.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match rustix::io::read(&self.wake, &mut [0; 8]) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
