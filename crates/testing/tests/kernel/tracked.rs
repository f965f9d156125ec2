//! Cgroups whose processes are tracked, and processes in them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use knobgate_kernel::{Cgroup, ScratchCgroup, start_inside};
use knobgate_testing::{Reaped, scratch};
use libtest_mimic::Failed;

/// A tracked cgroup, and one next to it.
pub(crate) struct Setup {
    pub(crate) top: ScratchCgroup,
    pub(crate) held: Cgroup,
    pub(crate) other: Cgroup,
}

impl Setup {
    pub(crate) fn new() -> Result<Self, Failed> {
        let top = scratch();
        let (held, other) = (top.create("held")?, top.create("other")?);
        Ok(Self { top, held, other })
    }

    /// A command inside, with the cgroups in `$HELD`, `$OTHER` and `$TOP`.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command, Failed> {
        let mut command = Command::new(program);
        command.env("HELD", self.held.path()).env("OTHER", self.other.path()).env("TOP", self.top.path());
        start_inside(&mut command, &self.held)?;
        Ok(command)
    }

    /// Runs this in a shell inside.
    pub(crate) fn run(&self, script: &str) -> Result<(), Failed> {
        let status = self.command("sh")?.args(["-c", script]).status()?;
        if status.success() { Ok(()) } else { Err(format!("{script}: {status}").into()) }
    }

    /// Runs this in a shell inside, which then waits.
    pub(crate) fn start(&self, script: &str) -> Result<Waiting, Failed> {
        let mut command = self.command("sh")?;
        command.args(["-c", &format!("{script}\necho done\nread line")]);
        Waiting::start(command)
    }
}

/// A process that has said that it is done, and waits for a line.
pub(crate) struct Waiting(Reaped);

impl Waiting {
    pub(crate) fn start(mut command: Command) -> Result<Self, Failed> {
        let mut process = Reaped(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        assert_eq!(line, "done\n");
        Ok(Self(process))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0.0
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.0.id()
    }

    /// Lets it exit.
    pub(crate) fn finish(mut self) -> Result<(), Failed> {
        self.child().stdin.take().ok_or("no input")?.write_all(b"\n")?;
        self.child().wait()?;
        Ok(())
    }
}
