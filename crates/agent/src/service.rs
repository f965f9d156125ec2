//! What others see of the agent: its socket, its metrics, and what it tells systemd.

mod listeners;
mod routes;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use knobgate::kernel::{BlockedSignals, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::agent::AgentHandle;
use crate::control::Control;
use crate::metrics::Metrics;
use crate::reporter::Reporter;
use crate::service_error::ServiceError;
use crate::service_reporter::ServiceReporter;
use crate::systemd::Systemd;
use routes::Routes;

/// What others see of the agent: a socket that answers HTTP, metrics, and what systemd is told.
///
/// `GET /status` is a [`Status`](crate::Status) as JSON, `/metrics` the [`Metrics`], and `/healthz` whether the engine answers. Only root
/// may connect to the socket. A TCP address, if there is one, has `/metrics` and `/healthz`.
#[derive(Debug)]
pub struct Service {
    metrics: Arc<Metrics>,
    systemd: Arc<Systemd>,
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// The signals that it obeys, which are to be blocked before the agent is started.
    pub const SIGNALS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

    /// The name of the socket in [`RUN_DIRECTORY`](crate::RUN_DIRECTORY).
    pub const SOCKET: &str = "agent.sock";

    /// One that nobody can ask yet.
    pub fn new() -> Self {
        Self { metrics: Arc::new(Metrics::new()), systemd: Arc::default() }
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The reporter for the agent, which also reports to `log`.
    pub fn reporter(&self, log: Box<dyn Reporter>) -> Box<dyn Reporter> {
        let (metrics, systemd) = (Arc::clone(&self.metrics), Arc::clone(&self.systemd));
        Box::new(ServiceReporter { metrics, systemd, log })
    }

    /// Answers requests and obeys signals until the agent has ended: `SIGHUP` has it read the policies again, the others end it.
    ///
    /// # Errors
    ///
    /// [`ServiceError`]. The agent may run on.
    pub fn run(
        &self,
        agent: &AgentHandle,
        directory: &Path,
        metrics_listen: Option<SocketAddr>,
        signals: &BlockedSignals,
    ) -> Result<(), ServiceError> {
        let unix = listeners::unix(&directory.join(Self::SOCKET))?;
        let tcp = metrics_listen.map(listeners::tcp).transpose()?;
        let _until = self.answer(Arc::new(agent.clone()), unix, tcp).map_err(ServiceError::Wait)?;
        self.systemd.ready();
        self.wait(agent, signals).map_err(ServiceError::Wait)
    }

    /// Answers requests and feeds the watchdog, in a thread that ends when the result is dropped.
    fn answer(
        &self,
        control: Arc<dyn Control>,
        unix: StdUnixListener,
        tcp: Option<StdTcpListener>,
    ) -> io::Result<oneshot::Sender<()>> {
        let routes = |has_status| {
            let (control, metrics) = (Arc::clone(&control), Arc::clone(&self.metrics));
            Arc::new(Routes { control, metrics, has_status })
        };
        let (for_unix, for_tcp) = (routes(true), routes(false));
        let systemd = Arc::clone(&self.systemd);
        let runtime = runtime()?;
        let (unix, tcp) = {
            let _context = runtime.enter();
            (UnixListener::from_std(unix)?, tcp.map(TcpListener::from_std).transpose()?)
        };
        let (end, ended) = oneshot::channel::<()>();
        let answer = move || {
            runtime.block_on(async {
                tokio::spawn(listeners::serve(unix, for_unix));
                if let Some(tcp) = tcp {
                    tokio::spawn(listeners::serve(tcp, for_tcp));
                }
                if let Some(interval) = Systemd::watchdog() {
                    tokio::spawn(feed(systemd, control, interval));
                }
                let _ = ended.await;
            });
            // Whoever waits for an answer now gets none.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("service".to_owned()).spawn(answer)?;
        Ok(end)
    }

    /// Obeys signals until the agent has ended.
    fn wait(&self, agent: &AgentHandle, signals: &BlockedSignals) -> io::Result<()> {
        loop {
            let (signal, ended) = (signals.as_fd(), agent.as_fd());
            let mut polled = [PollFd::new(&signal, PollFlags::IN), PollFd::new(&ended, PollFlags::empty())];
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !polled[1].revents().is_empty() {
                return Ok(());
            }
            while let Some(info) = signals.read()? {
                match info.signal {
                    Signal::HUP => {
                        self.systemd.reloading();
                        agent.reload();
                    }
                    _ => {
                        self.systemd.stopping();
                        agent.stop();
                    }
                }
            }
        }
    }
}

/// One thread for everything that does not block, and others for what does: for each request, and for the watchdog.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2 * listeners::CONNECTIONS_MAX + 1)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
}

/// Tells systemd twice in `interval` that the agent works, if the engine answers.
async fn feed(systemd: Arc<Systemd>, control: Arc<dyn Control>, interval: Duration) {
    let half = interval / 2;
    let mut next = Instant::now();
    loop {
        let control = Arc::clone(&control);
        if let Ok(true) = spawn_blocking(move || control.ping(half)).await {
            systemd.feed_watchdog();
        }
        next = (next + half).max(Instant::now());
        sleep_until(next).await;
    }
}
