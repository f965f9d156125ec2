//! A process inside a cgroup that performs accesses on request.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use knobgate_kernel::{Cgroup, start_inside};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::access::{Access, Result, in_kernel};

/// The argument that makes the test binary a worker.
pub(crate) const ARGUMENT: &str = "--worker";

/// The name of the workers' tasks.
pub(crate) const COMM: &str = "worker";

/// Performs accesses from standard input, and writes each result to standard output. The worker stays on the first
/// processor, so that its values in per-CPU maps are known.
pub(crate) fn run() -> io::Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first)?;
    rustix::thread::set_name(&std::ffi::CString::new(COMM)?)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some((name, access)) = receive(&mut input)? {
        let Result { returned, data, position } = in_kernel(&name, &access);
        output.write_all(&returned.to_ne_bytes())?;
        output.write_all(&position.to_ne_bytes())?;
        send_bytes(&mut output, &data)?;
        output.flush()?;
    }
    Ok(())
}

/// The other end.
pub(crate) struct Worker {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Worker {
    /// Starts one inside `cgroup`, in the namespaces of this process.
    pub(crate) fn start(cgroup: &Cgroup) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        start_inside(&mut command, cgroup).expect("the scratch cgroup can be entered");
        let mut child = command.spawn().expect("start the worker");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, to, from }
    }

    /// Performs `access` in the worker.
    pub(crate) fn perform(&mut self, name: &str, access: &Access) -> Result {
        send(&mut self.to, name, access).expect("the worker listens");
        let (mut returned, mut position) = ([0; 8], [0; 8]);
        self.from.read_exact(&mut returned).expect("the worker answers");
        self.from.read_exact(&mut position).expect("the worker answers");
        let data = receive_bytes(&mut self.from).expect("the worker answers");
        Result { returned: i64::from_ne_bytes(returned), data, position: i64::from_ne_bytes(position) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(to: &mut impl Write, name: &str, access: &Access) -> io::Result<()> {
    let (writes, moves, position) = match access {
        Access::Read { position, moves, .. } => (false, *moves, *position),
        Access::Write { position, moves, .. } => (true, *moves, *position),
    };
    let mut message = vec![u8::from(writes), u8::from(moves)];
    message.extend(position.to_ne_bytes());
    send_bytes(&mut message, name.as_bytes())?;
    match access {
        Access::Read { count, .. } => message.extend((*count as u64).to_ne_bytes()),
        Access::Write { bytes, .. } => send_bytes(&mut message, bytes)?,
    }
    to.write_all(&message)
}

fn receive(from: &mut impl Read) -> io::Result<Option<(String, Access)>> {
    let (mut kind, mut position) = ([0; 2], [0; 8]);
    if from.read(&mut kind[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut kind[1..])?;
    from.read_exact(&mut position)?;
    let (moves, position) = (kind[1] == 1, i64::from_ne_bytes(position));
    let name = String::from_utf8_lossy(&receive_bytes(from)?).into_owned();
    let access = if kind[0] == 1 {
        Access::Write { bytes: receive_bytes(from)?, position, moves }
    } else {
        let mut count = [0; 8];
        from.read_exact(&mut count)?;
        Access::Read { count: u64::from_ne_bytes(count) as usize, position, moves }
    };
    Ok(Some((name, access)))
}

fn send_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_ne_bytes())?;
    to.write_all(bytes)
}

fn receive_bytes(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u64::from_ne_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
