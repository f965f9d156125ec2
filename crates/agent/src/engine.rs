//! What the agent does, one thing after the other.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

use knobgate::{AgentConfig, ContainerPolicies};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::agent::{AgentOptions, Request, Requests};
use crate::agent_error::AgentError;
use crate::notice::{Notice, NoticeKind, Severity};
use crate::reporter::Reporter;
use crate::status::{ReloadStatus, Status};

/// How many notices the status has.
const NOTICES: usize = 50;

/// The engine of the agent.
pub(crate) struct Engine {
    options: AgentOptions,
    reporter: Box<dyn Reporter>,
    requests: Requests,
    policies: ContainerPolicies,
    started_at: SystemTime,
    last_reload: ReloadStatus,
    notices: VecDeque<Notice>,
}

impl Engine {
    pub(crate) fn start(
        options: AgentOptions,
        reporter: Box<dyn Reporter>,
        requests: Requests,
    ) -> Result<Self, AgentError> {
        let config = AgentConfig::read_or_default(options.config.as_deref())?;
        let policies = ContainerPolicies::read_with(&options.policies, config, &mut Default::default())?;
        let now = SystemTime::now();
        let last_reload = ReloadStatus { at: now, error: None };
        let mut engine = Self {
            options,
            reporter,
            requests,
            policies,
            started_at: now,
            last_reload,
            notices: VecDeque::new(),
        };
        engine.notice(Notice::new(NoticeKind::Started, "the agent watches"));
        Ok(engine)
    }

    pub(crate) fn run(&mut self) -> Result<(), AgentError> {
        loop {
            let mut polled = [PollFd::new(&self.requests.wake, PollFlags::IN)];
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(AgentError::Wait { source: error.into() }),
            }
            self.requests.clear().map_err(|source| AgentError::Wait { source })?;
            while let Some(request) = self.requests.next() {
                match request {
                    Request::Ping(answer) => {
                        let _ = answer.send(());
                    }
                    Request::Status(answer) => {
                        let _ = answer.send(self.status());
                    }
                    Request::Reload => self.reload(),
                    Request::Stop => {
                        self.notice(Notice::new(
                            NoticeKind::Stopped,
                            "the agent ends; policies stay in force",
                        ));
                        return Ok(());
                    }
                }
            }
        }
    }

    fn reload(&mut self) {
        let began = Instant::now();
        self.reporter.reloaded(began.elapsed(), true);
    }

    fn notice(&mut self, notice: Notice) {
        self.reporter.notice(&notice);
        if notice.kind.severity() < Severity::Debug {
            self.notices.truncate(NOTICES - 1);
            self.notices.push_front(notice);
        }
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            directory: self.options.policies.display().to_string(),
            policies: Vec::new(),
            off: Vec::new(),
            last_reload: self.last_reload.clone(),
            cgroups: self.policies.policies().len(),
            late: Vec::new(),
            undecided: Vec::new(),
            notices: self.notices.iter().rev().cloned().collect(),
        }
    }
}
